"""From the book to messages: a page of readings, or a piece of one settlement run, for many views at once.

    a reading       one message
    a run           for each of its intervals, in order of time, two: what it brought the building, the prices

The number of a message at its position follows from the book alone, whether or not it concerns a building.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from api.http.building_shapes import Price, brought_figures, interval_shape, trade_shape
from api.http.desk import OrderDesk
from api.http.live.message import Message
from api.http.live.place import Place
from api.http.live.shapes import PriceTold, ReadingTold, SettledTold
from api.http.shapes import amount
from ledger.market import Market
from ledger.postgres.buildings import IntervalRow, TradeRow
from ledger.postgres.live import (
    DecidedRow,
    LiveStore,
    MeterSpan,
    PostedSum,
    ReadingRow,
    RunPlace,
    SettledInterval,
)
from ledger.settings import CommunitySettings
from settlement.brought import brought
from settlement.journal import building_account
from settlement.market import Band
from settlement.rules_in_force import RulesInForce
from settlement.tariff_file import NoPrice

POSITIONS_MAX = 5_000
EVENTS_MAX = 500
INTERVALS_MAX = 96
"""How much of the book, how many readings, or how many intervals of a run make a page at the most."""
AROUND = timedelta(days=1)
MESSAGES_OF_INTERVAL = 2


class View(NamedTuple):
    """What somebody is told of: a building, with the partners of its trades or without."""

    building: str
    with_partner: bool


class Page(NamedTuple):
    """Messages in their order, and up to where all was told by them."""

    until: Place
    messages: Mapping[View, Sequence[Message]]


class _OfInterval(NamedTuple):
    """What a run brought a building in an interval."""

    posted: list[PostedSum]
    trades: list[TradeRow]


class LivePages:
    """Reads for one community. `community` are its settings, as the book was opened with them."""

    def __init__(self, store: LiveStore, desk: OrderDesk, community: CommunitySettings) -> None:
        self._store = store
        self._desk = desk
        self._currency = community.currency
        self._step = timedelta(minutes=community.interval_minutes)
        self._rules: tuple[Market, RulesInForce] | None = None

    async def page(self, views: Collection[View], place: Place, end: int) -> Page:
        """What comes after a place and before position `end`, as much as makes a page.

        Raises `StoreUnavailable`.
        """
        begin, end = place.position, min(end, place.position + POSITIONS_MAX)
        found = await self._store.events({view.building for view in views}, begin, end, EVENTS_MAX)
        if len(found) == EVENTS_MAX:
            end = found[-1].position + 1
        if found and isinstance(run := found[0], RunPlace):
            return await self._run(views, run, place.part if run.position == begin else 0)
        readings: list[ReadingRow] = []
        for row in found:
            if isinstance(row, RunPlace):
                end = row.position  # it begins the next page
                break
            if Place(row.position, 1) > place:
                readings.append(row)
        return Page(Place(end), await self._readings(views, readings))

    # --- readings ----------------------------------------------------------------------------

    async def _readings(
        self, views: Collection[View], rows: Sequence[ReadingRow]
    ) -> Mapping[View, Sequence[Message]]:
        if not rows:
            return {}
        energies: defaultdict[int, list[DecidedRow]] = defaultdict(list)
        for each in await self._store.energies(
            list(self._spans(rows)), rows[0].position, rows[-1].position + 1
        ):
            energies[each.decided_by].append(each)
        by_building: defaultdict[str, list[Message]] = defaultdict(list)
        for row in rows:
            told = self._reading(row, energies[row.position])
            by_building[row.building].append(Message.of(Place(row.position, 1), told))
        return {view: by_building[view.building] for view in views if view.building in by_building}

    def _spans(self, rows: Sequence[ReadingRow]) -> Iterator[MeterSpan]:
        """Where the energies of readings are looked for, once for each meter."""
        instants: defaultdict[str, list[datetime]] = defaultdict(list)
        for row in rows:
            instants[row.meter].append(row.event.measured_at)
        for meter, read in instants.items():
            yield MeterSpan(meter, min(read) - AROUND - self._step, max(read) + AROUND)

    def _reading(self, row: ReadingRow, energies: Sequence[DecidedRow]) -> ReadingTold:
        event = row.event
        return ReadingTold(
            row.meter, row.role, row.sequence, row.entry_hash.hex(), event.measured_at, event.quality,
            event.import_wh, event.export_wh, event.power_w,
            [
                interval_shape(IntervalRow(*each[1:]), self._step) for each in energies
            ],
        )  # fmt: skip

    # --- runs --------------------------------------------------------------------------------

    async def _run(self, views: Collection[View], run: RunPlace, part: int) -> Page:
        """The next intervals of a run, behind so many of its messages."""
        number, skip = run.event.number, part // MESSAGES_OF_INTERVAL
        rows = await self._store.settled(number, skip, INTERVALS_MAX)
        is_whole = len(rows) < INTERVALS_MAX
        end = MESSAGES_OF_INTERVAL * (skip + len(rows))
        until = Place(run.position + 1) if is_whole else Place(run.position, end)
        if not rows:
            return Page(until, {})
        starts = [row.start for row in rows]
        buildings = {view.building for view in views}
        settled = await self._settled(number, buildings, starts)
        prices = await self._prices(number, rows)
        messages: defaultdict[View, list[Message]] = defaultdict(list)
        for index, (row, price) in enumerate(zip(rows, prices, strict=True), skip):
            own, common = (Place(run.position, MESSAGES_OF_INTERVAL * index + each) for each in (1, 2))
            told = Message.of(common, price)
            for view in views:
                of_interval = settled.get((view.building, row.start))
                if own.part > part and (of_interval is not None or row.is_revised):
                    shape = self._interval(view, number, row, of_interval or _OfInterval([], []))
                    messages[view].append(Message.of(own, shape))
                messages[view].append(told)
            await asyncio.sleep(0)  # a page of a whole campus is much: others are served in between
        return Page(until, messages)

    async def _settled(
        self, run: int, buildings: Collection[str], starts: Sequence[datetime]
    ) -> dict[tuple[str, datetime], _OfInterval]:
        """What a run brought buildings, by building and interval."""
        accounts = {building_account(building): building for building in buildings}
        found: defaultdict[tuple[str, datetime], _OfInterval] = defaultdict(lambda: _OfInterval([], []))
        for each in await self._store.posted(run, accounts, starts):
            found[accounts[each.account], each.start].posted.append(each)
        for trade in await self._store.trades(run, buildings, starts):
            for building in {trade.seller, trade.buyer} & set(buildings):
                found[building, trade.start].trades.append(trade)
        return dict(found)

    def _interval(self, view: View, run: int, row: SettledInterval, found: _OfInterval) -> SettledTold:
        return SettledTold(
            row.start, row.start + self._step, run, row.is_revised,
            *brought_figures(brought(found.posted), self._currency),
            [
                trade_shape(trade, view.building, self._currency, with_partner=view.with_partner)
                for trade in found.trades
            ],
        )  # fmt: skip

    async def _prices(self, run: int, rows: Sequence[SettledInterval]) -> list[PriceTold]:
        """The prices of each interval."""
        rules = await self._in_force()
        among = {row.start: row for row in await self._store.prices(run, [row.start for row in rows])}
        found = []
        for row in rows:
            band, p2p = _band(rules, row.start), among.get(row.start)
            found.append(
                PriceTold(
                    row.start, row.start + self._step, run, row.is_revised,
                    self._price(band and band.retail_micro_per_kwh),
                    self._price(band and band.feed_in_micro_per_kwh),
                    self._price(p2p and p2p.lowest_micro_per_kwh),
                    self._price(p2p and p2p.highest_micro_per_kwh),
                )
            )  # fmt: skip
        return found

    def _price(self, micro_per_kwh: int | None) -> Price | None:
        if micro_per_kwh is None:
            return None
        return Price(micro_per_kwh, amount(micro_per_kwh, self._currency).decimal, self._currency)

    async def _in_force(self) -> RulesInForce:
        """The rules as the book has them by now, made ready once for as long as they stay."""
        registry = (await self._desk.desk()).registry
        if self._rules is None or self._rules[0] is not registry.market:
            self._rules = registry.market, RulesInForce(registry)
        return self._rules[1]


def _band(rules: RulesInForce, start: datetime) -> Band | None:
    """What the grid asks and gives in an interval; none where the tariff tells no price."""
    try:
        found = rules.at(start)
        return found and found.tariff.band(int(start.timestamp()))
    except NoPrice:
        return None
