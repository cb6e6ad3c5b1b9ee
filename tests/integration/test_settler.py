"""Settlement on a real store: what closed is settled once, what changed is reversed and settled again."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import timedelta
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ledger.event import Event
from ledger.events import MeterAdded, MeterAssigned
from ledger.market_events import (
    MarketRulesPublished,
    OrderCancelled,
    OrderPlaced,
    SettlementRun,
    TariffPublished,
)
from ledger.postgres import PostgresSettings
from ledger.postgres.settlement import SettlementStore
from ledger.registry import OPERATOR
from ledger.stopping import BrokenOff, unless_stopped
from ledger.workers import WorkerLost, worker_pool
from settlement.amounts import amount_micro
from settlement.order_book import OrderBook
from settlement.run import result_line
from settlement.settler import Settler
from settlement.settling import CHUNK
from settlement.tariff import parse_tariff, tariff_documents
from settlement.tariff_file import NoPrice, TariffHole
from tests.support.billing import four_quarters_of_june
from tests.support.campus import GATEWAY, MORNING, QUARTER, SALT
from tests.support.store import owner
from tests.support.trading import BUILDINGS, DAY, FLAT, HOUR, Site, quarters


@pytest.fixture
async def site(database: str) -> AsyncIterator[Site]:
    site = Site(PostgresSettings(url=database))
    await site.open()
    yield site
    await site.close()


TRADES = """
SELECT start, run, seller, buyer, energy_milliwh, price_micro_per_kwh FROM settlement.trades
ORDER BY start, run, buyer
"""
BALANCE = """
SELECT account, sum(energy_milliwh)::bigint, sum(amount_micro)::bigint FROM settlement.postings
GROUP BY account ORDER BY account
"""


SETTLED = ("settlement.intervals", "settlement.posted", "settlement.trades")

END_OF_JUNE = MORNING + 30 * DAY - 7 * HOUR  # the campus's clocks are seven hours ahead


async def june(site: Site, *meters: str) -> None:
    """Readings at both ends of June and two days; between them all is estimated."""
    await site.ledgers_clock.sleep_until(MORNING + 33 * DAY)
    for meter in meters:
        export = 3_000_000 if meter == "m-0" else 0
        await site.read(meter, (0, 0, 0), (32 * 96, 3_000_000 - export, export))


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


async def test_another_process_settles_the_same(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await june(site, *BUILDINGS.values())
    await site.clock.sleep_until(END_OF_JUNE - QUARTER)

    async def settled() -> tuple[list[SettlementRun], list[Sequence[Any]]]:
        async def nowhere(run: SettlementRun) -> None:
            """The book is not to know, so that all can be settled once more."""

        await site.projector.catch_up()
        runs = await Settler("campus", site.settlement, nowhere, site.clock, timedelta()).step()
        return runs, [await site.rows(f"SELECT * FROM {table} AS row ORDER BY row") for table in SETTLED]  # noqa: S608 - our own names

    alone = await settled()
    async with owner(site.store) as connection:
        await connection.execute("SET session_replication_role = replica")  # without the trigger
        for table in ("settlement.runs", *SETTLED):
            await connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
    monkeypatch.setattr("settlement.batch.WORTH_A_PROCESS", 1)
    assert await settled() == alone
    assert alone[0][0].settled > CHUNK / QUARTER


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_a_process_that_settled_and_was_killed_leaves_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, is_noticed: bool
) -> None:
    await june(site, *BUILDINGS.values())
    await site.clock.sleep_until(END_OF_JUNE - QUARTER)

    def killed(workers: int) -> ProcessPoolExecutor:
        pool = worker_pool(workers)
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        if is_noticed:
            with pytest.raises(BrokenProcessPool):
                pool.submit(time.sleep, 60).result()
        return pool

    with monkeypatch.context() as patch:
        patch.setattr("settlement.batch.WORTH_A_PROCESS", 1)
        patch.setattr("settlement.bench.worker_pool", killed)
        with pytest.raises(WorkerLost):
            await site.settle()
    assert await site.rows("SELECT * FROM settlement.posted") == []
    (run,) = await site.settle()
    assert (run.number, run.until) == (1, END_OF_JUNE - QUARTER)


@pytest.mark.parametrize("rows", [1, 10**9])  # with a second process, and without
async def test_a_settler_that_is_told_to_stop_while_it_writes_leaves_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    await june(site, *BUILDINGS.values())
    await site.clock.sleep_until(END_OF_JUNE - QUARTER)
    await site.projector.catch_up()
    stop = asyncio.Event()

    async def stuck(rows: bytes) -> AsyncIterator[bytes]:
        yield rows[: len(rows) // 2]
        stop.set()
        await asyncio.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr("settlement.batch.WORTH_A_PROCESS", rows)
        patch.setattr("ledger.postgres.settlement._pieces", stuck)
        async with asyncio.timeout(20):
            with pytest.raises(BrokenOff):
                await unless_stopped(site.settler.step(), stop, grace_seconds=0.1)
    assert await site.rows("SELECT * FROM settlement.posted") == []
    await site.settlement.close()
    site.settlement = await SettlementStore.open(site.store)
    await site.settlement.claim("campus")
    (run,) = await site.new_settler().step()
    assert (run.number, run.until) == (1, END_OF_JUNE - QUARTER)


async def test_a_run_is_recorded_once_however_far_the_projections_have_come(site: Site) -> None:
    recorded: list[int] = []

    async def note(run: SettlementRun) -> None:
        recorded.append(run.number)
        await site.record(run)
        if run.kind == "provisional":
            await site.projector.catch_up()

    settler = Settler("campus", site.settlement, note, site.clock, timedelta())
    await quarters(site, 0, 4)
    await site.projector.catch_up()
    await site.clock.sleep_until(MORNING + 31 * DAY)
    await settler.step()
    assert await settler.step() == []
    assert recorded == [1, 2], "the second is in the book, and not yet in what is projected"
    assert not settler.is_behind


async def test_years_without_energy_are_not_gone_through(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    energies = SettlementStore.energies

    async def count(self: SettlementStore, *of: Any) -> Any:
        nonlocal asked
        asked += 1
        return await energies(self, *of)

    monkeypatch.setattr(SettlementStore, "energies", count)
    await quarters(site, 0, 4)
    await site.clock.sleep_until(MORNING + 3_660 * DAY)
    run, *_ = await site.settle()
    assert (run.settled, run.until) == (4, MORNING + 3_660 * DAY)
    assert asked < 500, "of 14,640 times six hours, with the charges of 120 months"


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


async def test_projected_orders_are_those_that_the_settler_counts(site: Site) -> None:
    """Names that are used again, before and after their orders end or are cancelled."""
    chance = random.Random(3)
    events: list[Event] = []
    for _ in range(60):
        name, begin = f"o-{chance.randrange(3)}", MORNING + chance.randrange(40) * QUARTER
        until = begin + chance.randrange(1, 20) * QUARTER
        if chance.random() < 0.3:
            events.append(OrderCancelled(order=name, since=begin, salt=SALT))
        else:
            events.append(
                OrderPlaced(
                    order=name, side="sell", limit_micro_per_kwh=3, begin=begin, until=until, salt=SALT
                )
            )
    await site.tell(OPERATOR, "building/b-1", *events)
    await site.projector.catch_up()
    book = OrderBook(ZoneInfo("Asia/Bangkok"))
    for event in events:
        book.apply("b-1", event)
    told = [(each.placed.order, each.placed.begin, each.until) for each in book.booked_orders()]
    projected = await site.rows('SELECT "order", begin, until FROM projection.orders ORDER BY 1, position')
    assert projected == told
    assert len(told) > len({name for name, *_ in told})


async def test_the_digest_can_be_computed_from_the_journal(site: Site) -> None:
    await quarters(site, 0, 3)
    await site.clock.sleep_until(MORNING + 3 * QUARTER)
    (run,) = await site.settle()
    digest = sha256()
    for quarter in range(3):
        rows = await site.settlement.postings("campus", MORNING + quarter * QUARTER)
        digest.update(result_line(MORNING + quarter * QUARTER, rows, reversal=False))
    assert digest.hexdigest() == run.result


async def test_a_night_of_97_readings_settles_its_96_intervals_again_at_their_own_prices(
    site: Site,
) -> None:
    """The night comes a day late, as over NB-IoT, and the tariff has two prices in it."""
    name = "th-mea-4.2-12-24kv"
    rules = MarketRulesPublished(
        begin=MORNING + QUARTER, mechanism="mid_market_rate", tariff=name, gate_minutes=0, final_days=7
    )
    documents = tariff_documents(name)
    tariff = TariffPublished(tariff=name, document=documents.document, beside=dict(documents.beside))
    await site.tell(OPERATOR, "market", tariff, rules)
    await site.ledgers_clock.sleep_until(MORNING + 4 * DAY)
    await site.read("m-1", *((k, 100 * k, 0) for k in range(289)))
    await site.read("m-2", *((k, 100 * k, 0) for k in (*range(97), *range(193, 289))))
    await site.clock.sleep_until(MORNING + 3 * DAY)
    (before,) = await site.settle()
    assert before.settled == 288
    night = [(k, 100 * k + (k - 96) * (192 - k), 0) for k in range(96, 193)]
    await site.read("m-2", *night[1:])
    (run,) = await site.settle()
    assert (run.settled, run.revised) == (0, 96)
    rows = await site.rows(
        "SELECT start, energy_milliwh, amount_micro FROM settlement.postings"
        " WHERE run = 2 AND NOT reversal AND account = 'building/b-3' AND kind = 'grid-import' ORDER BY start"
    )
    band = parse_tariff(*documents).band
    assert [each[0] for each in rows] == [MORNING + k * QUARTER for k in range(96, 192)]
    for start, energy, amount in rows:
        assert -amount == amount_micro(energy, band(int(start.timestamp())).retail_micro_per_kwh)
    assert len({band(int(start.timestamp())) for start, *_ in rows}) == 2


async def energy_of(site: Site, account: str) -> int:
    found: dict[str, int] = {name: energy for name, energy, _ in await site.rows(BALANCE)}
    return found[account]


async def test_what_was_settled_for_good_is_revised_in_a_run_of_its_own(site: Site) -> None:
    await june(site, "m-0", "m-1")
    await site.clock.sleep_until(END_OF_JUNE + DAY)
    _, final = await site.settle()
    before = await energy_of(site, "building/b-1")
    await site.read("m-2", (0, 0, 0), (2, 6_000, 0), (4, 12_000, 0))
    (revised,) = await site.settle()
    assert (revised.number, revised.kind, revised.settled, revised.revised) == (3, "revised", 0, 4)
    assert (revised.begin, revised.until) == (MORNING, MORNING + HOUR)
    assert revised.rules == final.rules
    assert await energy_of(site, "building/b-3") == 12_000_000
    assert await energy_of(site, "building/b-1") == before, "nothing is posted twice"
    assert await site.settle() == []


async def test_a_month_is_settled_for_good_when_enough_of_the_next_is_settled(site: Site) -> None:
    await june(site, *BUILDINGS.values())
    await site.clock.sleep_until(END_OF_JUNE + DAY - QUARTER)
    (first,) = await site.settle()
    assert first.kind == "provisional"
    await site.clock.sleep_until(END_OF_JUNE + DAY)
    second, final = await site.settle()
    assert (second.kind, second.until) == ("provisional", END_OF_JUNE + DAY)
    assert (final.number, final.kind, final.begin, final.until) == (3, "final", MORNING, END_OF_JUNE)
    assert (final.settled, final.revised, final.tree_size) == (0, 0, second.tree_size)
    assert final.result == sha256().hexdigest()
    assert await site.settle() == []


async def test_a_month_whose_tariff_changed_is_charged_by_the_last_one(site: Site) -> None:
    """Which knows nothing of the months that its minimum charge looks back at."""
    later = FLAT.replace('"flat"', '"later"').replace(
        "from = 2026-01-01,", "from = 2026-06-01, minimum_demand_share = 0.7,"
    )
    later = later.replace("demand_per_kw = 50", "demand_per_kw = 60")
    rules = MarketRulesPublished(
        begin=MORNING + 20 * DAY, mechanism="uniform_price", tariff="later", gate_minutes=0, final_days=1
    )
    await site.tell(OPERATOR, "market", TariffPublished(tariff="later", document=later), rules)
    await four_quarters_of_june(site)
    ((demand,),) = await site.rows(
        "SELECT amount_micro FROM settlement.charges WHERE kind = 'demand' AND account = 'building/b-2'"
    )
    assert demand == -8 * 60_000_000 // 4


async def test_a_tariff_that_was_mended_settles_again_what_it_had_priced_wrong_and_nothing_else(
    site: Site,
) -> None:
    second = "{ from = 2026-06-01, feed_in_per_kwh = 2, service_per_month = 300, vat = 0.07, periods = ["
    wrong = FLAT.replace("versions = [{", "versions = [{ until = 2026-06-01,").replace(
        "] }]", "] }, " + second + '{ name = "all", energy_per_kwh = 40, demand_per_kw = 50 } ] }]'
    )
    await site.tell(OPERATOR, "market", TariffPublished(tariff="flat", document=wrong))
    await quarters(site, 0, 4)
    await site.clock.sleep_until(MORNING + 4 * QUARTER)
    (first,) = await site.settle()
    assert first.settled == 4
    mended = wrong.replace("energy_per_kwh = 40", "energy_per_kwh = 5")
    await site.tell(OPERATOR, "market", TariffPublished(tariff="flat", document=mended))
    (again,) = await site.settle()
    assert (again.settled, again.revised) == (0, 4)
    prices = await site.rows("SELECT DISTINCT run, price_micro_per_kwh FROM settlement.trades ORDER BY run")
    assert prices == [(1, 40_000_000), (2, 5_000_000)]
    later = mended.replace(
        "] }]",
        "] }, " + second.replace("2026-06-01", "2026-07-01") + '{ name = "all", energy_per_kwh = 9 } ] }]',
    )
    later = later.replace("{ from = 2026-06-01,", "{ from = 2026-06-01, until = 2026-07-01,")
    await site.tell(OPERATOR, "market", TariffPublished(tariff="flat", document=later))
    assert await site.settle() == [], "what is told of days to come changes nothing that was"


async def test_a_run_ends_where_the_tariff_does_and_the_next_one_says_so(site: Site) -> None:
    begin, end = MORNING + HOUR, MORNING + 68 * QUARTER  # midnight of the campus
    ending = FLAT.replace('"flat"', '"ending"').replace(
        "from = 2026-01-01,", "from = 2026-01-01, until = 2026-06-02,"
    )
    rules = MarketRulesPublished(
        begin=begin, mechanism="uniform_price", tariff="ending", gate_minutes=0, final_days=1
    )
    await site.tell(OPERATOR, "market", TariffPublished(tariff="ending", document=ending), rules)
    await quarters(site, 0, 80)
    await site.clock.sleep_until(MORNING + 80 * QUARTER)
    (run,) = await site.settle()
    assert (run.begin, run.until, run.settled) == (MORNING, end, 68)
    with pytest.raises(TariffHole, match="2026-06-02"):
        await site.settle()
    assert len(await site.rows("SELECT * FROM settlement.runs")) == 1
    mended = ending.replace("until = 2026-06-02", "until = 2026-06-03")
    await site.tell(OPERATOR, "market", TariffPublished(tariff="ending", document=mended))
    (run,) = await site.settle()
    assert (run.number, run.begin, run.settled, run.revised) == (2, end, 12, 0)


UNREADABLE = "versions = oops"
BLOCKS = FLAT.replace('"flat"', '"blocks"').replace(
    "energy_per_kwh = 4,", "blocks = [{ until_kwh = 100, per_kwh = 3 }, { per_kwh = 5 }],"
)
EUROS = FLAT.replace('"flat"', '"euros"').replace('"THB"', '"EUR"')
ELSEWHERE = FLAT.replace('"flat"', '"elsewhere"').replace("Asia/Bangkok", "America/New_York")


@pytest.mark.parametrize(
    ("tariff", "document", "code"),
    [
        ("oops", UNREADABLE, "tariff-invalid"),
        ("blocks", BLOCKS, "no-single-price"),
        ("euros", EUROS, "other-currency"),
        ("elsewhere", ELSEWHERE, "other-zone"),
    ],
)
async def test_what_lies_before_rules_that_nobody_can_settle_by_is_settled(
    site: Site, tariff: str, document: str, code: str
) -> None:
    rules = MarketRulesPublished(
        begin=MORNING + HOUR, mechanism="uniform_price", tariff=tariff, gate_minutes=0, final_days=1
    )
    await site.tell(OPERATOR, "market", TariffPublished(tariff=tariff, document=document), rules)
    await quarters(site, 0, 8)
    await site.clock.sleep_until(MORNING + 2 * HOUR)
    (run,) = await site.settle()
    assert (run.until, run.settled) == (MORNING + HOUR, 4)
    with pytest.raises(NoPrice) as caught:
        await site.settle()
    assert caught.value.code == code
    mended = FLAT.replace('"flat"', f'"{tariff}"')
    await site.tell(OPERATOR, "market", TariffPublished(tariff=tariff, document=mended))
    (run,) = await site.settle()
    assert (run.begin, run.settled, run.revised) == (MORNING + HOUR, 4, 0)


async def test_a_tariff_that_cannot_be_read_any_more_stops_nothing_that_goes_by_another(site: Site) -> None:
    """What changes meanwhile in intervals that go by it counts when it can be read again."""
    later = FLAT.replace('"flat"', '"later"')
    rules = MarketRulesPublished(
        begin=MORNING + 2 * HOUR, mechanism="uniform_price", tariff="later", gate_minutes=0, final_days=1
    )
    await site.tell(OPERATOR, "market", TariffPublished(tariff="later", document=later), rules)
    await quarters(site, 0, 8)
    await site.clock.sleep_until(MORNING + 2 * HOUR)
    await site.settle()
    await site.tell(OPERATOR, "market", TariffPublished(tariff="flat", document=UNREADABLE))
    added = MeterAdded(
        meter="m-9", role="connection", model="x", rated_w=69_000, since=MORNING, building="b-3"
    )
    await site.tell(OPERATOR, "registry", added, MeterAssigned(meter="m-9", device=GATEWAY, since=MORNING))
    await site.read("m-9", (2, 0, 0), (3, 500, 0))
    await quarters(site, 8, 12)
    await site.clock.sleep_until(MORNING + 3 * HOUR)
    (run,) = await site.settle()
    assert (run.settled, run.revised) == (4, 0)
    await site.tell(OPERATOR, "market", TariffPublished(tariff="flat", document=FLAT))
    (run,) = await site.settle()
    assert (run.settled, run.revised, run.begin) == (0, 1, MORNING + 3 * HOUR)
    assert await energy_of(site, "building/b-3") == 36_500_000
    assert await site.settle() == []


async def test_a_tariff_that_cannot_be_read_waits_for_one_that_can(site: Site) -> None:
    await quarters(site, 0, 4)
    await site.clock.sleep_until(MORNING + HOUR)
    await site.settle()
    await site.tell(OPERATOR, "market", TariffPublished(tariff="flat", document=UNREADABLE))
    await quarters(site, 4, 8)
    await site.clock.sleep_until(MORNING + 2 * HOUR)
    with pytest.raises(NoPrice):
        await site.settle()
    await site.tell(OPERATOR, "market", TariffPublished(tariff="flat", document=FLAT))
    (run,) = await site.settle()
    assert (run.settled, run.revised) == (4, 0)
