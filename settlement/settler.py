"""The settler: settles what has closed, settles again what has changed, and records each run in the book.

    one state of the store -> facts of intervals -> postings -> rows of a run, committed -> settlement-run

The rows come first, the event after. If the program ends between the two, the next step finds a run that the
book does not have and records it before it does anything else; so every run is recorded exactly once.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog

from ledger.clock import Clock, rfc3339
from ledger.entry import stream_kind, stream_subject
from ledger.events import AnyEvent, MeterAdded, MeterRetired, read_recorded
from ledger.grid import Grid
from ledger.market_events import SettlementRun
from ledger.postgres.settlement import RunRow, SettlementStore, Standing
from ledger.registry import Registry
from settlement.amounts import MILLIWH_PER_WH
from settlement.delivery import Delivery
from settlement.journal import Posting
from settlement.offers import Metered
from settlement.order_book import OrderBook
from settlement.rules_in_force import RulesInForce
from settlement.run import Facts, Kind, ResultDigest, SettledInterval, reversed_postings, settle_facts

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
        self._position = 0  # of the next event that is no reading
        self._registry = Registry(community)
        self._grid: Grid | None = None
        self._orders: OrderBook | None = None
        self._reshaped: list[tuple[int, datetime]] = []  # positions of events that change who is summed since
        self._recorded = 0  # number of the newest run in the book

    async def step(self) -> list[SettlementRun]:
        """Settle what there is to settle by now; the runs that were made.

        Raises `StoreUnavailable`, `TariffHole` and what else a tariff can lack: then nothing was posted.
        """
        async with self._store.transaction(self._community) as size:
            await self._follow(size)
            runs = await self._store.runs_after(self._community, self._recorded)
            if not runs:
                runs = await self._settle(size)
        events = [run.event() for run in runs]
        for event in events:
            await self._record(event)
            self._recorded = event.number
            log.info(
                "settled", community=self._community, run=event.number, kind=event.kind,
                until=rfc3339(event.until), intervals=event.settled, revised=event.revised,
            )  # fmt: skip
        return events

    # --- what is known -----------------------------------------------------------------------

    async def _follow(self, size: int) -> None:
        """Take in what the book says of buildings, rules and orders up to `size`."""
        rows = await self._store.events(self._community, self._position, size)
        for row, event in zip(rows, read_recorded([row.body for row in rows]), strict=True):
            self._take(row.position, row.stream, event)
        self._position = size

    def _take(self, position: int, stream: str, event: AnyEvent) -> None:
        self._registry.apply(event)
        match event:
            case SettlementRun():
                self._recorded = event.number
            case MeterAdded():
                self._reshaped.append((position, event.since))
            case MeterRetired():
                self._reshaped.append((position, event.until))
            case _ if stream_kind(stream) == "building" and self._orders is not None:
                self._orders.apply(stream_subject(stream), event)
        if self._grid is None and self._registry.opened is not None:
            self._grid = Grid.of(self._registry.opened)
            self._orders = OrderBook(self._grid.zone)

    # --- what is to be done --------------------------------------------------------------------

    async def _settle(self, size: int) -> list[RunRow]:
        """Make the runs that are due."""
        if self._grid is None or self._orders is None:
            return []
        rules = RulesInForce(self._registry)
        if rules.begin is None:
            return []
        work = _Work(self._community, self._store, self._grid, rules, self._orders, size)
        standing = await self._store.standing(self._community)
        runs: list[RunRow] = []
        for plan in await self._plans(work, rules.begin, standing):
            run = await work.run(plan, (standing.number or 0) + len(runs) + 1)
            if run is not None:
                runs.append(run)
        return runs

    async def _plans(self, work: "_Work", first: datetime, standing: Standing) -> list[Plan]:
        begin = standing.settled_until or first
        until = max(self._closed(work.grid), begin)
        changed = await self._changed(work, first, standing)
        final = standing.final_until or first
        for_good = [start for start in changed if start < final]
        others = [start for start in changed if start >= final]
        plans = [Plan("provisional", begin, until, others)]
        if for_good:
            plans.insert(0, Plan("revised", for_good[0], for_good[-1] + work.step, for_good))
        return plans

    def _closed(self, grid: Grid) -> datetime:
        """The end of the last interval that is over for long enough."""
        at = int((self._clock.now() - self._grace).timestamp())
        return datetime.fromtimestamp(at - (at - grid.offset) % grid.step, UTC)

    async def _changed(self, work: "_Work", first: datetime, standing: Standing) -> list[datetime]:
        """The settled intervals whose energies may differ from those that the last run saw."""
        if standing.settled_until is None or standing.tree_size is None:
            return []
        until, seen = standing.settled_until, standing.tree_size
        changed = set(await self._store.changed(self._community, seen, first, until))
        for position, since in self._reshaped:
            if position >= seen:
                changed |= set(work.starts(max(since, first), until))
        return sorted(changed)


class _Work:
    """One state of the store, being settled."""

    def __init__(
        self,
        community: str,
        store: SettlementStore,
        grid: Grid,
        rules: RulesInForce,
        orders: OrderBook,
        size: int,
    ) -> None:
        self.grid = grid
        self.step = timedelta(seconds=grid.step)
        self._community = community
        self._store = store
        self._rules = rules
        self._orders = orders
        self._size = size

    def starts(self, begin: datetime, until: datetime) -> list[datetime]:
        """The intervals that start in [begin, until)."""
        at = int(begin.timestamp())
        first = at + (self.grid.offset - at) % self.grid.step
        return [
            datetime.fromtimestamp(each, UTC) for each in range(first, int(until.timestamp()), self.grid.step)
        ]

    async def run(self, plan: Plan, number: int) -> RunRow | None:
        """Settle what is planned and write it; None where nothing came of it."""
        digest = ResultDigest()
        revised = 0
        for start in plan.changed:
            before = [Posting(*row) for row in await self._store.postings(self._community, start)]
            after = [settled async for settled in self._settled(start, start + self.step)]
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
        energies = await self._store.energies(self._community, begin, until)
        deliveries = await self._store.deliveries(self._community, begin, until)
        for start, rows in energies.items():
            in_force = self._rules.at(start)
            if in_force is None:
                continue
            delivered = deliveries.get(start)
            facts = Facts(
                start,
                [
                    Metered(name, taken * MILLIWH_PER_WH, given * MILLIWH_PER_WH)
                    for name, taken, given in rows
                ],
                Delivery(*(wh * MILLIWH_PER_WH for wh in delivered)) if delivered else None,
                self._orders.orders(start),
                self._orders.agreements(start),
            )
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
