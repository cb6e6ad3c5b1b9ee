"""The second reading of a file: every run recomputed at the size of the log that it counts."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

import msgspec

from ledger.community_projector import PAGE_EVENTS, CommunityProjector
from ledger.errors import LedgerError
from ledger.market_events import SettlementRun
from ledger.merkle import Frontier
from ledger.settlement_rows import RunRow
from ledger.verify.further import NotJudged, Proven, entries
from ledger.verify.report import Progress
from settlement.book_state import BookState
from settlement.replay.database import finished, instant, statement, together
from settlement.replay.documents import ReplayedDocuments
from settlement.replay.gates import ReplayedGates
from settlement.replay.projections import ReplayedProjections
from settlement.replay.runs import ReplayedRuns
from settlement.replay.told import Fault, ToldRun, told_runs
from settlement.replay.work import TooMuchWork, Work
from settlement.settling import settle_due

BEYOND_MAX = timedelta(days=36_525)
"""How far a run may reach beyond the newest interval: what is settled there is nothing, month by month."""

_COMPARED = ("begin", "until", "root", "rules", "result", "settled", "revised")
_DIGEST_SHOWN = 12

_TOGETHER = {("revised", "provisional"), ("revised", "final"), ("provisional", "final"), ("final", "final")}
"""What may follow what in one go: a revision, what closed since, the months settled for good."""


class Replay:
    """One book as far as it was projected and settled. Goes forward only."""

    def __init__(
        self, book: Proven, connection: sqlite3.Connection, found: Fault, progress: Progress
    ) -> None:
        self.settled = 0
        """Intervals that were settled, for the first time or again."""
        self._book = book
        self._connection = connection
        self._found = found
        self._progress = progress
        self._entries = entries(book.path)
        self._gates = ReplayedGates(found)
        self._tree = Frontier()
        work = Work()
        self._projections = ReplayedProjections(connection, work)
        self._projector = CommunityProjector(book.community, self._projections)
        self._runs = ReplayedRuns(connection, self._tree, work)
        self._state = BookState(book.community, self._runs)
        self._documents = ReplayedDocuments(connection, self._runs, self._state, found)

    def run(self) -> None:
        """Recompute all runs that were noted.

        Raises `NotJudged` where the book cannot be projected, or asks for too much work.
        """
        for step in steps(self._possible(told_runs(self._connection))):
            self._project(step[0].event.tree_size)
            self._judge(step)
            self._documents.judge(step[-1].event.number)
        while page := list(islice(self._entries, PAGE_EVENTS)):
            self._gates.take(page)

    def _possible(self, runs: Iterable[ToldRun]) -> Iterator[ToldRun]:
        """The runs that can have counted what they say."""
        newest = 0
        for told in runs:
            number, size = told.event.number, told.event.tree_size
            if size > told.position:
                self._found(f"run {number} counts {size} events, before it are {told.position}", told.place)
            elif size < newest:
                what = f"run {number} counts {size} events, the run before it counted {newest}"
                self._found(what, told.place)
            else:
                newest = size
                yield told

    def _project(self, size: int) -> None:
        """Read on until the log has that size."""
        while (done := self._tree.size) < size:
            page = list(islice(self._entries, min(PAGE_EVENTS, size - done)))
            self._gates.take(page)
            self._projections.feed([entry.row for entry in page])
            try:
                finished(self._projector.step(len(page)))
            except LedgerError as error:
                raise NotJudged(f"the readings up to {size} events cannot be folded: {error}") from error
            self._tree.extend([entry.hash for entry in page])
            self._progress(self._tree.size, self._book.size)

    def _judge(self, step: Sequence[ToldRun]) -> None:
        """Settle what was due where the log has its present size, and compare. Raises `NotJudged`."""
        first = step[0]
        try:
            with together(self._connection):
                due = self._due(step)
        except TooMuchWork as error:
            raise NotJudged(f"run {first.event.number} was not recomputed: {error.what}") from error
        except (LedgerError, ArithmeticError, LookupError, ValueError) as error:
            self._found(f"run {first.event.number} cannot be recomputed: {error}", first.place)
            return
        by_kind: dict[str, list[SettlementRun]] = {}
        for run in due:
            by_kind.setdefault(run.kind, []).append(run.event())
        self.settled += sum(run.settled + run.revised for run in due)
        for told in step:
            name = f"run {told.event.number}"
            if not (left := by_kind.get(told.event.kind)):
                self._found(f"{name}: there was nothing to settle as {told.event.kind}", told.place)
            elif differences := list(_differences(told.event, left.pop(0))):
                self._found(f"{name}: {'; '.join(differences)}", told.place)
        for kind in (kind for kind, left in by_kind.items() if left):
            what = f"run {first.event.number}: a {kind} run of the same {self._tree.size} events was due"
            self._found(what, first.place)

    def _due(self, step: Sequence[ToldRun]) -> list[RunRow]:
        """The runs that the ledger's settler makes, up to the instant until which the book says it did."""
        finished(self._state.follow(self._tree.size))
        self._runs.zone = self._state.grid.zone
        told = [each.event.until for each in step if each.event.kind != "revised"]
        until = self._state.grid.floor(max(told, default=step[0].event.begin))
        (newest,) = self._connection.execute(statement("newest_interval")).fetchone()
        if newest is None:
            return []
        if until > instant(newest) + BEYOND_MAX:
            raise ValueError("it reaches a century beyond the newest reading")
        return finished(settle_due(self._runs, self._state, self._tree.size, until))


def steps(runs: Iterable[ToldRun]) -> Iterator[list[ToldRun]]:
    """The runs that a settler made in one go: of one size of the log, each kind as `_TOGETHER` has it."""
    step: list[ToldRun] = []
    for told in runs:
        if step and not _goes_with(step[-1].event, told.event):
            yield step
            step = []
        step.append(told)
    if step:
        yield step


def _goes_with(before: SettlementRun, run: SettlementRun) -> bool:
    return before.tree_size == run.tree_size and (before.kind, run.kind) in _TOGETHER


def _differences(told: SettlementRun, recomputed: SettlementRun) -> Iterator[str]:
    for name in _COMPARED:
        said, right = getattr(told, name), getattr(recomputed, name)
        if said != right:
            yield f"{name} {_shown(said)} instead of {_shown(right)}"


def _shown(value: Any) -> str:
    """A value as in the book; of a digest, its beginning."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode().strip('"')
    return text[:_DIGEST_SHOWN] + ".." if isinstance(value, str) else text
