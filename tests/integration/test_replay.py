"""The settlement of an exported book, recomputed from its file: honest runs pass, others are named."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from api.audit_commands import FURTHER
from ledger.event import Event
from ledger.events import MeterRetired, RegisterEpochOpened
from ledger.extract import export_meter
from ledger.market_events import (
    AgreementAccepted,
    AgreementProposed,
    MarketRulesPublished,
    OrderCancelled,
    OrderPlaced,
    SettlementRun,
)
from ledger.postgres import PostgresSettings
from ledger.postgres.exporter import open_snapshot
from ledger.registry import OPERATOR, SERVICE
from ledger.verify import verify_file
from settlement.interval import Rules
from settlement.market import Band
from settlement.run import Facts, SettledInterval, settle_facts
from settlement.settler import Settler
from tests.support.campus import MORNING, QUARTER, SALT
from tests.support.judging import SETTLEMENT, judged, said, verified
from tests.support.trading import DAY, HOUR, Site, quarters

OPENED = "SELECT meter, reason FROM projection.readings_aside WHERE verdict = 'opened' ORDER BY position"
TAKEN = """
SELECT account, sum(energy_milliwh)::bigint FROM settlement.postings WHERE account = 'building/b-2' GROUP BY 1
"""
Change = Callable[[SettlementRun], list[Event]]


@pytest.fixture
async def site(database: str) -> AsyncIterator[Site]:
    site = Site(PostgresSettings(url=database))
    await site.open()
    yield site
    await site.close()


async def settle_until(site: Site, quarter: int) -> list[SettlementRun]:
    await site.clock.sleep_until(MORNING + quarter * QUARTER)
    return await site.settle()


async def place_orders(site: Site) -> None:
    """A dear seller for a while, and an agreement of a building with its neighbour."""
    span = {"begin": MORNING, "until": MORNING + 8 * HOUR, "salt": SALT}
    sell = OrderPlaced(order="o-1", side="sell", limit_micro_per_kwh=5_000_000, energy_wh=700, **span)
    cheap = OrderPlaced(
        order="o-2",
        side="sell",
        limit_micro_per_kwh=3_000_000,
        clock_from="07:15",
        clock_until="09:00",
        **span,
    )
    cancelled = OrderCancelled(order="o-1", since=MORNING + 3 * QUARTER, salt=SALT)
    proposed = AgreementProposed(
        agreement="a-1", side="buy", partner="b-1", price_micro_per_kwh=3_100_000, energy_wh=400, **span
    )
    accepted = AgreementAccepted(agreement="a-1", proposer="b-2", since=MORNING + QUARTER, salt=SALT)
    await site.tell(OPERATOR, "building/b-1", sell, cheap, cancelled)
    await site.tell(OPERATOR, "building/b-2", proposed)
    await site.tell(OPERATOR, "building/b-1", accepted)


async def live(site: Site) -> list[SettlementRun]:
    """A morning with orders, a late night of a meter, a replaced meter and one that had been retired."""
    await place_orders(site)
    await quarters(site, 0, 1)
    for quarter in (2, 3, 4):
        await site.read("m-0", (quarter, 0, 2_000 * quarter))
        await site.read("m-1", (quarter, 1_000 * quarter, 0))
    runs = await settle_until(site, 4)
    await site.read("m-2", *((quarter, 3_000 * quarter, 0) for quarter in (2, 3)))
    runs += await settle_until(site, 4)
    replaced = RegisterEpochOpened(meter="m-1", since=MORNING + 5 * QUARTER, reason="replacement")
    await site.tell(OPERATOR, "registry", replaced)
    await site.read("m-0", *((quarter, 0, 2_000 * quarter) for quarter in range(5, 20)))
    await site.read("m-1", *((quarter, 10 * quarter, 0) for quarter in range(6, 20)))
    runs += await settle_until(site, 12)
    await site.read("m-2", (19, 60_000, 0))  # a gap of hours, over what was settled and what was not
    runs += await settle_until(site, 19)
    await site.read("m-2", (12, 40_000, 0))
    runs += await settle_until(site, 19)
    await site.tell(OPERATOR, "registry", MeterRetired(meter="m-2", until=MORNING + 10 * QUARTER))
    return runs + await settle_until(site, 19)


# --- honest books -----------------------------------------------------------------------------------


async def test_every_run_of_an_honest_book_is_recomputed(site: Site, tmp_path: Path) -> None:
    runs = await live(site)
    assert [run.number for run in runs] == [1, 2, 3, 4, 5, 6]
    assert sum(run.revised > 0 for run in runs) == 4
    report = await verified(site, tmp_path)
    verdict = report.verdicts[SETTLEMENT]
    intervals = sum(run.settled + run.revised for run in runs)
    assert (verdict.step, verdict.name, verdict.status) == (7, "settlement", "pass")
    assert verdict.summary == f"6 runs, {intervals} intervals"
    assert report.verified


async def test_pages_of_any_size_come_to_the_same(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await live(site)
    monkeypatch.setattr("settlement.replay.replay.PAGE_EVENTS", 3)
    assert (await judged(site, tmp_path)).status == "pass"


async def test_a_book_without_runs_passes_and_says_so(site: Site, tmp_path: Path) -> None:
    await quarters(site, 0, 4)
    report = await verified(site, tmp_path)
    assert report.verdicts[SETTLEMENT].summary == "no settlement in this book"
    assert report.verified


async def test_a_meters_extract_is_verified_without_its_settlement(site: Site, tmp_path: Path) -> None:
    await quarters(site, 0, 4)
    await settle_until(site, 4)
    path = tmp_path / "m-0.jsonl"
    async with open_snapshot(site.store) as snapshot:
        await export_meter(snapshot, "campus", "m-0", path)
    report = verify_file(path, further=FURTHER)
    assert report.verified
    assert report.verdicts[SETTLEMENT].status == "not checked"


async def test_a_book_that_is_not_proven_is_not_judged(site: Site, tmp_path: Path) -> None:
    await quarters(site, 0, 4)
    await settle_until(site, 4)
    await verified(site, tmp_path)
    path = tmp_path / "book.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"import_wh":2000', b'"import_wh":2001'))
    report = verify_file(path, further=FURTHER)
    assert not report.verified
    assert report.verdicts[SETTLEMENT].status == "not checked"
    assert report.verdicts[SETTLEMENT].summary == "it is judged when all that proves has passed"


async def test_intervals_that_lost_all_their_meters_are_reversed(site: Site, tmp_path: Path) -> None:
    await quarters(site, 0, 4)
    await settle_until(site, 4)
    gone = [MeterRetired(meter=f"m-{number}", until=MORNING + 2 * QUARTER) for number in range(3)]
    await site.tell(OPERATOR, "registry", *gone)
    (run,) = await settle_until(site, 4)
    assert run.revised == 2
    balance = await site.rows(TAKEN)
    assert balance == [("building/b-2", 2_000_000)]
    assert await settle_until(site, 4) == []
    assert (await judged(site, tmp_path)).status == "pass"


async def test_a_gap_that_is_too_long_is_settled_and_recomputed_alike(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.gap.GAP_SECONDS_MAX", 13 * 3_600)
    await quarters(site, 0, 4)
    await settle_until(site, 4)
    for quarter in (60, 61, 58):
        await site.read("m-0", (quarter, 0, 150 * quarter + 8_000))
        await settle_until(site, 62)
    assert (await site.rows(OPENED))[-2:] == [("m-0", "gap-too-long"), ("m-0", "late")]
    assert (await judged(site, tmp_path)).status == "pass"


async def test_runs_of_a_bounded_size_are_recomputed(site: Site, tmp_path: Path) -> None:
    await quarters(site, 0, 60)
    await site.clock.sleep_until(MORNING + 35 * DAY)
    await site.projector.catch_up()
    runs = await site.settler.step(most=20)
    while site.settler.is_behind:
        runs += await site.settler.step(most=20)
    assert await site.settler.step() == []
    provisional = [run for run in runs if run.kind == "provisional"]
    assert [run.settled for run in provisional] == [24, 24, 12]
    assert all(before.until == after.begin for before, after in pairwise(provisional))
    assert (await judged(site, tmp_path)).status == "pass"


async def test_a_run_long_after_the_newest_reading_is_recomputed(site: Site, tmp_path: Path) -> None:
    await quarters(site, 0, 4)
    await site.clock.sleep_until(MORNING + 20 * 366 * DAY)
    runs = await site.settle()
    assert (runs[0].settled, runs[0].until) == (4, MORNING + 20 * 366 * DAY)
    assert (await judged(site, tmp_path)).status == "pass"


async def test_a_book_that_asks_for_too_much_work_is_not_judged_and_not_called_wrong(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("settlement.replay.work.FREE", 0)
    monkeypatch.setattr("settlement.replay.work.AN_EVENT", 1)
    await quarters(site, 0, 4)
    await site.read("m-0", (90, 0, 9_000))
    await settle_until(site, 4)
    verdict = await judged(site, tmp_path)
    assert (verdict.status, verdict.findings) == ("not checked", [])
    assert "more intervals than a replay of its size goes through" in verdict.summary


# --- dishonest runs ---------------------------------------------------------------------------------


def dishonest(site: Site, number: int, change: Change) -> None:
    """Have the settler tell of one run what is not so, signed with the service's own key."""

    async def record(run: SettlementRun) -> None:
        if told := change(run) if run.number == number else [run]:
            await site.tell(SERVICE, "settlement", *told)

    site.settler = Settler("campus", site.settlement, record, site.clock, timedelta())


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"result": "0" * 64}, "run 2: result 000000000000.. instead of "),
        ({"root": "0" * 64}, "run 2: root 000000000000.. instead of "),
        ({"rules": "0" * 64}, "run 2: rules 000000000000.. instead of "),
        ({"settled": 5}, "run 2: settled 5 instead of 4"),
        ({"revised": 1}, "run 2: revised 1 instead of 0"),
        ({"kind": "revised"}, "run 2: there was nothing to settle as revised"),
        ({"tree_size": 9_000}, "run 2 counts 9000 events, before it are "),
        ({"tree_size": 1}, "run 2 counts 1 events, the run before it counted "),
        ({"number": 3}, "run 3 stands where run 2 was due"),
        (
            {"begin": MORNING + 5 * QUARTER},
            "run 2: begin 2026-06-01T01:15:00Z instead of 2026-06-01T01:00:00Z",
        ),
        ({"until": MORNING + 7 * QUARTER}, "run 2: result "),
    ],
)
async def test_a_run_that_says_what_is_not_so_is_named(
    site: Site, tmp_path: Path, changed: dict[str, object], says: str
) -> None:
    dishonest(site, 2, lambda run: [msgspec.structs.replace(run, **changed)])
    for quarter in (4, 8, 12):
        await quarters(site, quarter - 4, quarter)
        await settle_until(site, quarter)
    report = await verified(site, tmp_path)
    verdict = report.verdicts[SETTLEMENT]
    assert not report.verified
    assert verdict.status == "fail"
    assert says in said(verdict)[0]
    assert (verdict.findings[0].stream, verdict.findings[0].sequence) == ("settlement", 2)
    assert "ask the operator" in verdict.findings[0].hint


async def test_one_wrong_run_does_not_make_the_next_ones_wrong(site: Site, tmp_path: Path) -> None:
    dishonest(site, 2, lambda run: [msgspec.structs.replace(run, result="0" * 64)])
    for quarter in (4, 8, 12):
        await quarters(site, quarter - 4, quarter)
        await settle_until(site, quarter)
    assert (await judged(site, tmp_path)).found == 1


@pytest.mark.parametrize(
    ("until", "says"),
    [
        (MORNING + 20 * DAY, "run 2: until 2026-06-21T00:00:00Z instead of 2026-06-30T17:00:00Z"),
        (None, "run 1: a final run of the same 30 events was due"),
    ],
)
async def test_a_month_that_is_closed_otherwise_than_the_rules_say_is_named(
    site: Site, tmp_path: Path, until: datetime | None, says: str
) -> None:
    def change(run: SettlementRun) -> list[Event]:
        return [msgspec.structs.replace(run, until=until)] if until else []

    dishonest(site, 2, change)
    await quarters(site, 0, 4)
    provisional, final = await settle_until(site, 31 * 96)
    assert (provisional.kind, final.kind) == ("provisional", "final")
    (told,) = said(await judged(site, tmp_path))
    assert told.startswith(says)


async def test_two_runs_with_one_number_are_named(site: Site, tmp_path: Path) -> None:
    dishonest(site, 1, lambda run: [run, run])
    site.projector.stopped = {}
    await quarters(site, 0, 4)
    await settle_until(site, 4)
    verdict = await judged(site, tmp_path)
    assert said(verdict) == [
        "run 1 stands where run 2 was due",
        "run 1: there was nothing to settle as provisional",
    ]
    assert verdict.findings[0].sequence == 2


async def test_a_run_that_left_out_a_late_reading_is_named(site: Site, tmp_path: Path) -> None:
    await quarters(site, 0, 3)
    await site.read("m-0", (4, 0, 8_000))
    await site.read("m-1", (4, 4_000, 0))
    await settle_until(site, 4)
    await site.read("m-2", (4, 12_500, 0))
    nothing = sha256().hexdigest()
    dishonest(site, 2, lambda run: [msgspec.structs.replace(run, revised=0, result=nothing)])
    await settle_until(site, 4)
    assert "revised 0 instead of 1" in said(await judged(site, tmp_path))[0]


async def test_a_settler_that_settles_by_other_rules_is_found(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unfair(facts: Facts, rules: Rules, band: Band) -> SettledInterval:
        return settle_facts(facts, rules._replace(mechanism="mid_market_rate"), band)

    await quarters(site, 0, 4)
    with monkeypatch.context() as patch:
        patch.setattr("settlement.batch.settle_facts", unfair)
        await settle_until(site, 4)
    (told,) = said(await judged(site, tmp_path))
    assert told.startswith("run 1: result ")


# --- gate closure -----------------------------------------------------------------------------------


def order(name: str, begin: datetime) -> OrderPlaced:
    return OrderPlaced(
        order=name, side="sell", limit_micro_per_kwh=3_000_000, begin=begin, until=begin + HOUR, salt=SALT
    )


async def hours_gate(site: Site) -> None:
    """From now on orders are fixed an hour before, and in six hours no longer."""
    for begin, minutes in ((MORNING + QUARTER, 60), (MORNING + 6 * HOUR, 0)):
        rules = MarketRulesPublished(
            begin=begin, mechanism="uniform_price", tariff="flat", gate_minutes=minutes, final_days=1
        )
        await site.tell(OPERATOR, "market", rules)


async def test_orders_in_time_pass_whatever_the_rules_become(site: Site, tmp_path: Path) -> None:
    await hours_gate(site)
    for hours, begin in ((2, 3), (5, 6), (6, 6), (7, 7)):
        await site.ledgers_clock.sleep_until(MORNING + hours * HOUR)
        await site.writer.book.seal()
        await site.tell(OPERATOR, "building/b-1", order(f"o-{hours}", MORNING + begin * HOUR))
    await quarters(site, 0, 4)
    await settle_until(site, 4)
    assert (await judged(site, tmp_path)).status == "pass"


async def test_an_order_that_was_let_in_after_the_gate_is_named(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hours_gate(site)
    await site.ledgers_clock.sleep_until(MORNING + 2 * HOUR)
    await site.writer.book.seal()
    with monkeypatch.context() as patch:
        patch.setattr("ledger.market.Market.gate", lambda market, now: MORNING)
        await site.tell(OPERATOR, "building/b-1", order("o-1", MORNING + 3 * HOUR - 2 * QUARTER))
    await quarters(site, 0, 4)
    await settle_until(site, 4)
    verdict = await judged(site, tmp_path)
    assert said(verdict) == [
        "what b-1 says holds from 2026-06-01T02:30:00Z on;"
        " the block before it was sealed at 2026-06-01T02:00:00Z, after the gate had closed"
    ]
    assert (verdict.findings[0].stream, verdict.findings[0].sequence) == ("building/b-1", 1)


async def test_a_run_ahead_of_the_clock_is_named(site: Site, tmp_path: Path) -> None:
    await quarters(site, 0, 4)
    await settle_until(site, 40 * 96)
    await site.writer.book.seal()
    sealed = "and the block after it was sealed at 2026-06-02T00:00:00Z"
    assert said(await judged(site, tmp_path)) == [
        f"run 1 settled until 2026-07-11T00:00:00Z, {sealed}",
        f"run 2 settled until 2026-06-30T17:00:00Z, {sealed}",
    ]


async def test_later_rules_hold_from_their_instant(site: Site, tmp_path: Path) -> None:
    later = MarketRulesPublished(
        begin=MORNING + 2 * QUARTER, mechanism="mid_market_rate", tariff="flat", gate_minutes=0, final_days=1
    )
    await site.tell(OPERATOR, "market", later)
    await quarters(site, 0, 4)
    await settle_until(site, 4)
    assert (await judged(site, tmp_path)).status == "pass"
