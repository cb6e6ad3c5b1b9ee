"""Runs that repeat older events: what they repeat is compared in a second reading of the file.

An envelope may bring something new in one run and, in another, events that lie behind the head of their
stream. Its signature covers them all, but the hash that the book has for the last of them is long passed.
This is rare (a device whose receipt was lost joins what it sends again with something new), so it is looked
up afterwards instead of keeping every hash at hand.
"""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ledger.book_file import EnvelopeLine, kind_of, parse_line
from ledger.canonical import Malformed
from ledger.verify.chunks import BookLines, FileCut
from ledger.verify.report import CHAINS, Findings, Place

WANTED_MAX = 100_000


class _Wanted(NamedTuple):
    hash: bytes
    number: int  # of the line that repeats


class LookBack:
    """Hashes to be found in earlier lines, by stream and sequence."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._wanted: dict[tuple[str, int], _Wanted] = {}

    @property
    def is_full(self) -> bool:
        """Whether what is wanted should be looked up before more is remembered."""
        return len(self._wanted) >= WANTED_MAX

    def want(self, stream: str, sequence: int, entry_hash: bytes, number: int) -> None:
        """Line `number` repeats the event: the book must have it with the same entry hash."""
        earlier = self._wanted.get((stream, sequence))
        if earlier is None:
            self._wanted[stream, sequence] = _Wanted(entry_hash, number)
        elif earlier.hash != entry_hash:
            self._differs(stream, sequence, number)

    def compare(self, path: Path) -> None:
        """Look up all that is wanted, and forget it."""
        if not self._wanted:
            return
        sequences: dict[str, int] = {}
        with BookLines(path) as lines, suppress(FileCut):
            while self._wanted and (data := lines.next_line()):
                if kind_of(data) == b"envelope":
                    self._compare(data.removesuffix(b"\n"), sequences)
        for (stream, sequence), wanted in self._wanted.items():
            self._differs(stream, sequence, wanted.number)
        self._wanted.clear()

    def _compare(self, data: bytes, sequences: dict[str, int]) -> None:
        try:
            line = parse_line(data)
        except Malformed:
            return  # which was said when it was first read
        if not isinstance(line, EnvelopeLine):
            return
        at = 0
        for run in line.envelope.runs:
            known = min(max(sequences.get(run.stream, 0) - run.first + 1, 0), len(run.bodies))
            for sequence in range(run.first + known, run.last + 1):
                wanted = self._wanted.pop((run.stream, sequence), None)
                if wanted is not None and line.hashes[at : at + 64] != wanted.hash.hex():
                    self._differs(run.stream, sequence, wanted.number)
                at += 64
            sequences[run.stream] = max(run.last, sequences.get(run.stream, 0))

    def _differs(self, stream: str, sequence: int, number: int) -> None:
        what = "the envelope repeats an event otherwise than the book has it"
        self._findings.add(CHAINS, what, Place(number, stream, sequence))
