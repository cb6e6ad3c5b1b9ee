"""Places for files that are written for readers, and stand on the disk until their reader has them all.

written at once     one whole book and PARTS_AT_ONCE parts, as each holds a connection for long    503
held at once        HELD_MAX, HELD_OF_A_KEY_MAX; HELD_BYTES_MAX together, counted while written    503, 429
"""

import asyncio
from collections import Counter
from typing import BinaryIO

from api.http.in_flight import TooManyAtOnce
from api.http.waiting import Busy
from ledger.errors import LedgerError

PARTS_AT_ONCE = 2
HELD_MAX = 8
HELD_OF_A_KEY_MAX = 2
HELD_BYTES_MAX = 4 * 2**30
"""Of all that are held; one that is larger is not written to its end."""
RETRY_SECONDS = 60


class ExtractTooLarge(LedgerError):
    """A part of the book is larger than the files that are held for readers may be."""

    code = "extract-too-large"


class Extracts:
    """The files that one process writes and holds."""

    def __init__(self) -> None:
        self.writing_book = asyncio.Semaphore(1)
        self.writing_part = asyncio.Semaphore(PARTS_AT_ONCE)  # goes on while a book is written
        self._held: Counter[str] = Counter()  # files, by whose key
        self._bytes = 0

    def place(self, prefix: str) -> "Place":
        """A place for one more file. Raises `TooManyAtOnce`, `Busy`."""
        if self._held[prefix] >= HELD_OF_A_KEY_MAX:
            raise TooManyAtOnce(f"this key reads {HELD_OF_A_KEY_MAX} files already", seconds=RETRY_SECONDS)
        if self.held >= HELD_MAX:
            raise Busy("as many files as can be held are being read", hint="try again in a minute")
        self._held[prefix] += 1
        return Place(self, prefix)

    def fill(self, size: int, own: int) -> None:
        """So many bytes more of a file that has `own` so far. Raises `Busy`, `ExtractTooLarge`."""
        if own + size > HELD_BYTES_MAX:
            raise ExtractTooLarge(
                f"it has more than the {HELD_BYTES_MAX:,} bytes that are held for a reader",
                hint="ask the operator for the exported file",
            )
        if self._bytes + size > HELD_BYTES_MAX:
            raise Busy("others read large files", hint="try again in a minute")
        self._bytes += size

    @property
    def held(self) -> int:
        """How many files there are."""
        return self._held.total()

    def free(self, prefix: str, size: int) -> None:
        """A file is gone."""
        self._held[prefix] -= 1
        self._bytes -= size
        if not self._held[prefix]:
            del self._held[prefix]


class Place:
    """One file's, for as long as it is written or sent."""

    def __init__(self, extracts: Extracts, prefix: str) -> None:
        self._extracts = extracts
        self._prefix = prefix
        self.size = 0  # what was written so far
        self._file: BinaryIO | None = None

    @property
    def file(self) -> BinaryIO:
        """What is held."""
        assert self._file is not None  # noqa: S101 - it was taken before it is sent
        return self._file

    def wrote(self, size: int) -> None:
        """So many bytes are about to be written. Raises `Busy`, `ExtractTooLarge`."""
        self._extracts.fill(size, self.size)
        self.size += size

    def take(self, file: BinaryIO) -> None:
        """Hold the file that was written; it is closed with this."""
        self._file = file

    def give_back(self) -> None:
        """The file is not needed any more."""
        if self._file is not None:
            self._file.close()
        self._extracts.free(self._prefix, self.size)
