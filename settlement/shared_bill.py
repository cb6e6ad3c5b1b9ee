"""The one bill of the campus, shared out: what no interval's energy pays for.

Energy and surcharges are settled interval by interval. What is left of the utility's bill is shared out by
what causes it:

    demand    each demand charge by what the buildings took from the grid in the very interval that it is
              billed by (coincident peak), the minimum charge like the dearest of them
    levy      on energy and power, by what they took in the month
    service   fixed charges and contracted power, to every building alike

Each charge goes out whole, by largest remainder. The tax comes with each building's own invoice. Readings
tell nothing of reactive power, so what the utility bills for it is not shared out.

The run that closes a month posts its charges, so they are decided once, recorded with what they follow from,
and recomputed by whoever verifies the book. A correction of the month that changes them reverses them first.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from settlement.amounts import MILLIWH_PER_WH, shares
from settlement.book_state import BookSource, BookState
from settlement.holidays import CalendarHole
from settlement.journal import GRID, Posting, building_account, transfer
from settlement.month import Month, midnight, months_before
from settlement.tariff import Tariff, TariffHole
from settlement.utility_bill import MONTHS_OF_MINIMUM, BillLine, LineKind, LoadRow, MonthBill, utility_bills

ChargeKind = Literal["demand", "levy", "service"]
CHARGES: tuple[ChargeKind, ...] = ("demand", "levy", "service")

CHUNK = timedelta(days=1)
MONTHS_BACK = MONTHS_OF_MINIMUM - 1
"""The minimum charge looks back a year, the month itself included."""

_SHARED: Mapping[LineKind, ChargeKind] = {
    "demand": "demand",
    "minimum": "demand",
    "capacity": "service",
    "service": "service",
    "levy": "levy",
}
"""Lines of the utility's bill that are shared out, and as what; the others are settled, taxes or untold."""

Taken = Mapping[str, int]
"""What buildings took from the grid, in milliwatt-hours."""


class Causes(NamedTuple):
    """What the charges of a month are shared by."""

    at_peaks: Mapping[str, Taken]  # by `what` of the demand line
    in_month: Taken


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
    buildings = _metered_buildings(book, month)
    return list(charge_postings(bill, await _causes(store, book, bill, month), buildings))


def charge_postings(bill: MonthBill, causes: Causes, buildings: Sequence[str]) -> Iterator[Posting]:
    """The buildings' parts of a month's bill. What nobody caused is shared alike."""
    names = sorted(buildings)
    found: dict[tuple[ChargeKind, str], int] = {}
    for line in bill.lines:
        if (kind := _SHARED.get(line.kind)) is not None:
            taken = _cause(line, bill, causes)
            weights = [taken.get(name, 0) for name in names]
            parts = shares(max(line.amount_micro, 0), weights if any(weights) else [1] * len(names))
            for name, amount in zip(names, parts, strict=True):
                found[kind, name] = found.get((kind, name), 0) + amount
    for kind in CHARGES:
        for name in names:
            if amount := found.get((kind, name), 0):
                yield from transfer(kind, GRID, building_account(name), 0, amount)


def _cause(line: BillLine, bill: MonthBill, causes: Causes) -> Taken:
    match line.kind:
        case "demand":
            return causes.at_peaks.get(line.what, {})
        case "minimum":
            demands = [each for each in bill.lines if each.kind == "demand"]
            dearest = max(demands, key=lambda each: each.amount_micro, default=line)
            return causes.at_peaks.get(dearest.what, {})
        case "levy":
            return causes.in_month
        case _:
            return {}


async def _causes(store: BookSource, book: BookState, bill: MonthBill, month: Month) -> Causes:
    kinds = {line.kind for line in bill.lines}
    demands = [line.what for line in bill.lines if line.kind == "demand" and line.what in bill.peaks]
    at_peaks = {}
    for what in demands:
        start = datetime.fromtimestamp(bill.peaks[what], UTC)
        at_peaks[what] = await _taken(store, book, start, start + book.step)
    in_month = await _taken(store, book, month.begin, month.until) if "levy" in kinds else {}
    return Causes(at_peaks, in_month)


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


async def _taken(store: BookSource, book: BookState, begin: datetime, until: datetime) -> Taken:
    """What buildings took in [begin, until), read a day at a time."""
    found: dict[str, int] = {}
    while begin < until:
        energies = await store.energies(book.community, begin, min(begin + CHUNK, until))
        for rows in energies.values():
            for name, taken, _ in rows:
                found[name] = found.get(name, 0) + taken * MILLIWH_PER_WH
        begin += CHUNK
    return found


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
