"""What there is to settle by some instant, and the runs that come of it.

    one state of the store -> plans -> facts of intervals -> postings -> rows of runs

All of it follows from the book's first `size` events, from the runs before, and from `until`. So the settler
at work and whoever replays an exported book (`settlement.replay`) run this very code and come to the same.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ledger.garbage import no_search_for_cycles
from ledger.settlement_rows import Posted, PostingRow, RunRow, Standing
from settlement.batch import Batch, Drafting, Ready, batch_of, lines_of, posted_of
from settlement.bench import Bench
from settlement.book_state import BookSource, BookState
from settlement.journal import Posting
from settlement.month import Month, midnight, month_at
from settlement.repricing import repriced_intervals
from settlement.run import Kind, SettledInterval, settle_facts
from settlement.shared_bill import month_charges
from settlement.tariff_file import NoPrice

if TYPE_CHECKING:
    from hashlib import _Hash as Digest  # the class has no public name

CHUNK = timedelta(hours=6)
"""Energies are read and rows written by so much at a time, so memory does not grow with a run's span."""


class RunStore(BookSource, Protocol):
    """Where runs are kept, beside the book and its energies. All calls see one state of it."""

    async def standing(self, community: str) -> Standing:
        """Where the settlement stands; all are none before the first run."""

    async def changed(
        self, community: str, size: int, begin: datetime, until: datetime
    ) -> Sequence[datetime]:
        """The intervals in [begin, until) that events from position `size` on decided anew, in order."""

    async def known(self, community: str, begin: datetime, until: datetime) -> Sequence[datetime]:
        """The intervals in [begin, until) of which there are energies, or that were settled."""

    async def postings(self, community: str, start: datetime) -> Sequence[PostingRow]:
        """The postings that count for an interval: those of the newest run that settled it, in order."""

    async def charges(self, community: str, start: datetime) -> Sequence[PostingRow]:
        """The charges that count for the month that begins at an instant, in order."""

    async def root(self, community: str, size: int) -> bytes:
        """The root of the log as it was at `size`."""

    async def add_run(self, community: str, run: RunRow) -> None:
        """Write a run."""

    @property
    def drafted(self) -> Drafting[Any]:
        """What makes a run's rows of intervals ready to be written; pure, and known by its name."""

    async def write(self, drafted: Any) -> None:
        """Write what was made ready."""

    async def charge(self, community: str, run: int, posted: Iterable[Posted]) -> None:
        """Write a run's charges of months, in the order in which they are made."""


class Plan(NamedTuple):
    """What a run is to settle: the intervals of [begin, until) and those before that have changed.

    A run of kind `revised` settles what has changed and nothing else, one of kind `final` no interval: it
    posts the month's charges, and from then on what changes in [begin, until) is a correction.
    """

    kind: Kind
    begin: datetime
    until: datetime
    changed: Sequence[datetime] = ()


async def settle_due(
    store: RunStore,
    book: BookState,
    size: int,
    until: datetime,
    *,
    may_share: bool = False,
    most: int | None = None,
) -> list[RunRow]:
    """Make the runs that are due where the log has `size` events: of what closed by `until`, a boundary, and
    of what has changed. None before there are rules.

    A run ends before the first interval that the tariff gives no price. Raises `NoPrice` where that is the
    first one that waits; then nothing must be kept. It also ends where it has settled `most` new intervals,
    or a few more: then the rest is due at once. Where much is to be settled, another process `may_share` the
    work, and `WorkerLost` is raised if that is gone.
    """
    if not book.registry.market.rules:
        return []
    standing = await store.standing(book.community)
    work = _Work(store, book, size, may_share=may_share, most=most)
    runs: list[RunRow] = []
    with no_search_for_cycles():
        for plan in await _plans(store, book, standing, until):
            run = await work.run(plan, (standing.number or 0) + len(runs) + 1)
            if run is not None:
                runs.append(run)
    settled = [run.until for run in runs if run.kind == "provisional"]
    for plan in _finals(book, standing, settled[0] if settled else standing.settled_until):
        runs.append(await work.final(plan, (standing.number or 0) + len(runs) + 1))
    return runs


async def _plans(store: RunStore, book: BookState, standing: Standing, until: datetime) -> list[Plan]:
    first = book.registry.market.rules[0].begin
    begin = standing.settled_until or first
    changed = await _changed(store, book, standing, first)
    final = standing.final_until or first
    for_good = [start for start in changed if start < final]
    others = [start for start in changed if start >= final]
    plans = [Plan("provisional", begin, max(until, begin), others)]
    if for_good:
        plans.insert(0, Plan("revised", for_good[0], for_good[-1] + book.step, for_good))
    return plans


def _finals(book: BookState, standing: Standing, settled_until: datetime | None) -> Iterator[Plan]:
    """The months that are to be settled for good: those after which `final_days` local days are settled.

    The settlement's progress says so and not the clock, so whoever replays the book finds the same.
    """
    begin, zone = standing.final_until or book.registry.market.rules[0].begin, book.grid.zone
    while settled_until is not None:
        month = month_at(begin, zone)
        rules = book.registry.market.rules_at(month.until - book.step)
        if rules is None or settled_until < midnight(
            month.next_first + timedelta(days=rules.final_days), zone
        ):
            return
        yield Plan("final", begin, month.until)
        begin = month.until


async def _changed(store: RunStore, book: BookState, standing: Standing, first: datetime) -> list[datetime]:
    """The settled intervals whose energies may differ from those that the last run saw."""
    if standing.settled_until is None or standing.tree_size is None:
        return []
    until, seen = standing.settled_until, standing.tree_size
    changed = await store.changed(book.community, seen, first, until)
    others: set[datetime] = set()
    reshaped = [since for position, since in book.reshaped if position >= seen]
    if reshaped:
        others.update(await store.known(book.community, max(min(reshaped), first), until))
    repriced = [before for position, before in book.repriced if position >= seen]
    if repriced:
        known = await store.known(book.community, first, until)
        others.update(repriced_intervals(book.rules(), repriced, known))
    return sorted(others.union(changed)) if others else list(changed)


class _Hole(NamedTuple):
    """The first interval that the tariff gives no price."""

    start: datetime
    error: NoPrice


class _New(NamedTuple):
    """What was settled for the first time: so many intervals, up to where, and why not further."""

    settled: int
    until: datetime
    hole: NoPrice | None = None


class _Work:
    """One state of the store, being settled."""

    def __init__(
        self, store: RunStore, book: BookState, size: int, *, may_share: bool, most: int | None
    ) -> None:
        self._community = book.community
        self._may_share = may_share
        self._most = most
        self._store = store
        self._book = book
        self._rules = book.rules()
        self._size = size

    async def run(self, plan: Plan, number: int) -> RunRow | None:
        """Settle what is planned and write it; None where nothing came of it."""
        digest = sha256()
        first, revised = plan.begin, 0
        for start in plan.changed:
            if await self._settle_again(number, start, digest):
                first, revised = min(first, start), revised + 1
        is_charged = False
        if plan.kind == "revised":
            for month in dict.fromkeys(month_at(start, self._book.grid.zone) for start in plan.changed):
                is_charged |= await self._decide_charges(number, month, digest)
        new = _New(0, plan.until)
        if plan.kind != "revised":
            new = await self._settle_new(plan, number, digest)
        settled = new.settled
        if not (settled or revised or is_charged):
            if new.hole is not None:
                raise new.hole
            return None
        plan = plan._replace(until=new.until)
        return await self._add_run(plan, number, first, digest, settled, revised)

    async def _settle_again(self, number: int, start: datetime, digest: "Digest") -> bool:
        """Put what an interval comes to by now in the place of what was posted for it; whether it differs.

        Where the tariff has no price for it any more, it stays as it was: publishing one that has is a reason
        to look again.
        """
        before = [Posting(*row) for row in await self._store.postings(self._community, start)]
        ready, hole = await self._ready(start, start + self._book.step)
        if hole is not None:
            return False
        # Of an interval whose meters have all been retired since, nothing is left but the reversal.
        after = [settle_facts(*each) for each in ready] or [SettledInterval(start, [], [], [])]
        if after[0].postings == before:
            return False
        await self._write(
            batch_of(self._store.drafted, self._community, number, [(after[0], before)]), digest
        )
        return True

    async def final(self, plan: Plan, number: int) -> RunRow:
        """Settle what is planned for good, with the month's charges."""
        digest = sha256()
        await self._decide_charges(number, month_at(plan.begin, self._book.grid.zone), digest)
        return await self._add_run(plan, number, plan.begin, digest, 0, 0)

    async def _decide_charges(self, number: int, month: Month, digest: "Digest") -> bool:
        """Post a month's charges, in the place of those that were posted before; whether they differ."""
        start = max(month.begin, self._book.registry.market.rules[0].begin)
        before = [Posting(*row) for row in await self._store.charges(self._community, start)]
        after = await month_charges(self._store, self._book, month)
        if after == before:
            return False
        posted = posted_of(start, before, after)
        digest.update(b"".join(lines_of(posted)))
        await self._store.charge(self._community, number, posted)
        return True

    async def _add_run(
        self, plan: Plan, number: int, first: datetime, digest: "Digest", settled: int, revised: int
    ) -> RunRow:
        root = await self._store.root(self._community, self._size)
        rules = self._rules.digest(first, plan.until)
        run = RunRow(
            number, plan.kind, plan.begin, plan.until, self._size, root, rules, digest.digest(),
            settled, revised,
        )  # fmt: skip
        await self._store.add_run(self._community, run)
        return run

    async def _ready(self, begin: datetime, until: datetime) -> tuple[list[Ready], _Hole | None]:
        """The intervals of [begin, until) as far as the tariff reaches; the first one where it does not."""
        found = []
        async for facts in self._book.facts(begin, until):
            try:
                if (in_force := self._rules.at(facts.start)) is not None:
                    band = in_force.tariff.band(int(facts.start.timestamp()))
                    found.append(Ready(facts, in_force.rules, band))
            except NoPrice as error:
                return found, _Hole(facts.start, error)
        return found, None

    async def _settle_new(self, plan: Plan, number: int, digest: "Digest") -> "_New":
        """Settle the intervals of a plan, as far as the tariff reaches and `most` allows.

        While those of one batch are written, the next ones are settled. Where nothing is known, it goes on
        with the next interval of which anything is.
        """
        settled, hole, until = 0, None, plan.begin
        batches: deque[Batch[Any] | Future[Batch[Any]]] = deque()
        async with Bench(self._store.drafted, self._community, number, may_share=self._may_share) as bench:
            while hole is None and (begin := until) < plan.until:
                until = min(begin + CHUNK, plan.until)
                ready, hole = await self._ready(begin, until)
                if ready:
                    settled += len(ready)
                    to_come = (plan.until - until) // CHUNK
                    if self._most is not None:
                        to_come = min(to_come, (self._most - settled) // len(ready))
                    batches.append(bench.put(ready, to_come))
                elif hole is None:
                    following = await self._store.next_energy(self._community, until)
                    until = plan.until if following is None else min(following, plan.until)
                if len(batches) > 1:
                    await self._write(await bench.taken(batches.popleft()), digest)
                if self._most is not None and settled >= self._most:
                    break
            while batches:
                await self._write(await bench.taken(batches.popleft()), digest)
        return _New(settled, until) if hole is None else _New(settled, hole.start, hole.error)

    async def _write(self, batch: Batch[Any], digest: "Digest") -> None:
        digest.update(batch.lines)
        await self._store.write(batch.draft)
