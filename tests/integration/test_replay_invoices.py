"""The invoices of an exported book, drafted again from its runs: honest ones pass, others are named."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from ledger.canonical import encode
from ledger.market_events import InvoiceIssued
from settlement.billing.as_json import read_document
from settlement.billing.invoice import Invoice, InvoiceLine, Party
from settlement.billing.totals import COMPUTED, totalled
from tests.support.billing import (
    AUGUST_2,
    JULY,
    JUNE,
    a_late_peak,
    after_june,
    amounts,
    be_on,
    credit,
    issue,
)
from tests.support.judging import judged, said
from tests.support.trading import Site

THIRD = date(2026, 7, 3)


@pytest.fixture
async def site(database: str) -> AsyncIterator[Site]:
    async with after_june(database) as site:
        yield site


async def a_silent_meter_is_read(site: Site) -> None:
    """What flowed in five weeks is spread over June and July alike, and both are settled."""
    await be_on(site, AUGUST_2)
    await site.read("m-2", (4 + 36 * 96, 12_000 + 36 * 96 * 10, 0))
    await site.settle()


# --- honest books -----------------------------------------------------------------------------------


async def test_months_that_were_billed_cancelled_corrected_and_billed_again_pass(
    site: Site, tmp_path: Path
) -> None:
    _, second, third = await issue(site)
    await credit(site, second.number, THIRD)
    await issue(site, today=THIRD)
    await a_silent_meter_is_read(site)
    (july,) = await issue(site, JULY, AUGUST_2)
    assert (july.building, set(amounts(july))) == ("b-3", {"grid-import", "adjustment", "vat"})
    await credit(site, third.number, AUGUST_2)
    (again,) = await issue(site, JUNE, AUGUST_2)
    assert amounts(again)["adjustment"] == -amounts(july)["adjustment"], (
        "July's invoice has billed it already"
    )
    assert sum(each.total_micro for each in (again, july)) - third.total_micro == july.total_micro
    verdict = await judged(site, tmp_path)
    assert (verdict.status, said(verdict)) == ("pass", [])
    assert verdict.summary.endswith("8 invoices")


async def test_what_a_cancelled_invoice_had_adjusted_is_adjusted_again(site: Site, tmp_path: Path) -> None:
    await issue(site)
    await a_silent_meter_is_read(site)
    (july,) = await issue(site, JULY, AUGUST_2)
    await credit(site, july.number, AUGUST_2)
    (again,) = await issue(site, JULY, AUGUST_2)
    assert amounts(again) == amounts(july)
    assert (await judged(site, tmp_path)).status == "pass"


async def test_a_correction_that_decides_charges_anew_passes(site: Site, tmp_path: Path) -> None:
    await issue(site)
    await a_late_peak(site)
    assert len(await issue(site, JULY, AUGUST_2)) == 2
    assert (await judged(site, tmp_path)).status == "pass"


async def test_charges_that_were_shared_otherwise_are_named(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the settler had left out who took most at the peak."""
    with monkeypatch.context() as patch:
        patch.setattr("settlement.shared_bill._taken", nobody)
        await a_late_peak(site)
    findings = said(await judged(site, tmp_path))
    assert [finding.partition(": result")[0] for finding in findings] == ["run 3"]


async def nobody(*_: object) -> dict[str, int]:
    return {}


# --- dishonest documents ------------------------------------------------------------------------------


def told(invoice: Invoice, run: int) -> InvoiceIssued:
    """A document as the ledger's service records it."""
    document = encode(invoice).decode()
    return InvoiceIssued(
        number=invoice.number, building=invoice.building, code=invoice.code, document=document, run=run
    )


def changed(**changes: object) -> Callable[[InvoiceIssued], list[InvoiceIssued]]:
    """Tell of a document what is not so, with a code that fits."""
    return lambda event: [told(replace(read_document(event.document), **changes), event.run)]


def with_lines(
    change: Callable[[list[InvoiceLine]], list[InvoiceLine]],
) -> Callable[[InvoiceIssued], list[InvoiceIssued]]:
    """The same of b-2's lines, with totals that fit."""

    def of(event: InvoiceIssued) -> list[InvoiceIssued]:
        invoice = read_document(event.document)
        if invoice.building != "b-2":
            return [event]
        charges = change([line for line in invoice.lines if line.kind not in COMPUTED])
        lines, total = totalled(charges, invoice.vat_ppm)
        return [told(replace(invoice, lines=lines, total_micro=total), event.run)]

    return of


def dearer(lines: list[InvoiceLine]) -> list[InvoiceLine]:
    return [replace(lines[0], amount_micro=lines[0].amount_micro + 1), *lines[1:]]


def shorter(lines: list[InvoiceLine]) -> list[InvoiceLine]:
    return [replace(lines[0], until=datetime(2026, 6, 29, 17, tzinfo=UTC)), *lines[1:]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            with_lines(dearer),
            "invoice campus-2026-000002: line 1 is bought of 8.000001, by the runs it is bought of 8.000000",
        ),
        (
            with_lines(lambda lines: lines[:-1]),
            "line 5 is vat of 8.130000, by the runs it is service of 100.000000",
        ),
        (
            with_lines(lambda lines: [*lines, lines[0]]),
            "line 6 is bought of 8.000000, by the runs it is vat of",
        ),
        (
            with_lines(lambda lines: [replace(lines[0], run=2), *lines[1:]]),
            "line 1 is bought of 8.000000, run 2, by the runs it is bought of 8.000000, run 1",
        ),
        (
            with_lines(shorter),
            "line 1 is bought of 8.000000, until 2026-06-29 17:00:00+00:00, by the runs it is bought of",
        ),
        (changed(currency="EUR"), "its currency is EUR instead of THB"),
        (changed(seller=Party("Mallory Ltd")), "it shows a tax, and its seller has no tax ID"),
        (changed(reason="because"), "it gives a reason, and cancels nothing"),
        (changed(issued_on=date(2150, 1, 1)), "its number is of 2026, it is issued on 2150-01-01"),
        (changed(zone="UTC"), "its zone is UTC instead of Asia/Bangkok"),
        (changed(period_until=date(2026, 6, 30)), "its period_until is 2026-06-30 instead of 2026-07-01"),
        (
            lambda event: [replace(event, run=1)],
            "invoice campus-2026-000001: it counts run 1, the newest before it is 2",
        ),
    ],
)
async def test_an_invoice_that_the_runs_do_not_bear_out_is_named(
    site: Site, tmp_path: Path, change: Callable[[InvoiceIssued], Sequence[InvoiceIssued]], says: str
) -> None:
    await issue(site, change=change)
    verdict = await judged(site, tmp_path)
    assert verdict.status == "fail"
    assert says in said(verdict)[0]
    assert "ask the operator" in verdict.findings[0].hint


async def test_a_building_that_is_billed_twice_is_named(site: Site, tmp_path: Path) -> None:
    def twice(event: InvoiceIssued) -> list[InvoiceIssued]:
        invoice = read_document(event.document)
        if invoice.building != "b-3":
            return [event]
        return [event, told(replace(invoice, number="campus-2026-000004"), event.run)]

    await issue(site, change=twice)
    assert said(await judged(site, tmp_path)) == [
        "invoice campus-2026-000004: b-3 was billed for the month by campus-2026-000003"
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"cancels": "campus-2026-000007"},
            "campus-2026-000007 is no invoice of b-2 that could be cancelled",
        ),
        ({"building": "b-1"}, "campus-2026-000002 is no invoice of b-1 that could be cancelled"),
        ({"currency": "VND"}, "its currency is not that of campus-2026-000002"),
        ({"period_begin": date(2026, 5, 1)}, "its period_begin is not that of campus-2026-000002"),
        ({"issued_on": date(2026, 7, 1)}, "it is issued on 2026-07-01, before campus-2026-000002"),
    ],
)
async def test_a_credit_note_for_what_does_not_stand_is_named(
    site: Site, tmp_path: Path, changes: dict[str, str], says: str
) -> None:
    _, second, _ = await issue(site)
    await credit(site, second.number, THIRD, changed(**changes))
    assert said(await judged(site, tmp_path))[0] == f"invoice campus-2026-000004: {says}"


async def test_a_credit_note_that_gives_back_less_is_named(site: Site, tmp_path: Path) -> None:
    _, second, _ = await issue(site)
    await credit(site, second.number, THIRD, with_lines(lambda lines: lines[:-1]))
    (finding,) = said(await judged(site, tmp_path))
    assert "invoice campus-2026-000004: line 5 is vat of " in finding


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"number": "campus-2026-000002"}, "the number campus-2026-000001 was due"),
        ({"number": "2"}, "invoice 2: '2' is not a number such as"),
        ({"code": "0" * 64}, "its code is not the SHA-256 of its document"),
        ({"building": "b-2"}, "its document is another building's, or has another number"),
        ({"document": "{}"}, "its code is not the SHA-256 of its document"),
        ({"run": 3}, "it counts run 3, the newest before it is 2"),
    ],
)
async def test_a_document_that_contradicts_its_event_is_named(
    site: Site, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    def first_only(event: InvoiceIssued) -> list[InvoiceIssued]:
        return [replace(event, **changes)] if event.building == "b-1" else []

    await issue(site, change=first_only)
    verdict = await judged(site, tmp_path)
    assert verdict.status == "fail"
    assert says in said(verdict)[0]


@pytest.mark.parametrize(
    ("issued_on", "says"),
    [
        (date(2026, 6, 30), "is issued on 2026-06-30, and the block before it was sealed on 2026-07-02"),
        (date(2026, 12, 24), "is issued on 2026-12-24, and the block after it was sealed on 2026-07-02"),
    ],
)
async def test_a_date_of_issue_that_the_blocks_do_not_bear_out_is_named(
    site: Site, tmp_path: Path, issued_on: date, says: str
) -> None:
    await site.writer.book.seal()
    await issue(site, change=changed(issued_on=issued_on))
    await site.writer.book.seal()
    assert any(says in each for each in said(await judged(site, tmp_path)))


async def test_an_invoice_that_does_not_add_up_is_named(site: Site, tmp_path: Path) -> None:
    await issue(site, change=changed(total_micro=10_000))
    assert "the lines come to" in said(await judged(site, tmp_path))[0]


async def test_an_invoice_that_leaves_out_a_correction_which_the_book_has_is_named(
    site: Site, tmp_path: Path
) -> None:
    await issue(site)
    await a_silent_meter_is_read(site)
    (july,) = await issue(site, JULY, AUGUST_2)
    await credit(site, july.number, AUGUST_2)
    await issue(site, JULY, AUGUST_2, lambda event: [replace(event, run=2)])
    (finding,) = said(await judged(site, tmp_path))
    assert finding.startswith("invoice campus-2026-000006: it counts run 2, the newest before it is 5")
