"""Settlement on a real store: what closed is settled once, what changed is reversed and settled again."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from ledger.clock import VirtualClock
from ledger.event import Event
from ledger.events import BuildingAdded, MeterAdded, MeterAssigned
from ledger.market_events import MarketRulesPublished, OrderPlaced, SettlementRun, TariffPublished
from ledger.postgres import PostgresSettings
from ledger.postgres.settlement import SettlementStore
from ledger.projector import Projector
from ledger.registry import OPERATOR, SERVICE
from ledger.writer import Writer
from settlement.journal import Posting
from settlement.run import ResultDigest
from settlement.settler import Settler
from tests.support.campus import GATEWAY, MORNING, QUARTER, SALT, Campus, reading, record
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
versions = [{ from = 2026-01-01, feed_in_per_kwh = 2, periods = [{ name = "all", energy_per_kwh = 4 }] }]
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


@pytest.fixture
async def site(database: str) -> AsyncIterator[Site]:
    site = Site(PostgresSettings(url=database))
    await site.open()
    yield site
    await site.close()


async def quarters(site: Site, begin: int, end: int) -> None:
    """b-1 gives 2 kWh a quarter, b-2 and b-3 take 1 and 3."""
    span = range(begin, end + 1) if begin == 0 else range(begin + 1, end + 1)
    await site.read("m-0", *((k, 0, 2_000 * k) for k in span))
    await site.read("m-1", *((k, 1_000 * k, 0) for k in span))
    await site.read("m-2", *((k, 3_000 * k, 0) for k in span))


TRADES = """
SELECT start, run, seller, buyer, energy_milliwh, price_micro_per_kwh FROM settlement.trades
ORDER BY start, run, buyer
"""
BALANCE = """
SELECT account, sum(energy_milliwh)::bigint, sum(amount_micro)::bigint FROM settlement.postings
GROUP BY account ORDER BY account
"""


async def test_what_closed_is_settled_once_and_recorded_in_the_book(site: Site) -> None:
    await quarters(site, 0, 4)
    await site.clock.sleep_until(MORNING + 2 * QUARTER)
    (run,) = await site.settle()
    assert (run.number, run.kind, run.begin, run.until, run.settled) == (
        1, "provisional", MORNING, MORNING + 2 * QUARTER, 2,
    )  # fmt: skip
    assert await site.settle() == []
    await site.clock.sleep_until(MORNING + HOUR)
    (run,) = await site.settle()
    assert (run.number, run.begin, run.settled) == (2, MORNING + 2 * QUARTER, 2)
    trades = await site.rows(TRADES)
    assert [trade[2:] for trade in trades[:2]] == [
        ("b-1", "b-2", 500_000, 4_000_000), ("b-1", "b-3", 1_500_000, 4_000_000),
    ]  # fmt: skip
    assert len(trades) == 8
    balance = {account: (energy, money) for account, energy, money in await site.rows(BALANCE)}
    assert balance["building/b-1"] == (-8_000_000, 32_000_000)
    assert balance["grid"] == (-8_000_000, 32_000_000)
    assert sum(energy for energy, _ in balance.values()) == sum(money for _, money in balance.values()) == 0


async def test_a_late_night_settles_just_its_intervals_again(site: Site) -> None:
    await quarters(site, 0, 1)
    for quarter in (2, 3, 4):
        await site.read("m-0", (quarter, 0, 2_000 * quarter))
        await site.read("m-1", (quarter, 1_000 * quarter, 0))
    await site.clock.sleep_until(MORNING + HOUR)
    (first,) = await site.settle()
    assert first.settled == 4
    late = [(quarter, 3_000 * quarter, 0) for quarter in (2, 3)]
    await site.read("m-2", *late)
    (second,) = await site.settle()
    assert (second.number, second.settled, second.revised) == (2, 0, 2)
    runs = await site.rows("SELECT start, max(run) FROM settlement.intervals GROUP BY 1 ORDER BY 1")
    assert [run for _, run in runs] == [1, 2, 2, 1]
    balance = {account: (energy, money) for account, energy, money in await site.rows(BALANCE)}
    assert balance["building/b-3"][0] == 9_000_000
    assert sum(money for _, money in balance.values()) == 0
    assert await site.settle() == []


async def test_a_reading_that_changes_nothing_makes_no_run(site: Site) -> None:
    await quarters(site, 0, 2)
    await site.clock.sleep_until(MORNING + 2 * QUARTER)
    await site.settle()
    await site.read("m-0", (1, 0, 2_000))
    assert await site.settle() == []


async def test_a_run_that_the_book_lacks_is_recorded_first(site: Site) -> None:
    await quarters(site, 0, 2)
    await site.clock.sleep_until(MORNING + 2 * QUARTER)
    await site.projector.catch_up()

    async def fails(run: SettlementRun) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await Settler("campus", site.settlement, fails, site.clock, timedelta()).step()
    (run,) = await site.settle()
    assert run.number == 1
    site.settler = site.new_settler()
    assert await site.settle() == []
    assert len(await site.rows("SELECT * FROM settlement.runs")) == 1


async def test_orders_of_the_book_count_in_their_intervals(site: Site) -> None:
    dear = OrderPlaced(
        order="o-1", side="sell", limit_micro_per_kwh=5_000_000, begin=MORNING + QUARTER,
        until=MORNING + 2 * QUARTER, salt=SALT,
    )  # fmt: skip
    await site.tell(OPERATOR, "building/b-1", dear)
    await quarters(site, 0, 3)
    await site.clock.sleep_until(MORNING + 3 * QUARTER)
    await site.settle()
    starts = {trade[0] for trade in await site.rows(TRADES)}
    assert starts == {MORNING, MORNING + 2 * QUARTER}, "nobody pays more than the grid asks"


async def test_the_digest_can_be_computed_from_the_journal(site: Site) -> None:
    await quarters(site, 0, 3)
    await site.clock.sleep_until(MORNING + 3 * QUARTER)
    (run,) = await site.settle()
    digest = ResultDigest()
    for quarter in range(3):
        rows = await site.settlement.postings("campus", MORNING + quarter * QUARTER)
        digest.add(MORNING + quarter * QUARTER, [Posting(*row) for row in rows], reversal=False)
    assert digest.digest().hex() == run.result
