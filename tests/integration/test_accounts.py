"""What stands in the accounts: the journal balances, and a statement is what its building's documents ask."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

import pytest

from settlement.billing.accounts import Accounts, Balance
from settlement.billing.tables import Day, booked
from settlement.journal import building_account
from settlement.known_building import UnknownBuilding
from tests.support.billing import AUGUST_2, JULY, JUNE, a_late_peak, after_june, credit, issue
from tests.support.trading import Site

JULY_BEGIN = datetime(2026, 6, 30, 17, tzinfo=UTC)


@pytest.fixture
async def site(database: str) -> AsyncIterator[Site]:
    async with after_june(database) as site:
        yield site


def accounts(site: Site) -> Accounts:
    return Accounts("campus", site.settlement)


def balance(balances: list[Balance], account: str) -> int:
    return next(each.amount_micro for each in balances if each.account == account)


async def test_a_months_journal_balances_and_its_documents_are_booked_when_they_are_issued(
    site: Site,
) -> None:
    before = await accounts(site).journal(JUNE)
    invoices = await issue(site)
    june, july = await accounts(site).journal(JUNE), await accounts(site).journal(JULY)
    assert june == before, "it is closed"
    assert {each.posting.kind for each in july} == {"vat"}
    for entries in (june, july):
        *_, totals = booked(entries)
        assert totals.debit_micro == totals.credit_micro > 0
    owed = sum(each.posting.amount_micro for each in [*june, *july] if each.posting.account == "building/b-2")
    assert -owed == invoices[1].total_micro


async def test_a_correction_is_booked_in_the_month_that_is_open_and_nothing_is_booked_twice(
    site: Site,
) -> None:
    await issue(site)
    june = await accounts(site).journal(JUNE)
    await a_late_peak(site)
    await issue(site, JULY, AUGUST_2)
    assert await accounts(site).journal(JUNE) == june
    months = [await accounts(site).journal(month) for month in (JUNE, JULY, date(2026, 8, 1))]
    corrections = [each for each in months[1] if each.until <= JULY_BEGIN]
    assert corrections
    assert all(each.run == 3 for each in corrections)
    ever = await accounts(site).balances()
    for account in ("building/b-2", "building/b-3", "grid", "tax"):
        amounts = [
            each.posting.amount_micro
            for entries in months
            for each in entries
            if each.posting.account == account
        ]
        assert sum(amounts) == balance(ever, account)


async def test_balances_come_to_nothing_together_and_each_to_what_was_asked(site: Site) -> None:
    invoices = [*await issue(site)]
    found = await accounts(site).balances()
    assert {each.account for each in found} > {"grid", "losses", "tax"}
    assert (sum(each[1] for each in found), sum(each[2] for each in found)) == (0, 0)
    for invoice in invoices:
        assert balance(found, building_account(invoice.building)) == -invoice.total_micro


async def test_balances_stay_what_was_asked_through_corrections_and_credit_notes(site: Site) -> None:
    invoices = [*await issue(site)]
    invoices.append(await credit(site, invoices[1].number, date(2026, 7, 3)))
    await a_late_peak(site)
    invoices += await issue(site, JUNE, AUGUST_2)
    invoices += await issue(site, JULY, AUGUST_2)
    found = await accounts(site).balances()
    for building in ("b-1", "b-2", "b-3"):
        asked = sum(each.total_micro for each in invoices if each.building == building)
        assert balance(found, building_account(building)) == -asked


async def test_a_statement_tells_the_days_the_charges_and_what_is_not_billed(site: Site) -> None:
    drafted = await accounts(site).statement("b-2", JUNE)
    (day,) = drafted.days
    assert day == Day(date(2026, 6, 1), drafted.total)
    assert day.brought[:4] == (2_000_000, 2_000_000, 0, 0)
    assert (day.brought.loss_micro, day.brought.cost_micro) == (80_000, 16_080_000)
    assert (drafted.charges_micro, drafted.documents) == (200_000_000, [])
    assert drafted.unbilled_micro == drafted.total.cost_micro + 200_000_000
    invoices = await issue(site)
    billed = await accounts(site).statement("b-2", JUNE)
    assert billed == drafted._replace(documents=[invoices[1]], unbilled_micro=0)
    note = await credit(site, invoices[1].number, date(2026, 7, 3))
    cancelled = await accounts(site).statement("b-2", JUNE)
    assert cancelled == drafted._replace(documents=[invoices[1], note])


async def test_a_correction_is_not_billed_until_the_next_invoice(site: Site) -> None:
    await issue(site)
    await a_late_peak(site)
    june = await accounts(site).statement("b-2", JUNE)
    assert june.unbilled_micro > 0
    await issue(site, JULY, AUGUST_2)
    assert (await accounts(site).statement("b-2", JUNE)).unbilled_micro == 0


async def test_a_statement_of_a_building_that_is_not_there_names_those_that_are(site: Site) -> None:
    with pytest.raises(UnknownBuilding, match="no building b-9") as refused:
        await accounts(site).statement("b-9", JUNE)
    assert "b-1, b-2, b-3" in refused.value.hint
