"""The pieces of a book file as the hot loop sees them: looked through here, or by other processes.

Only a few pieces are under way at a time, so that memory stays flat.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from functools import cached_property, partial
from pathlib import Path

import msgspec

from ledger.book_file import is_compressed
from ledger.verify.lines import BookLines
from ledger.verify.plain import PlainEnvelope, PlainReader
from ledger.workers import lost_workers_told, worker_pool

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


class Chunk:
    """Some consecutive lines: what the hot loop says of each, and the lines themselves when asked for."""

    def __init__(self, seen: Seen, lines: Callable[[], list[bytes]]) -> None:
        self.seen = seen
        self._lines = lines

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines without their newlines."""
        return self._lines()


def split_lines(data: bytes) -> list[bytes]:
    """The lines of a piece without their newlines."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def seen_here(book: BookLines, reader: PlainReader) -> Chunks:
    """The rest of the file, looked through by this process."""
    for data in book.chunks():
        yield Chunk(list(map(reader.read, split_lines(data))), partial(split_lines, data))


def seen_by_workers(book: BookLines, community: str, keys: Mapping[str, bytes], workers: int) -> Chunks:
    """The rest of the file in its order, looked through by some processes at a time."""
    pool = worker_pool(workers, _prepare, book.path, community, dict(keys))
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
    with lost_workers_told(f"{book.path}; `--workers 1` needs the least memory"):
        return Chunk(_unpack(future.result()), lambda: split_lines(book.read(begin, end)))


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
    global _worker  # noqa: PLW0603 - a worker process has one book
    _worker = BookLines(path), PlainReader(community, keys)


def _see(begin: int, end: int) -> bytes:
    book, reader = _worker
    return _pack(list(map(reader.read, split_lines(book.read(begin, end)))))
