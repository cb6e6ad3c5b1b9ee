"""The one bill of the campus, shared out: what no interval's energy pays for.

Energy and surcharges are settled interval by interval. What is left of the utility's bill has two causes:

    by peak     demand, the minimum charge and reactive power: in proportion to what the buildings took from
                the grid in the interval with the main meter's highest import (coincident peak)
    equally     service, contracted power and levies on them: to every building alike

Each charge goes out whole, by largest remainder. The tax comes with each building's own invoice.

The run that closes a month posts its charges, so they are decided once, recorded with what they follow from,
and recomputed by whoever verifies the book. A correction of the month that changes them reverses them first.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from settlement.amounts import MILLIWH_PER_WH, shares
from settlement.book_state import BookSource, BookState
from settlement.holidays import CalendarHole
from settlement.journal import GRID, Posting, building_account, transfer
from settlement.month import Month, midnight, months_before
from settlement.tariff import Tariff, TariffHole
from settlement.utility_bill import MONTHS_OF_MINIMUM, LineKind, LoadRow, MonthBill, utility_bills

ChargeKind = Literal["demand", "service"]
CHARGES: tuple[ChargeKind, ...] = ("demand", "service")

MONTHS_BACK = MONTHS_OF_MINIMUM - 1
"""The minimum charge looks back a year, the month itself included."""

_SHARED: Mapping[LineKind, ChargeKind] = {
    "demand": "demand",
    "minimum": "demand",
    "reactive": "demand",
    "capacity": "service",
    "service": "service",
    "levy": "service",
}
"""Lines of the utility's bill that are shared out, and as what; the others are settled or taxes."""


async def month_charges(store: BookSource, book: BookState, month: Month) -> list[Posting]:
    """The postings of a month's charges; none where there are no rules or no main meter.

    The tariff is the one at the month's end, and what it does not tell of is left out. Of a month in which
    the market began, only what came since counts. Contracted power that no rule tells is taken for none.
    """
    rules = book.rules()
    in_force = rules.at(month.until - book.step)
    if in_force is None or rules.begin is None:
        return []
    tariff = in_force.tariff
    load = await _load(store, book, tariff, max(month.begin, rules.begin), month.until)
    if not load:
        return []
    back = MONTHS_BACK if tariff.terms(load[-1].start).version.minimum_demand_share else 0
    since = midnight(months_before(month.first, back), book.grid.zone)
    earlier = await _load(store, book, tariff, since, month.begin)
    *_, bill = utility_bills(tariff, [*earlier, *load], book.grid.step // 60, in_force.contracted_w or 0)
    taken = await _taken(store, book, peak_start(load))
    return list(charge_postings(bill, taken, _metered_buildings(book, month)))


def charge_postings(
    bill: MonthBill, at_peak_milliwh: Mapping[str, int], buildings: Sequence[str]
) -> Iterator[Posting]:
    """The buildings' parts of a month's bill; `at_peak_milliwh` is what they took in its peak interval.

    Where nobody took anything at the peak, its cost is shared equally.
    """
    names = sorted(buildings)
    by_peak = [at_peak_milliwh.get(name, 0) for name in names]
    alike = [1] * len(names)
    weights = {"demand": by_peak if any(by_peak) else alike, "service": alike}
    for kind in CHARGES:
        total = sum(line.amount_micro for line in bill.lines if _SHARED.get(line.kind) == kind)
        for name, amount in zip(names, shares(max(total, 0), weights[kind]), strict=True):
            if amount:
                yield from transfer(kind, GRID, building_account(name), 0, amount)


def peak_start(load: Sequence[LoadRow]) -> datetime:
    """The start of the interval with the highest import, the earliest of equals. Needs a load."""
    row = max(load, key=lambda row: (row.import_milliwh, -row.start))
    return datetime.fromtimestamp(row.start, UTC)


async def _load(
    store: BookSource, book: BookState, tariff: Tariff, begin: datetime, until: datetime
) -> list[LoadRow]:
    """What flowed through the main meters in [begin, until), as far as the tariff tells of it."""
    delivered = await store.deliveries(book.community, begin, until)
    rows = (
        LoadRow(int(start.timestamp()), taken * MILLIWH_PER_WH, given * MILLIWH_PER_WH)
        for start, (taken, given) in delivered.items()
    )
    return [row for row in rows if _tells_of(tariff, row.start)]


def _tells_of(tariff: Tariff, start: int) -> bool:
    try:
        return bool(tariff.terms(start))
    except (TariffHole, CalendarHole):
        return False


async def _taken(store: BookSource, book: BookState, start: datetime) -> dict[str, int]:
    energies = await store.energies(book.community, start, start + book.step)
    return {name: taken * MILLIWH_PER_WH for rows in energies.values() for name, taken, _ in rows}


def _metered_buildings(book: BookState, month: Month) -> list[str]:
    """Those with a meter at some time of the month."""
    return list(
        {
            meter.added.building
            for meter in book.registry.meters.values()
            if meter.added.building is not None
            and meter.added.since < month.until
            and (meter.until is None or meter.until > month.begin)
        }
    )
