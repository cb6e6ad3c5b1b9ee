"""What the book says of a community as settlement needs it: who takes part, by what rules and orders."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from ledger.entry import stream_kind, stream_subject
from ledger.errors import BadInput
from ledger.events import AnyEvent, MeterAdded, MeterRetired, read_recorded
from ledger.grid import Grid
from ledger.market_events import SettlementRun, TariffPublished
from ledger.recorded import RecordedEvent
from ledger.registry import Registry
from ledger.settlement_rows import Energy
from settlement.amounts import MILLIWH_PER_WH
from settlement.delivery import Delivery
from settlement.making import maker
from settlement.offers import Metered
from settlement.order_book import OrderBook
from settlement.rules_in_force import RulesInForce
from settlement.run import Facts

_metered = maker(Metered)


class BookSource(Protocol):
    """What is asked of a store for the facts of a community: its book, and its energies as projected."""

    async def events(self, community: str, begin: int, end: int) -> Sequence[RecordedEvent]:
        """What is no reading, of the positions [begin, end), in order."""

    async def energies(
        self, community: str, begin: datetime, until: datetime
    ) -> Mapping[datetime, Sequence[Energy]]:
        """What every building took and gave in the intervals that start in [begin, until), by start, in
        order of time."""

    async def next_energy(self, community: str, since: datetime) -> datetime | None:
        """The start of the first interval from an instant on of which a building's energy is known."""

    async def deliveries(
        self, community: str, begin: datetime, until: datetime
    ) -> Mapping[datetime, tuple[int, int]]:
        """What the main meters show together, import and export in Wh, by start, where all of them do."""


class NotOpen(BadInput):
    """There is no book of this community yet."""

    code = "not-open"


class BookState:
    """A fold over the events that are no readings, up to a size of the log."""

    def __init__(self, community: str, store: BookSource) -> None:
        self.community = community
        self.recorded = 0  # number of the newest run in the book
        self.reshaped: list[tuple[int, datetime]] = []
        """Events that changed which meters are summed: their positions, and from when on."""
        self.repriced: list[tuple[int, TariffPublished]] = []
        """Events that published a tariff anew: their positions, and what had been published before."""
        self.registry = Registry(community)
        self._store = store
        self._position = 0  # of the next event
        self._grid: Grid | None = None
        self._orders: OrderBook | None = None

    async def follow(self, size: int) -> None:
        """Take in what the book says up to `size`."""
        rows = await self._store.events(self.community, self._position, size)
        for row, event in zip(rows, read_recorded([row.body for row in rows]), strict=True):
            self._take(row.position, row.stream, event)
        self._position = size

    def still(self) -> "BookState":
        """What the book says by now, for whoever reads it while this one goes on.

        Neither followed nor asked for orders and facts: those are of this one and its store.
        """
        twin = BookState(self.community, self._store)
        twin.registry, twin._grid = self.registry.copy(), self._grid
        return twin

    def _take(self, position: int, stream: str, event: AnyEvent) -> None:
        if isinstance(event, TariffPublished) and event.tariff in self.registry.market.tariffs:
            self.repriced.append((position, self.registry.market.tariffs[event.tariff]))
        self.registry.apply(event)
        match event:
            case SettlementRun():
                self.recorded = max(self.recorded, event.number)  # it may have been told sooner
            case MeterAdded():
                self.reshaped.append((position, event.since))
            case MeterRetired():
                self.reshaped.append((position, event.until))
            case _ if stream_kind(stream) == "building" and self._orders is not None:
                self._orders.apply(stream_subject(stream), event)
        if self._grid is None and self.registry.opened is not None:
            self._grid = Grid.of(self.registry.opened)
            self._orders = OrderBook(self._grid.zone)

    @property
    def grid(self) -> Grid:
        """The community's intervals. Raises `NotOpen`."""
        if self._grid is None:
            raise NotOpen("there is no book of this community yet", where=self.community)
        return self._grid

    @property
    def orders(self) -> OrderBook:
        """What the buildings want. Raises `NotOpen`."""
        if self._orders is None:
            raise NotOpen("there is no book of this community yet", where=self.community)
        return self._orders

    @property
    def step(self) -> timedelta:
        """The length of an interval."""
        return timedelta(seconds=self.grid.step)

    def rules(self) -> RulesInForce:
        """The rules as published up to here."""
        return RulesInForce(self.registry)

    async def facts(self, begin: datetime, until: datetime) -> AsyncIterator[Facts]:
        """What is known of the intervals of [begin, until), in order of time; not of those without energy."""
        energies = await self._store.energies(self.community, begin, until)
        deliveries = await self._store.deliveries(self.community, begin, until)
        for start, rows in energies.items():
            delivered = deliveries.get(start)
            yield Facts(
                start,
                [
                    _metered((name, taken * MILLIWH_PER_WH, given * MILLIWH_PER_WH))
                    for name, taken, given in rows
                ],
                Delivery(*(wh * MILLIWH_PER_WH for wh in delivered)) if delivered else None,
                self._orders.orders(start) if self._orders else {},
                self._orders.agreements(start) if self._orders else [],
            )
