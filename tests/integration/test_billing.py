"""Billing on a real store: a month is drafted, issued once with gapless numbers, and never touched again."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from ledger.events import MeterAdded, MeterAssigned
from ledger.market_events import InvoiceIssued
from ledger.postgres import PostgresSettings
from ledger.registry import OPERATOR, SERVICE
from settlement.billing.as_json import read_json
from settlement.billing.biller import (
    AlreadyCancelled,
    AlreadyIssued,
    Biller,
    NotSettled,
    UnknownDocument,
)
from settlement.billing.files import CannotWrite, write_documents
from settlement.billing.invoice import Invoice
from settlement.billing.proving import NotProven, Prover, UnknownLine, proof_steps
from settlement.billing.settings import BillingSettings
from settlement.billing.tables import booked
from settlement.billing.totals import check
from tests.support.campus import GATEWAY, MORNING
from tests.support.store import owner
from tests.support.trading import Site, quarters

JUNE, JULY = date(2026, 6, 1), date(2026, 7, 1)
AFTER_JUNE = datetime(2026, 7, 2, tzinfo=UTC)


@pytest.fixture
async def site(database: str) -> AsyncIterator[Site]:
    """Four quarters of June, settled in July, with a main meter; the tariff asks for demand and service."""
    site = Site(PostgresSettings(url=database))
    await site.open()
    main = MeterAdded(meter="m-main", role="main", model="x", rated_w=1_000_000, since=MORNING)
    assigned = MeterAssigned(meter="m-main", device=GATEWAY, since=MORNING)
    await site.tell(OPERATOR, "registry", main, assigned)
    await quarters(site, 0, 4)
    await site.read("m-main", *((k, 2_020 * k, 0) for k in range(5)))
    await site.clock.sleep_until(AFTER_JUNE)
    await site.settle()
    yield site
    await site.close()


def biller(site: Site) -> Biller:
    return Biller("campus", site.settlement, BillingSettings(name="Campus Energy", due_days=10))


async def issue(site: Site, month: date = JUNE, today: date = date(2026, 7, 2)) -> Sequence[Invoice]:
    async def record(events: Sequence[InvoiceIssued]) -> None:
        await site.tell(SERVICE, "settlement", *events)

    return await biller(site).issue(month, today, record)


def amounts(invoice: Invoice) -> dict[str, int]:
    return {line.kind: line.amount_micro for line in invoice.lines}


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
    drafts = await biller(site).preview(JUNE, date(2026, 7, 2))
    assert {each.number for each in drafts} == {""}
    assert [amounts(each) for each in drafts] == [amounts(each) for each in await issue(site)]


async def test_a_month_is_issued_once(site: Site) -> None:
    await issue(site)
    with pytest.raises(AlreadyIssued):
        await issue(site)
    with pytest.raises(NotSettled):
        await issue(site, JULY)


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
            "INSERT INTO settlement.postings SELECT community, start, run, reversal, 99, kind, account, 5, -1"
            " FROM settlement.postings WHERE account = 'building/b-2' AND kind = 'trade' LIMIT 1"
        )
    with pytest.raises(NotProven):
        await Prover("campus", site.settlement).prove("campus-2026-000002", 1)


async def test_a_credit_note_undoes_an_invoice_and_the_month_is_billed_again(site: Site) -> None:
    _, second, _ = await issue(site)

    async def record(events: Sequence[InvoiceIssued]) -> None:
        await site.tell(SERVICE, "settlement", *events)

    note = await biller(site).credit(second.number, "wrong address", date(2026, 7, 3), record)
    assert (note.number, note.cancels, note.total_micro) == (
        "campus-2026-000004", second.number, -second.total_micro,
    )  # fmt: skip
    check(note)
    for number in (second.number, note.number, "campus-2026-000009"):
        with pytest.raises((AlreadyCancelled, UnknownDocument)):
            await biller(site).credit(number, "again", date(2026, 7, 3), record)
    (again,) = await issue(site, today=date(2026, 7, 3))
    assert (again.number, again.building, amounts(again)) == ("campus-2026-000005", "b-2", amounts(second))


async def test_the_months_journal_balances_and_holds_what_the_documents_add(site: Site) -> None:
    before = await biller(site).journal(JUNE)
    invoices = await issue(site)
    entries = await biller(site).journal(JUNE)
    *_, totals = booked(entries)
    assert totals.debit_micro == totals.credit_micro > 0
    assert len(entries) > len(before)
    owed = sum(each.posting.amount_micro for each in entries if each.posting.account == "building/b-2")
    assert -owed == invoices[1].total_micro


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
