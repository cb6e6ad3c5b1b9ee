"""Places for files that are written for readers, and stand on the disk until their reader has them all.

written at once     WRITTEN_AT_ONCE, as each holds a connection for long       503
held at once        HELD_MAX, HELD_OF_A_KEY_MAX; HELD_BYTES_MAX together       503, 429
"""

import asyncio
from collections import Counter
from typing import BinaryIO

from api.http.in_flight import TooManyAtOnce
from api.http.waiting import Busy

WRITTEN_AT_ONCE = 2
HELD_MAX = 8
HELD_OF_A_KEY_MAX = 2
HELD_BYTES_MAX = 4 * 2**30
"""Of all that are held; one that is larger is held where it is the only one."""
RETRY_SECONDS = 60


class Extracts:
    """The files that one process writes and holds."""

    def __init__(self) -> None:
        self.writing = asyncio.Semaphore(WRITTEN_AT_ONCE)
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

    def fill(self, size: int) -> None:
        """So many bytes more. Raises `Busy`."""
        if self._bytes and self._bytes + size > HELD_BYTES_MAX:
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
        self._size = 0
        self._file: BinaryIO | None = None

    @property
    def file(self) -> BinaryIO:
        """What is held."""
        assert self._file is not None  # noqa: S101 - it was taken before it is sent
        return self._file

    def take(self, file: BinaryIO, size: int) -> None:
        """Hold a file, which is closed with this. Raises `Busy`."""
        self._file = file
        self._extracts.fill(size)
        self._size = size

    def give_back(self) -> None:
        """The file is not needed any more."""
        if self._file is not None:
            self._file.close()
        self._extracts.free(self._prefix, self._size)
