"""The lines of a book file, in order, or in pieces of some megabytes that end at the end of a line.

Memory stays flat whatever the file holds: pieces are of bounded size, and a line that is longer than any line
of a book is refused.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from ledger.book_file import LINE_BYTES_MAX, open_book
from ledger.errors import BadInput

CHUNK_BYTES = 1 << 20


class FileCut(BadInput):
    """The file cannot be read to its end."""

    code = "file-cut"


_CUTS: tuple[tuple[type[Exception], str, str], ...] = (
    (
        gzip.BadGzipFile,
        "the file is not compressed as its name says, or what is compressed was changed",
        "take .gz off its name if it is plain text; otherwise copy it again, as binary",
    ),
    (EOFError, "the compressed file is cut off", "it was not copied whole: copy it again"),
    (zlib.error, "what is compressed was changed", "copy the file again, as binary"),
    (OSError, "the file cannot be read to its end", "the medium may be failing: get the file from elsewhere"),
)
"""What reading may fail of, in order: what it means, and what to do."""


class BookLines:
    """The lines of a file. Raises `NoBookFile` when it is opened and `FileCut` on the way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ends_with_newline = True
        self._file = open_book(path)
        self._held = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def next_line(self) -> bytes:
        """The next line with its newline; empty at the end. The last one may lack the newline."""
        if self._held:
            line, self._held = self._held, b""
            return line
        return self._whole_line()

    def hold(self, line: bytes) -> None:
        """Take back the line just read: it is the next one again."""
        self._held = line

    def chunks(self) -> Iterator[bytes]:
        """The rest of the file in pieces."""
        while data := self._held or self._read(CHUNK_BYTES):
            self._held = b""
            if not data.endswith(b"\n"):
                data += self._whole_line()
            self.ends_with_newline = data.endswith(b"\n")
            yield data

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The same pieces as offsets [begin, end) of a file that is not compressed."""
        begin, size = self._file.tell() - len(self._held), self.path.stat().st_size
        while begin < size:
            self._file.seek(min(begin + CHUNK_BYTES, size))
            self._whole_line()
            end = self._file.tell()
            yield begin, end  # whoever takes it may read elsewhere in the file meanwhile
            begin = end
        self.ends_with_newline = self.read(size - 1, size) == b"\n"

    def read(self, begin: int, end: int) -> bytes:
        """The bytes at these offsets."""
        self._file.seek(begin)
        return self._file.read(end - begin)

    def _whole_line(self) -> bytes:
        try:
            line = self._file.readline(LINE_BYTES_MAX)
        except (EOFError, OSError, zlib.error) as error:
            raise self._cut(error) from error
        if not line.endswith(b"\n") and self._read(1):
            raise FileCut(
                f"a line is longer than the {LINE_BYTES_MAX:,} bytes that any line of a book may have",
                where=str(self.path),
            )
        if line:
            self.ends_with_newline = line.endswith(b"\n")
        return line

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (EOFError, OSError, zlib.error) as error:
            raise self._cut(error) from error

    def _cut(self, error: Exception) -> FileCut:
        what, hint = next((what, hint) for kind, what, hint in _CUTS if isinstance(error, kind))
        return FileCut(f"{what}: {error}", where=str(self.path), hint=hint)
