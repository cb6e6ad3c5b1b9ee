"""The utility's bill, recomputed from the values of every interval at the point of delivery.

For each local month: energy by period of the tariff, demand, capacity, reactive power, service, surcharges,
taxes, and what the grid gives for surplus. Lines are exact to the micro-unit; what rounding the total to the
currency's smallest coin adds or takes is its own line.

    energy      at the period's price, or through its blocks one after the other
    demand      the highest average power of an interval, in whole kW, half a kW discarded
    minimum     what energy and demand lack to a share of the highest demand charge of the last twelve months,
                as far as the load tells them, the month itself included
    capacity    the contracted power for the days of the month
    reactive    the highest kvar beyond the free share of the highest kW, in whole kvar, half a kvar discarded
    levies      one after the other on all above, then VAT on that
"""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import Literal, NamedTuple

from ledger.errors import BadInput
from settlement.amounts import (
    MICRO,
    MILLIWH_PER_KWH,
    MILLIWH_PER_WH,
    amount_micro,
    divided,
    part,
    to_coins,
    to_nearest_half_down,
)
from settlement.month import midnight, next_month
from settlement.tariff import Period, Tariff, TariffHole, Terms
from settlement.tariff_file import Levy, micro, ppm

MONTHS_OF_MINIMUM = 12


class ContractMissing(BadInput):
    """A tariff bills contracted power, and nobody has said how much."""

    code = "contract-missing"


class LoadRow(NamedTuple):
    """What flowed at the point of delivery in the interval that starts at `start` (seconds since 1970)."""

    start: int
    import_milliwh: int
    export_milliwh: int = 0
    reactive_millivarh: int = 0


LineKind = Literal[
    "energy", "demand", "minimum", "capacity", "reactive", "service", "surcharge", "levy", "vat", "feed-in",
    "rounding",
]  # fmt: skip


class BillLine(NamedTuple):
    """One line: so much of a unit, in thousandths, at a price for a whole one, makes an amount."""

    kind: LineKind
    what: str
    quantity_milli: int
    unit: str
    price_micro: int
    amount_micro: int


class MonthBill(NamedTuple):
    """A local month's bill, and how many of its intervals the load has told.

    `peaks` are the starts of the intervals that demand is billed by, the earliest of equals, by `what` of the
    line.
    """

    month: date
    lines: list[BillLine]
    intervals: int
    intervals_max: int
    peaks: dict[str, int]

    @property
    def total_micro(self) -> int:
        """What is to be paid: whole coins."""
        return sum(line.amount_micro for line in self.lines)


class _Month:
    """What a month's intervals add up to."""

    def __init__(self, tariff: Tariff, terms: Terms, minutes: int) -> None:
        self.tariff = tariff
        self.month = terms.day.replace(day=1)
        self.version = terms.version
        self.minutes = minutes
        self.energy: dict[str, int] = {period.name: 0 for period in terms.version.periods}
        self.peaks: dict[str, LoadRow] = {}  # the highest interval of each period
        self.surcharges: dict[tuple[str, int], int] = {}  # energy by surcharge and amount
        self.export = 0
        self.reactive_peak = 0
        self.intervals = 0

    def take(self, row: LoadRow, terms: Terms) -> None:
        name = terms.period.name
        self.energy[name] += row.import_milliwh
        highest = self.peaks.get(name)
        if highest is None or (row.import_milliwh, -row.start) > (highest.import_milliwh, -highest.start):
            self.peaks[name] = row
        for surcharge in terms.surcharges:
            self.surcharges[surcharge] = self.surcharges.get(surcharge, 0) + row.import_milliwh
        self.export += row.export_milliwh
        self.reactive_peak = max(self.reactive_peak, row.reactive_millivarh)
        self.intervals += 1

    def peak(self, period: str) -> int:
        """The energy of a period's highest interval."""
        row = self.peaks.get(period)
        return row.import_milliwh if row else 0

    @property
    def next_month(self) -> date:
        return next_month(self.month)

    @property
    def days(self) -> int:
        return (self.next_month - self.month).days

    @property
    def intervals_max(self) -> int:
        """How many intervals the month has, where the clocks change too."""
        begin, end = (midnight(day, self.tariff.zone) for day in (self.month, self.next_month))
        return (end - begin) // timedelta(minutes=self.minutes)


def utility_bills(
    tariff: Tariff, load: Iterable[LoadRow], interval_minutes: int, contracted_w: int | None = None
) -> Iterator[MonthBill]:
    """The bills of the months that `load` covers, in order of time, whatever the order of its rows.

    `contracted_w` is the power that the contract says, in watts. Raises `TariffHole` and `CalendarHole` where
    the tariff does not say what holds, and `ContractMissing`.
    """
    demand_charges: list[tuple[date, int]] = []
    for month in _months(tariff, load, interval_minutes):
        if month.version.capacity and contracted_w is None:
            raise ContractMissing(
                f"the tariff {tariff.name} bills contracted power", hint="give it: --contracted-kw 4.6"
            )
        demand = list(_demand_lines(month))
        demand_charges.append((month.month, sum(line.amount_micro for line in demand)))
        highest = max(
            amount
            for when, amount in demand_charges
            if _months_between(when, month.month) < MONTHS_OF_MINIMUM
        )
        lines = list(_lines(month, demand, highest, contracted_w or 0))
        peaks = {_demand_of(period): row.start for period, row in month.peaks.items()}
        yield MonthBill(month.month, lines, month.intervals, month.intervals_max, peaks)


def _months(tariff: Tariff, load: Iterable[LoadRow], minutes: int) -> list[_Month]:
    months: dict[date, _Month] = {}
    for row in load:
        terms = tariff.terms(row.start)
        first = terms.day.replace(day=1)
        if first not in months:
            months[first] = _Month(tariff, terms, minutes)
        months[first].take(row, terms)
    return [months[first] for first in sorted(months)]


def _months_between(earlier: date, later: date) -> int:
    return (later.year - earlier.year) * 12 + later.month - earlier.month


def _lines(month: _Month, demand: list[BillLine], highest_demand: int, contracted_w: int) -> list[BillLine]:
    version = month.version
    is_only = len(version.periods) == 1
    lines = [
        line for each in version.periods for line in _energy_lines(each, month.energy[each.name], is_only)
    ]
    lines += demand
    minimum = part(highest_demand, ppm(version.minimum_demand_share))
    if (missing := minimum - _sum(lines)) > 0:
        lines.append(BillLine("minimum", "minimum charge", 0, "", 0, missing))
    lines += _capacity_lines(month, contracted_w)
    lines += _reactive_lines(month)
    if service := micro(version.service_per_month):
        lines.append(BillLine("service", "service", 1_000, "month", service, service))
    for (name, price), energy in month.surcharges.items():
        lines.append(_energy("surcharge", name, energy, price))
    for levy in version.levies:
        if levy.rate:
            lines.append(_tax("levy", levy, max(_sum(lines), 0)))
    if version.vat:
        lines.append(_tax("vat", Levy("VAT", version.vat), max(_sum(lines), 0)))
    if month.export:
        lines.append(_energy("feed-in", "feed-in", month.export, -_feed_in(month)))
    total = _sum(lines)
    if rounding := to_coins(total, micro(month.tariff.file.smallest_coin)) - total:
        lines.append(BillLine("rounding", "rounding", 0, "", 0, rounding))
    return lines


def _feed_in(month: _Month) -> int:
    """What the grid gives for surplus. Raises `TariffHole`."""
    try:
        return month.version.feed_in_micro_per_kwh
    except TariffHole as error:
        error.where = f"{month.tariff.name}, the version from {month.version.begin}"
        error.hint = (
            "add feed_in_per_kwh to a copy of its file (`energy-ledger tariffs --copy`), or leave the column"
            " export_wh out"
        )
        raise


def _sum(lines: Iterable[BillLine]) -> int:
    return sum(line.amount_micro for line in lines)


def _tax(kind: LineKind, levy: Levy, taxed_micro: int) -> BillLine:
    """So many percent of an amount, which stands where other lines have their price."""
    numerator, denominator = levy.rate.as_integer_ratio()
    percent_milli = divided(numerator * 100_000, denominator)
    return BillLine(
        kind, levy.name, percent_milli, "% of", taxed_micro, divided(taxed_micro * numerator, denominator)
    )


def _energy_lines(period: Period, energy_milliwh: int, is_only: bool) -> Iterator[BillLine]:
    """The energy of a period, block by block."""
    what, begin = "energy" if is_only else f"energy {period.name}", 0
    for index, (until, price) in enumerate(period.steps):
        end = energy_milliwh if until is None else min(energy_milliwh, until)
        if end > begin or not index:
            yield _energy("energy", what + _block(begin, until), end - begin, price)
        begin = max(begin, end)


def _block(begin_milliwh: int, until_milliwh: int | None) -> str:
    """Which block of a month's energy it is, where there are several."""
    begin = begin_milliwh // MILLIWH_PER_KWH
    if until_milliwh is None:
        return f", above {begin:,} kWh" if begin else ""
    until = f"{until_milliwh // MILLIWH_PER_KWH:,} kWh"
    return f", {begin:,} to {until}" if begin else f", up to {until}"


def _energy(kind: LineKind, what: str, energy_milliwh: int, price_micro: int) -> BillLine:
    amount = amount_micro(energy_milliwh, abs(price_micro))
    kwh_milli = divided(energy_milliwh, MILLIWH_PER_WH)
    return BillLine(kind, what, kwh_milli, "kWh", price_micro, amount if price_micro >= 0 else -amount)


def _demand_lines(month: _Month) -> Iterator[BillLine]:
    for period in month.version.periods:
        if price := period.demand_micro_per_kw:
            kilowatts = _whole_kilo(month.peak(period.name), month.minutes)
            yield BillLine(
                "demand", _demand_of(period.name), kilowatts * 1_000, "kW", price, kilowatts * price
            )


def _demand_of(period: str) -> str:
    return f"demand {period}"


def _capacity_lines(month: _Month, contracted_w: int) -> Iterator[BillLine]:
    days_of_year = (date(month.month.year + 1, 1, 1) - date(month.month.year, 1, 1)).days
    for each in month.version.capacity:
        price = micro(each.per_kw_year)
        amount = divided(contracted_w * price * month.days, 1_000 * days_of_year)
        what = f"capacity {each.name}, {month.days} of {days_of_year} days"
        yield BillLine("capacity", what, contracted_w, "kW", price, amount)


def _reactive_lines(month: _Month) -> Iterator[BillLine]:
    reactive = month.version.reactive
    if reactive is None:
        return
    free = part(max(map(month.peak, month.peaks)), ppm(reactive.free_share))
    price = micro(reactive.per_kvar)
    if kilovars := _whole_kilo(max(month.reactive_peak - free, 0), month.minutes):
        yield BillLine("reactive", "reactive power", kilovars * 1_000, "kvar", price, kilovars * price)


def _whole_kilo(milli_hours: int, minutes: int) -> int:
    """The average power of an interval with so many milliwatt-hours, in whole kilowatts."""
    return to_nearest_half_down(milli_hours * 60, minutes * MICRO)
