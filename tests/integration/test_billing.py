"""Billing on a real store: a month is drafted, issued once with gapless numbers, and never touched again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from ledger.bus import BusUnavailable
from ledger.clock import VirtualClock
from ledger.events import BuildingAdded, MeterAdded, MeterAssigned
from ledger.market_events import InvoiceIssued, MarketRulesPublished, SettlementRun
from ledger.postgres.settlement import SettlementStore, StreamBusy
from ledger.registry import OPERATOR, SERVICE
from settlement.amounts import shares
from settlement.billing.accounts import Accounts
from settlement.billing.as_json import read_json
from settlement.billing.as_pdf import NotPrintable
from settlement.billing.biller import (
    AlreadyCancelled,
    AlreadyIssued,
    Biller,
    Check,
    IssuedMeanwhile,
    NotSettled,
    ReasonInvalid,
    RunNotRecorded,
    TaxIdInvalid,
    TaxIdMissing,
    UnknownDocument,
)
from settlement.billing.files import CannotWrite, write_documents
from settlement.billing.proving import NotProven, Prover, UnknownLine, proof_steps
from settlement.billing.settings import BillingSettings, PartyTable
from settlement.billing.totals import check
from settlement.settler import Settler
from tests.support.billing import (
    AUGUST_2,
    JULY,
    JUNE,
    SELLER,
    a_late_peak,
    after_june,
    amounts,
    be_on,
    biller,
    credit,
    issue,
)
from tests.support.campus import GATEWAY, MORNING
from tests.support.store import owner
from tests.support.trading import Site

JULY_END = datetime(2026, 7, 31, 17, tzinfo=UTC)


@pytest.fixture
async def site(database: str) -> AsyncIterator[Site]:
    async with after_june(database) as site:
        yield site


async def test_a_month_is_billed_line_by_line(site: Site) -> None:
    first, second, third = await issue(site)
    assert [each.number for each in (first, second, third)] == [f"campus-2026-00000{n}" for n in (1, 2, 3)]
    assert amounts(first) == {"sold": -32_000_000, "service": 100_000_000, "vat": 7_000_000}
    assert amounts(second)["bought"] == 8_000_000, "half of its 4 kWh, at the retail price"
    assert amounts(second)["grid-import"] == 8_000_000
    assert amounts(second)["demand"] + amounts(third)["demand"] == 8 * 50_000_000, (
        "8 kW at the main meter's peak"
    )
    assert amounts(third)["demand"] == 3 * amounts(second)["demand"]
    assert amounts(third)["loss"] == 3 * amounts(second)["loss"] == 240_000
    assert {each.due_on for each in (first, second, third)} == {date(2026, 7, 12)}
    for each in (first, second, third):
        check(each)


async def test_a_preview_is_the_same_without_a_number_and_leaves_nothing(site: Site) -> None:
    drafts = (await biller(site).preview(JUNE, date(2026, 7, 2))).invoices
    assert {each.number for each in drafts} == {""}
    assert {each.settled_until for each in drafts} == {None}, "the month is over"
    assert [amounts(each) for each in drafts] == [amounts(each) for each in await issue(site)]


async def test_a_month_is_issued_once(site: Site) -> None:
    await issue(site)
    with pytest.raises(AlreadyIssued):
        await issue(site)
    with pytest.raises(NotSettled):
        await issue(site, JULY)


async def test_who_has_no_tax_id_drafts_and_issues_nothing(site: Site) -> None:
    unregistered = Biller("campus", site.settlement, BillingSettings(name="Campus Energy"))

    async def record(events: Sequence[InvoiceIssued], check: Check) -> None:
        raise AssertionError

    with pytest.raises(TaxIdMissing):
        await unregistered.issue(JUNE, date(2026, 7, 2), record)
    assert len((await unregistered.preview(JUNE, date(2026, 7, 2))).invoices) == 3


@pytest.mark.parametrize("reason", ["", "  ", "\n", "x" * 201, "two\nlines"])
async def test_a_credit_note_says_why_it_is_in_a_line_that_can_be_printed(site: Site, reason: str) -> None:
    first, *_ = await issue(site)
    with pytest.raises(ReasonInvalid):
        await credit(site, first.number, date(2026, 7, 3), reason=reason)
    assert len(await biller(site).issued(JUNE)) == 3


async def test_a_tax_id_that_is_none_is_shown_in_drafts_and_not_issued(site: Site) -> None:
    """A document cannot be mended when it is in the book."""
    mistyped = replace(SELLER, buildings={"b-2": PartyTable("Two", "1 Road", "0105561000012")})
    billed = Biller("campus", site.settlement, mistyped)

    async def record(events: Sequence[InvoiceIssued], check: Check) -> None:
        raise AssertionError

    with pytest.raises(TaxIdInvalid) as raised:
        await billed.issue(JUNE, date(2026, 7, 2), record)
    assert raised.value.where == "[billing.buildings.b-2]"
    assert len((await billed.preview(JUNE, date(2026, 7, 2))).invoices) == 3


async def test_a_bill_that_no_document_can_hold_keeps_nobody_elses_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("settlement.billing.biller.AMOUNT_MAX", 200_000_000)
    invoices = await issue(site)
    assert [each.building for each in invoices] == ["b-1", "b-2"]
    assert [each.number for each in invoices] == ["campus-2026-000001", "campus-2026-000002"]
    drafts = await biller(site).preview(JUNE, date(2026, 7, 2))
    assert ([each.where for each in drafts.refused], drafts.invoices) == (["b-3"], [])


async def test_another_series_begins_with_one_and_the_first_goes_on(site: Site) -> None:
    _, second, _ = await issue(site)
    other = Biller("campus", site.settlement, replace(SELLER, series="campus-cn"))

    async def record(events: Sequence[InvoiceIssued], check: Check) -> None:
        await check()
        await site.tell(SERVICE, "settlement", *events)

    note = await other.credit(second.number, "a mistake", date(2026, 7, 3), record)
    (again,) = await issue(site, today=date(2026, 7, 3))
    assert (note.number, again.number) == ("campus-cn-2026-000001", "campus-2026-000004")


async def test_nothing_is_billed_by_a_run_that_the_book_does_not_have_yet(site: Site) -> None:
    await issue(site)

    async def lost(run: SettlementRun) -> None:
        raise BusUnavailable("the bus is gone")

    site.settler = Settler("campus", site.settlement, lost, site.clock, timedelta())
    with pytest.raises(BusUnavailable):
        await a_late_peak(site)
    with pytest.raises(RunNotRecorded):
        await issue(site, JULY, AUGUST_2)
    site.settler = site.new_settler()
    await site.settle()
    assert len(await issue(site, JULY, AUGUST_2)) == 2


async def test_what_cannot_be_printed_is_not_issued(site: Site) -> None:
    _, second, _ = await issue(site)
    with pytest.raises(NotPrintable):
        await credit(site, second.number, date(2026, 7, 3), reason="wrong \u2713 address")
    assert len(await biller(site).issued(JUNE)) == 3


async def test_a_document_that_cannot_be_printed_keeps_no_other_from_being_written(
    site: Site, tmp_path: Path
) -> None:
    first, *others = await issue(site)
    odd = replace(first, buyer=replace(first.buyer, name="\u5b66\u6821"))
    with pytest.raises(NotPrintable):
        write_documents([odd, *others], tmp_path)
    written = [f"{each.number}.pdf" for each in others] + [f"{first.number}.json", "lines.csv"]
    assert all((tmp_path / name).exists() for name in written)


async def test_late_energy_of_a_building_without_an_invoice_comes_with_its_next_one(site: Site) -> None:
    invoices = await issue(site)
    added = MeterAdded(
        meter="m-9", role="connection", model="x", rated_w=69_000, since=MORNING, building="b-9"
    )
    building = BuildingAdded(building="b-9", feeder="f-1", name="b-9")
    assigned = MeterAssigned(meter="m-9", device=GATEWAY, since=MORNING)
    await site.tell(OPERATOR, "registry", building, added, assigned)
    await be_on(site, AUGUST_2)
    await site.read("m-9", (0, 0, 0), (36 * 96, 36 * 96 * 100, 0))
    await site.settle()
    july = await issue(site, JULY, AUGUST_2)
    late = next(each for each in july if each.building == "b-9")
    june = await Accounts("campus", site.settlement).statement("b-9", JUNE)
    assert amounts(late)["adjustment"] == june.total.cost_micro + (june.charges_micro or 0) > 0
    assert june.unbilled_micro == 0
    with pytest.raises(AlreadyIssued):
        await issue(site, JUNE, AUGUST_2)
    assert {each.building for each in july} == {each.building for each in invoices} | {"b-9"}


async def test_two_who_issue_at_once_bill_each_building_once(site: Site) -> None:
    async with await SettlementStore.open(site.store) as other:
        second = Biller("campus", other, SELLER)

        async def record(events: Sequence[InvoiceIssued], check: Check) -> None:
            await check()
            await site.tell(SERVICE, "settlement", *events)

        today = date(2026, 7, 2)
        found = await asyncio.gather(
            *(each.issue(JUNE, today, record) for each in (biller(site), second)), return_exceptions=True
        )
    (refused,) = (each for each in found if isinstance(each, BaseException))
    (issued,) = (each for each in found if not isinstance(each, BaseException))
    assert isinstance(refused, AlreadyIssued)
    assert [each.number[-1] for each in issued.invoices] == ["1", "2", "3"]


async def test_what_came_into_the_book_while_others_were_drafted_is_not_issued_again(site: Site) -> None:
    """As an issue does whose receipt did not come in time."""

    async def record(events: Sequence[InvoiceIssued], check: Check) -> None:
        await site.tell(SERVICE, "settlement", *events)
        await check()

    with pytest.raises(IssuedMeanwhile) as raised:
        await biller(site).issue(JUNE, date(2026, 7, 2), record)
    assert raised.value.where == "campus-2026-000003"


async def test_who_waits_too_long_for_the_stream_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.postgres.settlement.TURN_SECONDS", 0.2)
    async with await SettlementStore.open(site.store) as other, other.turn("campus"):
        with pytest.raises(StreamBusy):
            await issue(site)
    assert len(await issue(site)) == 3


async def test_documents_of_a_month_can_be_had_again(site: Site) -> None:
    invoices = await issue(site)
    assert await biller(site).issued(JUNE) == invoices
    assert (
        await biller(site).issued(JULY) == (await biller(site).preview(JUNE, date(2026, 7, 2))).invoices == []
    )
    note = await credit(site, invoices[1].number, date(2026, 7, 3))
    assert await biller(site).issued(JUNE) == [*invoices, note]
    (draft,) = (await biller(site).preview(JUNE, date(2026, 7, 3))).invoices
    assert (draft.building, amounts(draft)) == ("b-2", amounts(invoices[1]))


async def test_a_month_that_is_not_closed_has_a_preview_with_its_charges(site: Site) -> None:
    await be_on(site, AUGUST_2)
    await site.read("m-main", (4 + 36 * 96, 2_020 * 4 + 36 * 96 * 40, 0))
    await site.read("m-2", (4 + 36 * 96, 12_000 + 36 * 96 * 10, 0))
    site.clock = VirtualClock(datetime(2026, 7, 20, tzinfo=UTC))
    site.settler = site.new_settler()
    await site.settle()
    with pytest.raises(NotSettled, match="July 2026 is not settled for good"):
        await issue(site, JULY, AUGUST_2)
    first, second, third = (await biller(site).preview(JULY, date(2026, 7, 20))).invoices
    assert {each.settled_until for each in (first, second, third)} == {site.clock.now()}
    ends = {line.kind: line.until for line in third.lines}
    assert (ends["grid-import"], ends["service"]) == (site.clock.now(), JULY_END)
    assert amounts(first) == {"service": 100_000_000, "vat": 7_000_000}
    assert set(amounts(third)) == {"grid-import", "loss", "service", "vat"}


async def test_a_month_that_closes_with_its_last_interval_is_told_so(site: Site) -> None:
    rules = MarketRulesPublished(
        begin=datetime(2026, 7, 3, tzinfo=UTC), mechanism="uniform_price", tariff="flat", gate_minutes=0,
        final_days=0,
    )  # fmt: skip
    await site.tell(OPERATOR, "market", rules)
    await be_on(site, date(2026, 7, 10))
    await site.read("m-2", (4 + 36 * 96, 12_000 + 36 * 96 * 10, 0))
    await site.settle()
    with pytest.raises(NotSettled) as caught:
        await issue(site, JULY, date(2026, 7, 10))
    assert caught.value.hint.startswith("it can be billed when all is settled until 2026-08-01 00:00 (")


async def test_the_book_holds_the_documents_by_their_codes(site: Site) -> None:
    invoices = await issue(site)
    await site.projector.catch_up()
    found = await site.rows("SELECT number, building, code, run FROM projection.invoices ORDER BY number")
    assert found == [(each.number, each.building, each.code, 2) for each in invoices]


async def test_what_changes_later_comes_with_the_next_invoice(site: Site) -> None:
    await issue(site)
    await site.ledgers_clock.sleep_until(datetime(2026, 8, 2, tzinfo=UTC))
    # Silent for five weeks: what flowed since is spread over June and July alike.
    await site.read("m-2", (4 + 36 * 96, 12_000 + 36 * 96 * 10, 0))
    await site.clock.sleep_until(datetime(2026, 8, 2, tzinfo=UTC))
    await site.settle()
    (july,) = await issue(site, JULY, date(2026, 8, 2))
    assert (july.number, july.building) == ("campus-2026-000004", "b-3")
    billed = {line.kind: line for line in july.lines}
    intervals = 36 * 96
    in_june = 29 * 96 + (24 - 7) * 4 - 4  # local midnight is 17:00 in UTC
    assert billed["adjustment"].amount_micro == in_june * 10 * 4_000
    assert billed["grid-import"].amount_micro == (intervals - in_june) * 10 * 4_000
    assert (billed["adjustment"].run, billed["adjustment"].begin) == (
        3,
        datetime(2026, 5, 31, 17, tzinfo=UTC),
    )
    check(july)


@pytest.mark.parametrize(("line", "kind"), [(1, "bought"), (2, "grid-import"), (4, "demand")])
async def test_a_line_is_proven_down_to_the_signed_readings(site: Site, line: int, kind: str) -> None:
    await issue(site)
    await site.projector.catch_up()
    proof = await Prover("campus", site.settlement).prove("campus-2026-000002", line)
    assert (proof.line.kind, proof.readings) == (kind, 5)
    assert proof.signers == {"service": 3, GATEWAY: 1}
    assert proof.first.stream == ("meter/m-main" if kind == "demand" else "meter/m-1")
    assert len(proof_steps(proof)) == 6


async def test_a_correction_of_a_month_decides_its_charges_anew(site: Site) -> None:
    _, second, third = await issue(site)
    demands = amounts(second)["demand"], amounts(third)["demand"]
    assert demands == (100_000_000, 300_000_000), "8 kW at 50, by what they took"
    await a_late_peak(site)
    standing = await site.rows(
        "SELECT account, sum(amount_micro)::bigint FROM settlement.charges WHERE kind = 'demand'"
        " GROUP BY account ORDER BY account"
    )
    of_2, of_3 = shares(800_000_000, (4_000, 10))
    assert standing == [("building/b-2", -of_2), ("building/b-3", -of_3), ("grid", 800_000_000)]
    await site.projector.catch_up()
    second, third = await issue(site, JULY, AUGUST_2)
    ((owed,),) = await site.rows(
        "SELECT -sum(amount_micro)::bigint FROM settlement.journal"
        " WHERE account = 'building/b-2' AND start < '2026-06-30T17:00Z'"
    )
    assert amounts(second)["adjustment"] == owed - (16_000_000 + 80_000 + 100_000_000 + 100_000_000)
    assert amounts(third)["adjustment"] < of_3 - demands[1] + 36 * 96 * 40_000


async def test_every_line_of_what_was_corrected_is_proven(site: Site) -> None:
    await issue(site)
    await a_late_peak(site)
    july = await issue(site, JULY, AUGUST_2)
    await site.projector.catch_up()
    prover = Prover("campus", site.settlement)
    proven = [
        (await prover.prove(each.number, number)).line.kind
        for each in july
        for number, line in enumerate(each.lines, 1)
        if line.begin is not None
    ]
    assert proven == ["adjustment", "grid-import", "adjustment"]


async def test_a_credit_note_is_proven_by_what_it_cancels(site: Site) -> None:
    _, second, _ = await issue(site)
    note = await credit(site, second.number, date(2026, 7, 3))
    await site.projector.catch_up()
    with pytest.raises(UnknownLine, match=second.number):
        await Prover("campus", site.settlement).prove(note.number, 1)


@pytest.mark.parametrize(
    ("number", "line"), [("c-2026-000009", 1), ("campus-2026-000001", 0), ("campus-2026-000001", 9)]
)
async def test_what_is_not_there_cannot_be_proven(site: Site, number: str, line: int) -> None:
    await issue(site)
    await site.projector.catch_up()
    with pytest.raises(UnknownLine):
        await Prover("campus", site.settlement).prove(number, line)


async def test_a_posting_that_was_slipped_in_is_noticed(site: Site) -> None:
    await issue(site)
    await site.projector.catch_up()
    async with owner(site.store) as connection:
        await connection.execute(
            "INSERT INTO settlement.posted"
            " SELECT community, account, run, true, start, start,"
            " ARRAY[start], '{99}', '{trade}', '{-5}', '{1}'"
            " FROM settlement.postings WHERE account = 'building/b-2' AND kind = 'trade' LIMIT 1"
        )
    with pytest.raises(NotProven):
        await Prover("campus", site.settlement).prove("campus-2026-000002", 1)


async def test_a_credit_note_undoes_an_invoice_and_the_month_is_billed_again(site: Site) -> None:
    _, second, _ = await issue(site)
    note = await credit(site, second.number, date(2026, 7, 3))
    assert (note.number, note.cancels, note.total_micro) == (
        "campus-2026-000004", second.number, -second.total_micro,
    )  # fmt: skip
    check(note)
    for number in (second.number, note.number, "campus-2026-000009"):
        with pytest.raises((AlreadyCancelled, UnknownDocument)):
            await credit(site, number, date(2026, 7, 3))
    (again,) = await issue(site, today=date(2026, 7, 3))
    assert (again.number, again.building, amounts(again)) == ("campus-2026-000005", "b-2", amounts(second))


async def test_documents_are_written_in_every_form(site: Site, tmp_path: Path) -> None:
    invoices = await issue(site)
    write_documents(invoices, tmp_path / "june")
    names = {path.name for path in (tmp_path / "june").iterdir()}
    numbers = {each.number for each in invoices}
    assert names == {f"{number}.{form}" for number in numbers for form in ("pdf", "json")} | {
        "invoices.csv", "lines.csv", "invoices.xlsx",
    }  # fmt: skip
    assert read_json((tmp_path / "june" / "campus-2026-000002.json").read_bytes()) == invoices[1]
    assert (tmp_path / "june" / "campus-2026-000002.pdf").read_bytes().startswith(b"%PDF")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotWrite):
        write_documents(invoices, tmp_path / "file" / "june")
