"""A campus of three buildings that trade, with its projector and its settler, on a real store."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from ledger.clock import VirtualClock
from ledger.event import Event
from ledger.events import BuildingAdded, MeterAdded, MeterAssigned
from ledger.market_events import MarketRulesPublished, SettlementRun, TariffPublished
from ledger.postgres import PostgresSettings
from ledger.postgres.settlement import SettlementStore
from ledger.projector import Projector
from ledger.registry import OPERATOR, SERVICE
from ledger.writer import Writer
from settlement.settler import Settler
from tests.support.campus import GATEWAY, MORNING, QUARTER, Campus, reading, record
from tests.support.store import owner

HOUR = 4 * QUARTER
DAY = 24 * HOUR
FLAT = """
name = "flat"
country = "TH"
currency = "THB"
zone = "Asia/Bangkok"
source = "a test"
confirmed = true
versions = [{ from = 2026-01-01, feed_in_per_kwh = 2, service_per_month = 300, vat = 0.07, periods = [
    { name = "all", energy_per_kwh = 4, demand_per_kw = 50 },
] }]
"""
BUILDINGS = {"b-1": "m-0", "b-2": "m-1", "b-3": "m-2"}


class Site:
    """A campus of three buildings with a market, its projector and its settler."""

    def __init__(self, store: PostgresSettings) -> None:
        self.store = store
        self.campus = Campus("campus", meters=1)
        self.clock = VirtualClock(MORNING)
        self.ledgers_clock = VirtualClock(MORNING)
        self.projector = Projector(store)
        self.settlement: SettlementStore
        self.writer: Writer
        self.settler: Settler

    async def open(self) -> None:
        since = MORNING - timedelta(days=30)
        self.writer = await self.campus.opened(self.store, self.ledgers_clock)
        facts: list[Event] = [BuildingAdded(building=name, feeder="f-1", name=name) for name in BUILDINGS]
        for building, meter in list(BUILDINGS.items())[1:]:
            facts.append(
                MeterAdded(
                    meter=meter, role="connection", model="x", rated_w=69_000, since=since, building=building
                )
            )
            facts.append(MeterAssigned(meter=meter, device=GATEWAY, since=since))
        await self.tell(OPERATOR, "registry", *facts)
        rules = MarketRulesPublished(
            begin=MORNING, mechanism="uniform_price", tariff="flat", gate_minutes=0, final_days=1
        )
        await self.tell(OPERATOR, "market", TariffPublished(tariff="flat", document=FLAT), rules)
        self.settlement = await SettlementStore.open(self.store)
        self.settler = self.new_settler()

    def new_settler(self) -> Settler:
        return Settler("campus", self.settlement, self.record, self.clock, timedelta())

    async def close(self) -> None:
        await self.settlement.close()
        await self.projector.close()
        await self.campus.close()

    async def tell(self, device: str, stream: str, *events: Event) -> None:
        answers = await record(self.writer, device, self.campus.envelope(device, {stream: events}))
        assert answers == ["recorded"]

    async def record(self, run: SettlementRun) -> None:
        await self.tell(SERVICE, "settlement", run)

    async def read(self, meter: str, *readings: tuple[int, int, int]) -> None:
        """Readings: (quarter, import, export)."""
        await self.ledgers_clock.sleep_until(MORNING + DAY)
        await self.tell(GATEWAY, f"meter/{meter}", *(reading(*each) for each in readings))

    async def settle(self) -> list[SettlementRun]:
        await self.projector.catch_up()
        return await self.settler.step()

    async def rows(self, query: str) -> Sequence[Any]:
        async with owner(self.store) as connection:
            return [tuple(row) for row in await connection.fetch(query)]


async def quarters(site: Site, begin: int, end: int) -> None:
    """b-1 gives 2 kWh a quarter, b-2 and b-3 take 1 and 3."""
    span = range(begin, end + 1) if begin == 0 else range(begin + 1, end + 1)
    await site.read("m-0", *((k, 0, 2_000 * k) for k in span))
    await site.read("m-1", *((k, 1_000 * k, 0) for k in span))
    await site.read("m-2", *((k, 3_000 * k, 0) for k in span))
