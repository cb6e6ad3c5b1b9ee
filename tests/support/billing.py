"""A campus with one utility bill: a main meter, months that are settled, and documents."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime

from ledger.events import MeterAdded, MeterAssigned
from ledger.market_events import InvoiceIssued
from ledger.postgres import PostgresSettings
from ledger.registry import OPERATOR, SERVICE
from settlement.billing.biller import Biller, Check
from settlement.billing.invoice import Invoice
from settlement.billing.settings import BillingSettings
from tests.support.campus import GATEWAY, MORNING
from tests.support.trading import Site, quarters

SELLER = BillingSettings(name="Campus Energy", tax_id="0105561000011", due_days=10)
JUNE, JULY = date(2026, 6, 1), date(2026, 7, 1)
AUGUST_2 = date(2026, 8, 2)


@asynccontextmanager
async def after_june(database: str) -> AsyncIterator[Site]:
    """A site with a main meter, whose four quarters of June were settled in July, and the month is closed."""
    site = Site(PostgresSettings(url=database))
    await site.open()
    await four_quarters_of_june(site)
    yield site
    await site.close()


async def four_quarters_of_june(site: Site) -> None:
    """What all meters show of four quarters, the main meter with a loss of a hundredth, settled in July."""
    main = MeterAdded(meter="m-main", role="main", model="x", rated_w=1_000_000, since=MORNING)
    assigned = MeterAssigned(meter="m-main", device=GATEWAY, since=MORNING)
    await site.tell(OPERATOR, "registry", main, assigned)
    await quarters(site, 0, 4)
    await site.read("m-main", *((k, 2_020 * k, 0) for k in range(5)))
    await be_on(site, date(2026, 7, 2))
    await site.settle()


async def be_on(site: Site, day: date) -> None:
    """Let it be a day."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    await site.ledgers_clock.sleep_until(at)
    await site.clock.sleep_until(at)


async def a_late_peak(site: Site) -> None:
    """The main meter's last quarter was twice as high as all before, and it was b-2's; found in August."""
    await be_on(site, AUGUST_2)
    await site.read("m-main", (5, 2_020 * 4 + 4_040, 0))
    await site.read("m-1", (5, 1_000 * 4 + 4_000, 0))
    await site.read("m-2", (4 + 36 * 96, 12_000 + 36 * 96 * 10, 0))
    await site.settle()


def biller(site: Site) -> Biller:
    return Biller("campus", site.settlement, SELLER)


Change = Callable[[InvoiceIssued], Sequence[InvoiceIssued]]


async def issue(
    site: Site, month: date = JUNE, today: date = date(2026, 7, 2), change: Change = lambda event: [event]
) -> Sequence[Invoice]:
    """Bill a month; `change` makes of each document what the book is told instead."""

    async def record(events: Sequence[InvoiceIssued], check: Check) -> None:
        await check()
        await site.tell(SERVICE, "settlement", *(told for event in events for told in change(event)))

    return (await biller(site).issue(month, today, record)).invoices


async def credit(
    site: Site,
    number: str,
    today: date,
    change: Change = lambda event: [event],
    reason: str = "a mistake",
) -> Invoice:
    """Cancel an invoice, likewise."""

    async def record(events: Sequence[InvoiceIssued], check: Check) -> None:
        await check()
        await site.tell(SERVICE, "settlement", *(told for event in events for told in change(event)))

    return await biller(site).credit(number, reason, today, record)


def amounts(invoice: Invoice) -> dict[str, int]:
    return {line.kind: line.amount_micro for line in invoice.lines}
