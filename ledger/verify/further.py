"""Steps that are not the ledger's to know: what others compute from the book, and anyone can compute again.

They are run in their order on a community's book when everything that this package proves has passed, and
each has a verdict of its own in the same report. So they need not prove again what the file is.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from ledger.book_file import EnvelopeLine, kind_of, parse_line
from ledger.recorded import EventRow
from ledger.tiles import HASH_BYTES
from ledger.verify.lines import BookLines
from ledger.verify.report import Place, Progress

Found = Callable[[str, Place, str], None]
"""Takes down what is wrong, where it is, and what its reader can do."""

_HASH_HEX = 2 * HASH_BYTES


class Proven(NamedTuple):
    """A file whose proofs hold."""

    path: Path
    community: str
    size: int


class NotJudged(Exception):
    """Why a step cannot come to a verdict."""


class FurtherStep(Protocol):
    """One more step of a verification; its number follows those of `ledger.verify.report.STEPS`."""

    @property
    def number(self) -> int:
        """Its place among the steps."""

    @property
    def name(self) -> str:
        """What it is called in the report."""

    def run(self, book: Proven, found: Found, progress: Progress) -> str:
        """Read the file once more and tell what is wrong; what was checked, in words, for the report.

        Raises `NotJudged`, and passes on what `found` and reading the file raise.
        """


class Entry(NamedTuple):
    """An event of a proven book, its entry hash and the line that brought it, which begins at `envelope`."""

    row: EventRow
    hash: bytes
    line: int
    envelope: int


def entries(path: Path, stream: str = "") -> Iterator[Entry]:
    """The events of a proven book in order of the log, or quickly those of one `stream` alone.

    The position of an event is right if all streams are read. Raises `FileCut`.
    """
    marked = f'"stream":"{stream}"'.encode()  # in a canonical line nothing else is written so
    last: dict[str, int] = {}
    with BookLines(path) as lines:
        number = 0
        while data := lines.next_line():
            number += 1
            if kind_of(data) == b"envelope" and (not stream or marked in data):
                line = parse_line(data.removesuffix(b"\n"))
                assert isinstance(line, EnvelopeLine)  # noqa: S101 - its first key said so
                yield from _new(line, number, stream, last)


def _new(line: EnvelopeLine, number: int, stream: str, last: dict[str, int]) -> Iterator[Entry]:
    """The events of an envelope that no envelope before has brought."""
    at = 0
    for run in line.envelope.runs:
        if stream not in ("", run.stream):
            continue
        begin = last.get(run.stream, 0) + 1
        for sequence, body in enumerate(run.bodies, run.first):
            if sequence >= begin:
                told = bytes.fromhex(line.hashes[at * _HASH_HEX : (at + 1) * _HASH_HEX])
                row = (line.position + at, run.stream, sequence, bytes(body))
                yield Entry(row, told, number, line.position)
                at += 1
        last[run.stream] = max(begin - 1, run.last)
