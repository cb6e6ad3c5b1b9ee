"""Documents add up to the last satang, and those that do not are not issued."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from settlement.amounts import COIN_MICRO, PPM
from settlement.billing.invoice import Invoice, InvoiceLine
from settlement.billing.postings import billed
from settlement.billing.totals import COMPUTED, NOT_TAXED, InvoiceInvalid, check, line_micro, totalled
from settlement.journal import building_account
from tests.unit.settlement.invoice_samples import (
    BEGIN,
    CHARGED,
    CHARGES,
    UNTIL,
    charge,
    credit_note,
    invoice,
    preview,
)

AMOUNTS = st.integers(-(10**13), 10**13)
MANY_CHARGES = st.lists(st.builds(charge, st.sampled_from(CHARGED), AMOUNTS), max_size=15)
RATES = st.sampled_from([0, 1, 70_000, 100_000, 255_000, PPM])


def test_an_invoice_done_by_hand() -> None:
    lines, total = totalled(CHARGES, 70_000)
    # 418.390123 + 98.765432 = 517.155555 is taxed as 517.16: 36.2012 is 36.20; what was sold is not.
    assert lines[3] == InvoiceLine("vat", 36_200_000, of_micro=517_160_000, share_ppm=70_000)
    # 517.155555 - 58.000001 + 36.20 = 495.355554 is 495.36
    assert lines[4] == InvoiceLine("rounding", 4_446)
    assert (len(lines), total) == (5, 495_360_000)


@given(MANY_CHARGES, RATES)
def test_the_lines_sum_to_a_total_in_whole_satang_and_rounding_moves_half_a_satang_at_most(
    charges: list[InvoiceLine], rate: int
) -> None:
    lines, total = totalled(charges, rate)
    assert sum(line.amount_micro for line in lines) == total
    assert not total % COIN_MICRO
    assert lines[: len(charges)] == charges
    computed = [line.kind for line in lines[len(charges) :]]
    assert computed in ([["vat"], ["vat", "rounding"]] if rate else [[], ["rounding"]])
    assert all(abs(line.amount_micro) <= COIN_MICRO // 2 for line in lines if line.kind == "rounding")


@given(MANY_CHARGES, RATES.filter(bool))
def test_the_tax_follows_from_the_two_figures_that_are_printed(charges: list[InvoiceLine], rate: int) -> None:
    lines, total = totalled(charges, rate)
    (vat,) = (line for line in lines if line.kind == "vat")
    assert vat.of_micro is not None
    assert not vat.of_micro % COIN_MICRO
    assert not vat.amount_micro % COIN_MICRO
    assert abs(abs(vat.amount_micro) * PPM - vat.of_micro * rate) * 2 <= COIN_MICRO * PPM
    assert not (total - vat.amount_micro) % COIN_MICRO


@given(MANY_CHARGES, RATES)
def test_what_cancels_a_document_is_its_exact_opposite(charges: list[InvoiceLine], rate: int) -> None:
    lines, total = totalled(charges, rate)
    negated, negated_total = totalled(
        [replace(line, amount_micro=-line.amount_micro) for line in charges], rate
    )
    assert negated_total == -total
    assert [-line.amount_micro for line in negated] == [line.amount_micro for line in lines]


@given(MANY_CHARGES, st.sampled_from(sorted(NOT_TAXED)), AMOUNTS)
def test_what_the_building_supplies_changes_no_tax(
    charges: list[InvoiceLine], kind: Any, amount: int
) -> None:
    def taxes(lines: list[InvoiceLine]) -> list[InvoiceLine]:
        return [line for line in totalled(lines, 70_000).lines if line.kind == "vat"]

    assert taxes([*charges, charge(kind, amount)]) == taxes(charges)


@pytest.mark.parametrize("kind", sorted(COMPUTED))
def test_tax_and_rounding_cannot_be_given(kind: Any) -> None:
    with pytest.raises(InvoiceInvalid):
        totalled([*CHARGES, InvoiceLine(kind, 1)], 70_000)


@given(MANY_CHARGES.filter(bool), RATES)
def test_what_adds_up_passes(charges: list[InvoiceLine], rate: int) -> None:
    check(invoice(charges, rate))


@pytest.mark.parametrize("document", [invoice(), preview(), credit_note(), invoice(vat_ppm=0)])
def test_documents_of_every_kind_pass(document: Invoice) -> None:
    check(document)


def with_line(**changes: Any) -> Invoice:
    """An invoice that adds up, its first line changed."""
    return invoice([replace(CHARGES[0], **changes), *CHARGES[1:]])


DAY = date(2026, 7, 1)
BROKEN = {
    "the total is": invoice(total_micro=495_360_001),
    "the tax and the rounding": replace(invoice(), lines=[*invoice().lines[:-2], *invoice().lines[:2:-1]]),
    "it has lines": invoice([], 0),
    "a preview has no number": replace(preview(), number="campus-2026-000001"),
    "have a number": invoice(number=""),
    "have a number ": invoice(number="campus-2026-1"),
    "cancels a number": replace(credit_note(), cancels=""),
    "only a credit note cancels": invoice(cancels="campus-2026-000001"),
    "does not cancel itself": replace(credit_note(), cancels="campus-cn-2026-000001"),
    "begins before it ends": invoice(period_begin=DAY),
    "after its period has begun": preview(issued_on=date(2026, 5, 31)),
    "a period that is over": invoice(issued_on=date(2026, 6, 30)),
    "not due before it is issued": invoice(due_on=date(2026, 7, 2)),
    "its time zone exists": invoice(zone="Asia/Atlantis"),
    "lines[0].energy_milliwh": with_line(energy_milliwh=-1),
    "lines[0].share_ppm": with_line(share_ppm=-1, of_micro=1),
    "lines[0].begin": with_line(begin=datetime(2026, 6, 1)),
    "line 1 (grid-import): its intervals have": with_line(until=None),
    "line 1 (grid-import): its intervals begin": with_line(begin=UNTIL),
    "line 1 (grid-import): it says which intervals": with_line(begin=None, until=None),
    "line 1 (grid-import): it says which run": with_line(run=None),
    "line 1 (grid-import): a part is of a whole": with_line(share_ppm=1),
    "line 1 (grid-import): a part is not more": with_line(share_ppm=PPM + 1, of_micro=1),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_document_that_contradicts_itself_is_not_issued(fault: str) -> None:
    with pytest.raises(InvoiceInvalid) as caught:
        check(BROKEN[fault])
    assert fault.strip() in caught.value.what
    assert caught.value.code == "invoice-invalid"


@given(MANY_CHARGES.filter(bool), st.data())
def test_no_single_amount_can_be_changed(charges: list[InvoiceLine], data: st.DataObject) -> None:
    made = invoice(charges)
    at = data.draw(st.integers(0, len(made.lines) - 1))
    by = data.draw(AMOUNTS.filter(bool))
    lines = list(made.lines)
    lines[at] = replace(lines[at], amount_micro=lines[at].amount_micro + by)
    with pytest.raises(InvoiceInvalid):
        check(replace(made, lines=lines))


@given(MANY_CHARGES)
def test_the_postings_of_a_document_bring_its_building_to_what_it_asks(charges: list[InvoiceLine]) -> None:
    made = invoice(charges)
    postings = list(billed(made))
    by_bill = ("vat", "rounding")
    account = building_account(made.building)
    assert sum(posting.amount_micro for posting in postings) == 0
    assert sum(posting.amount_micro for posting in postings if posting.account == account) == -sum(
        line_micro(made, kind) for kind in by_bill
    )


def test_a_line_may_be_about_a_single_interval() -> None:
    check(with_line(until=BEGIN + timedelta(minutes=15)))


def test_a_currency_without_small_coins_is_rounded_to_whole_units() -> None:
    dong = 1_000_000
    lines, total = totalled([charge("grid-import", 1_999_500_001)], 80_000, dong)
    assert {line.kind: line.amount_micro for line in lines} == {
        "grid-import": 1_999_500_001, "vat": 160 * dong, "rounding": 499_999,
    }  # fmt: skip
    assert total == 2_160 * dong
    made = invoice([charge("grid-import", 1_999_500_001)], 80_000)
    with pytest.raises(InvoiceInvalid, match="the lines come to"):
        check(replace(made, coin_micro=dong))
    check(replace(made, lines=lines, total_micro=total, coin_micro=dong))
