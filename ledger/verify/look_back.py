"""Runs that repeat older events: what they repeat is compared in a second reading of the file.

An envelope may bring something new in one run and, in another, events that lie behind the head of their
stream. Its signature covers them all, but the hash that the book has for the last of them is long passed.
This is rare (a device whose receipt was lost joins what it sends again with something new), so it is looked
up afterwards instead of keeping every hash at hand.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ledger.book_file import EntryLine, EnvelopeLine, WithheldLine, parse_line
from ledger.canonical import Malformed
from ledger.envelope import EVENTS_MAX
from ledger.verify.lines import BookLines
from ledger.verify.report import CHAINS, Findings, Place

WANTED_MAX = 50_000


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

    def compare(self, path: Path, until: int) -> None:
        """Look up all that is wanted in the lines up to `until`, and forget it."""
        if not self._wanted:
            return
        sequences: dict[str, int] = {}
        with BookLines(path) as lines:
            for _ in range(until):
                if not self._wanted:
                    return
                for stream, sequence, told in _new_events(lines.next_line().removesuffix(b"\n"), sequences):
                    wanted = self._wanted.pop((stream, sequence), None)
                    if wanted is not None and told != wanted.hash.hex():
                        self._differs(stream, sequence, wanted.number)
        for (stream, sequence), wanted in self._wanted.items():
            self._differs(stream, sequence, wanted.number)
        self._wanted.clear()

    def _differs(self, stream: str, sequence: int, number: int) -> None:
        what = "the envelope repeats an event otherwise than the book has it"
        self._findings.add(CHAINS, what, Place(number, stream, sequence))


def _new_events(data: bytes, sequences: dict[str, int]) -> Iterator[tuple[str, int, str]]:
    """Stream, sequence and entry hash in hex of each event that a line brings; `sequences` are the last ones
    of the lines before."""
    try:
        line = parse_line(data)
    except Malformed:
        return  # which was said when it was first read
    match line:
        case EntryLine(entry=entry) | WithheldLine(withheld=entry):
            yield entry.stream, entry.sequence, entry.hash
        case EnvelopeLine(envelope=envelope, hashes=hashes) if line.events <= EVENTS_MAX:
            at = 0
            for run in envelope.runs:
                known = min(max(sequences.get(run.stream, 0) - run.first + 1, 0), len(run.bodies))
                for sequence in range(run.first + known, run.last + 1):
                    yield run.stream, sequence, hashes[at : at + 64]
                    at += 64
                sequences[run.stream] = max(run.last, sequences.get(run.stream, 0))
