"""The settler: settles what has closed, settles again what has changed, and records each run in the book.

    one state of the store -> facts of intervals -> postings -> rows of a run, committed -> settlement-run

The rows come first, the event after. If the program ends between the two, the next step finds a run that the
book does not have and records it before it does anything else; so every run is recorded exactly once.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from ledger.clock import Clock, rfc3339
from ledger.market_events import SettlementRun
from ledger.postgres.settlement import RunRow, SettlementStore, Standing
from settlement.book_state import BookState
from settlement.journal import Posting
from settlement.run import Kind, ResultDigest, SettledInterval, reversed_postings, settle_facts

log = structlog.get_logger(__name__)

CHUNK = timedelta(days=1)
"""Energies are read and rows written a day at a time, so memory does not grow with a run's span."""

Record = Callable[[SettlementRun], Awaitable[None]]
"""Appends a run to the book, and returns when the book has it."""


class Plan(NamedTuple):
    """What a run is to settle: the intervals of [begin, until) and those before that have changed."""

    kind: Kind
    begin: datetime
    until: datetime
    changed: Sequence[datetime] = ()


class Settler:
    """Settles one community. Only one may run at a time: two would number the same run."""

    def __init__(
        self, community: str, store: SettlementStore, record: Record, clock: Clock, grace: timedelta
    ) -> None:
        self._community = community
        self._store = store
        self._record = record
        self._clock = clock
        self._grace = grace
        self._book = BookState(community, store)

    async def step(self) -> list[SettlementRun]:
        """Settle what there is to settle by now; the runs that were made.

        Raises `StoreUnavailable`, `TariffHole` and what else a tariff can lack: then nothing was posted.
        """
        book = self._book
        async with self._store.transaction(self._community) as size:
            await book.follow(size)
            runs = await self._store.runs_after(self._community, book.recorded)
            if not runs and book.registry.market.rules:
                runs = await self._settle(_Work(self._store, book, size))
        events = [run.event() for run in runs]
        for event in events:
            await self._record(event)
            book.recorded = event.number
            log.info(
                "settled", community=self._community, run=event.number, kind=event.kind,
                until=rfc3339(event.until), intervals=event.settled, revised=event.revised,
            )  # fmt: skip
        return events

    async def _settle(self, work: "_Work") -> list[RunRow]:
        """Make the runs that are due."""
        standing = await self._store.standing(self._community)
        runs: list[RunRow] = []
        for plan in await self._plans(standing):
            run = await work.run(plan, (standing.number or 0) + len(runs) + 1)
            if run is not None:
                runs.append(run)
        return runs

    async def _plans(self, standing: Standing) -> list[Plan]:
        book = self._book
        first = book.registry.market.rules[0].begin
        begin = standing.settled_until or first
        until = max(book.floor(self._clock.now() - self._grace), begin)
        changed = await self._changed(first, standing)
        final = standing.final_until or first
        for_good = [start for start in changed if start < final]
        others = [start for start in changed if start >= final]
        plans = [Plan("provisional", begin, until, others)]
        if for_good:
            plans.insert(0, Plan("revised", for_good[0], for_good[-1] + book.step, for_good))
        return plans

    async def _changed(self, first: datetime, standing: Standing) -> list[datetime]:
        """The settled intervals whose energies may differ from those that the last run saw."""
        if standing.settled_until is None or standing.tree_size is None:
            return []
        until, seen = standing.settled_until, standing.tree_size
        changed = set(await self._store.changed(self._community, seen, first, until))
        for position, since in self._book.reshaped:
            if position >= seen:
                changed |= set(self._book.starts(max(since, first), until))
        return sorted(changed)


class _Work:
    """One state of the store, being settled."""

    def __init__(self, store: SettlementStore, book: BookState, size: int) -> None:
        self._community = book.community
        self._store = store
        self._book = book
        self._rules = book.rules()
        self._size = size

    async def run(self, plan: Plan, number: int) -> RunRow | None:
        """Settle what is planned and write it; None where nothing came of it."""
        digest = ResultDigest()
        revised = 0
        for start in plan.changed:
            before = [Posting(*row) for row in await self._store.postings(self._community, start)]
            after = [settled async for settled in self._settled(start, start + self._book.step)]
            if [posting for settled in after for posting in settled.postings] != before:
                await self._write(number, after, digest, {start: before} if before else {})
                revised += 1
        settled, until = 0, plan.begin
        while (begin := until) < plan.until:
            until = min(begin + CHUNK, plan.until)
            chunk = [each async for each in self._settled(begin, until)]
            await self._write(number, chunk, digest, {})
            settled += len(chunk)
        if not settled and not revised:
            return None
        root = await self._store.root(self._community, self._size)
        rules = self._rules.digest(min([plan.begin, *plan.changed]), plan.until)
        run = RunRow(
            number,
            plan.kind,
            plan.begin,
            plan.until,
            self._size,
            root,
            rules,
            digest.digest(),
            settled,
            revised,
        )
        await self._store.add_run(self._community, run)
        return run

    async def _settled(self, begin: datetime, until: datetime) -> AsyncIterator[SettledInterval]:
        """The intervals of [begin, until) of which something is known, in order of time."""
        async for facts in self._book.facts(begin, until):
            if (in_force := self._rules.at(facts.start)) is not None:
                yield settle_facts(facts, in_force)

    async def _write(
        self,
        number: int,
        intervals: Sequence[SettledInterval],
        digest: ResultDigest,
        before: Mapping[datetime, Sequence[Posting]],
    ) -> None:
        """Write the rows of some intervals; `before` is what they reverse."""
        rows: dict[str, list[Sequence[object]]] = {
            "intervals": [],
            "postings": [],
            "trades": [],
            "shares": [],
        }
        for start, trades, shares, postings in intervals:
            undone = reversed_postings(before.get(start, ()))
            for reversal, made in ((True, undone), (False, postings)):
                if made:
                    digest.add(start, made, reversal=reversal)
                rows["postings"] += [
                    (self._community, start, number, reversal, index, *each)
                    for index, each in enumerate(made)
                ]
            rows["intervals"].append((self._community, start, number))
            rows["trades"] += [
                (self._community, start, number, index, *each) for index, each in enumerate(trades)
            ]
            rows["shares"] += [(self._community, start, number, *each) for each in shares]
        for table, values in rows.items():
            if values:
                await self._store.add(table, values)
