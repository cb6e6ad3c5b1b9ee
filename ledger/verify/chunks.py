"""A book file in pieces of some megabytes, cut between lines; read here, or looked through by other
processes.

Memory stays flat whatever the file holds: pieces are of bounded size, a line that never ends is refused, and
only a few pieces are under way at a time.
"""

import os
import signal
import zlib
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from ledger.book_file import LINE_BYTES_MAX, is_compressed, open_book
from ledger.errors import BadInput, Unavailable
from ledger.verify.plain import PlainEnvelope, PlainReader

CHUNK_BYTES = 1 << 20
WORKERS_MAX = 2
"""Unless more are asked for: each takes some 50 MB, and all together are to stay under 200."""
WORTH_SHARING_BYTES = 64 << 20
"""Below this one process is done before others have started."""

_AHEAD = 3
"""Pieces under way per process: enough that none waits, few enough to hold."""

Seen = list[PlainEnvelope | None]
"""What the hot loop says of each line of a piece: None where a closer look is needed."""

Chunks = Generator["Chunk", None, None]

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Seen).decode


class FileCut(BadInput):
    """The file cannot be read to its end."""

    code = "file-cut"


class WorkerLost(Unavailable):
    """A process that was to look through a part of the file is gone."""

    code = "worker-lost"


class BookLines:
    """The lines of a file, in order. Raises `NoBookFile` when it is opened and `FileCut` on the way."""

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
        """The rest of the file in pieces that end at the end of a line."""
        try:
            while data := self._held or self._file.read(CHUNK_BYTES):
                self._held = b""
                data = data if data.endswith(b"\n") else data + self._whole_line()
                self.ends_with_newline = data.endswith(b"\n")
                yield data
        except (EOFError, OSError, zlib.error) as error:
            raise FileCut(f"cannot be read to its end: {error}", where=str(self.path)) from error

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
            if not line.endswith(b"\n") and self._file.read(1):
                raise FileCut(f"a line is longer than {LINE_BYTES_MAX} bytes", where=str(self.path))
        except (EOFError, OSError, zlib.error) as error:
            raise FileCut(f"cannot be read to its end: {error}", where=str(self.path)) from error
        return line


class Chunk:
    """Some consecutive lines: what the hot loop says of each, and the lines themselves when asked for."""

    def __init__(
        self, seen: Seen, data: bytes = b"", source: tuple[BookLines, int, int] | None = None
    ) -> None:
        self.seen = seen
        self._data = data
        self._source = source

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines without their newlines."""
        if self._source is None:
            return split_lines(self._data)
        book, begin, end = self._source
        return split_lines(book.read(begin, end))


def split_lines(data: bytes) -> list[bytes]:
    """The lines of a piece without their newlines."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def seen_here(book: BookLines, reader: PlainReader) -> Chunks:
    """The rest of the file, looked through by this process."""
    for data in book.chunks():
        yield Chunk(list(map(reader.read, split_lines(data))), data)


def seen_by_workers(book: BookLines, community: str, keys: Mapping[str, bytes], workers: int) -> Chunks:
    """The rest of the file in its order, looked through by some processes at a time."""
    # Started afresh: a process that was forked from one with threads may hang.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _prepare, (book.path, community, dict(keys)))
    under_way: deque[tuple[int, int, Future[bytes]]] = deque()
    try:
        for begin, end in book.ranges():
            under_way.append((begin, end, pool.submit(_see, begin, end)))
            if len(under_way) >= _AHEAD * workers:
                yield _arrived(book, *under_way.popleft())
        while under_way:
            yield _arrived(book, *under_way.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _arrived(book: BookLines, begin: int, end: int, future: Future[bytes]) -> Chunk:
    try:
        return Chunk(_unpack(future.result()), source=(book, begin, end))
    except BrokenProcessPool as error:
        hint = "is there memory enough? `--workers 1` needs the least"
        raise WorkerLost(
            "a process that verified ended by itself", where=str(book.path), hint=hint
        ) from error


def workers_for(path: Path, wanted: int) -> int:
    """How many processes to use; `wanted` 0 means as many as are worth it. A packed file is read by one."""
    if is_compressed(path) or wanted == 1:
        return 1
    if wanted:
        return wanted
    worth = path.stat().st_size > WORTH_SHARING_BYTES
    return min(os.cpu_count() or 1, WORKERS_MAX) if worth else 1


# --- inside a worker -----------------------------------------------------------------------------

_worker: tuple[BookLines, PlainReader]


def _prepare(path: Path, community: str, keys: Mapping[str, bytes]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that a person started
    global _worker  # noqa: PLW0603 - a worker process has one book
    _worker = BookLines(path), PlainReader(community, keys)


def _see(begin: int, end: int) -> bytes:
    book, reader = _worker
    return _pack(list(map(reader.read, split_lines(book.read(begin, end)))))
