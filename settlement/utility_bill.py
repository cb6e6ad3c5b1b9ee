"""The utility's bill, recomputed from the values of every interval at the point of delivery.

For each local month: energy by period of the tariff, demand, reactive power, service, surcharges, tax, and
what the grid gives for surplus. Lines are exact to the micro-unit; what rounding the total to the currency's
smallest coin adds or takes is its own line.

    demand      the highest average power of an interval, in whole kW, half a kW discarded
    reactive    the highest kvar beyond the free share of the highest kW, in whole kvar, half a kvar discarded
    minimum     what energy and demand lack to a share of the highest demand charge of the last twelve months,
                as far as the load tells them, the month itself included
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import NamedTuple

from settlement.amounts import MICRO, amount_micro, part, to_coins, to_nearest_half_down
from settlement.tariff import Period, Tariff, Version, micro, ppm

MONTHS_OF_MINIMUM = 12


class LoadRow(NamedTuple):
    """What flowed at the point of delivery in the interval that starts at `start` (seconds since 1970)."""

    start: int
    import_milliwh: int
    export_milliwh: int = 0
    reactive_millivarh: int = 0


class BillLine(NamedTuple):
    """One line: so much of a unit, in thousandths, at a price for a whole one, makes an amount."""

    what: str
    quantity_milli: int
    unit: str
    price_micro: int
    amount_micro: int


class MonthBill(NamedTuple):
    """A local month's bill."""

    month: date
    lines: list[BillLine]

    @property
    def total_micro(self) -> int:
        """What is to be paid: whole coins."""
        return sum(line.amount_micro for line in self.lines)


class _Month:
    """What a month's intervals add up to."""

    def __init__(self, month: date, version: Version) -> None:
        self.month = month
        self.version = version
        self.energy: dict[str, int] = {period.name: 0 for period in version.periods}
        self.peak: dict[str, int] = dict.fromkeys(self.energy, 0)  # energy of the highest interval
        self.surcharges: dict[tuple[str, int], int] = {}  # energy by surcharge and amount
        self.export = 0
        self.reactive_peak = 0
        self.intervals = 0

    def take(self, row: LoadRow, period: Period, surcharges: Sequence[tuple[str, int]]) -> None:
        self.energy[period.name] += row.import_milliwh
        self.peak[period.name] = max(self.peak[period.name], row.import_milliwh)
        for surcharge in surcharges:
            self.surcharges[surcharge] = self.surcharges.get(surcharge, 0) + row.import_milliwh
        self.export += row.export_milliwh
        self.reactive_peak = max(self.reactive_peak, row.reactive_millivarh)
        self.intervals += 1


def utility_bills(tariff: Tariff, load: Iterable[LoadRow], interval_minutes: int) -> Iterator[MonthBill]:
    """The bills of the months that `load` covers, in order of time as the rows must be.

    Raises `TariffHole` and `CalendarHole` where the tariff does not say what holds.
    """
    demand_charges: list[tuple[date, int]] = []
    for month in _months(tariff, load):
        demand = list(_demand_lines(month, interval_minutes))
        charge = sum(line.amount_micro for line in demand)
        demand_charges.append((month.month, charge))
        highest = max(
            amount
            for when, amount in demand_charges
            if _months_between(when, month.month) < MONTHS_OF_MINIMUM
        )
        yield MonthBill(month.month, list(_lines(month, demand, highest, interval_minutes)))


def _months(tariff: Tariff, load: Iterable[LoadRow]) -> Iterator[_Month]:
    found: _Month | None = None
    for row in load:
        day = datetime.fromtimestamp(row.start, tariff.zone).date()
        first = day.replace(day=1)
        if found is None or found.month != first:
            if found is not None:
                yield found
            found = _Month(first, tariff.version(day))
        found.take(row, tariff.period(row.start), tariff.surcharge_micro_per_kwh(day))
    if found is not None:
        yield found


def _months_between(earlier: date, later: date) -> int:
    return (later.year - earlier.year) * 12 + later.month - earlier.month


def _lines(month: _Month, demand: list[BillLine], highest_demand: int, minutes: int) -> Iterator[BillLine]:
    version = month.version
    lines = [
        _energy(f"energy {period.name}", month.energy[period.name], period.energy_micro_per_kwh)
        for period in version.periods
    ]
    lines += demand
    minimum = part(highest_demand, ppm(version.minimum_demand_share))
    if (missing := minimum - sum(line.amount_micro for line in lines)) > 0:
        lines.append(BillLine("minimum charge", 0, "", 0, missing))
    lines += _reactive_lines(month, minutes)
    if service := micro(version.service_per_month):
        lines.append(BillLine("service", 1_000, "month", service, service))
    for (name, price), energy in month.surcharges.items():
        lines.append(_energy(name, energy, price))
    if version.vat:
        taxed = sum(line.amount_micro for line in lines)
        rate = ppm(version.vat)
        lines.append(BillLine("VAT", rate // 1_000, "x", taxed, part(max(taxed, 0), rate)))
    if month.export:
        lines.append(_energy("feed-in", month.export, -version.feed_in_micro_per_kwh))
    total = sum(line.amount_micro for line in lines)
    if rounding := to_coins(total) - total:
        lines.append(BillLine("rounding", 0, "", 0, rounding))
    return iter(lines)


def _energy(what: str, energy_milliwh: int, price_micro: int) -> BillLine:
    amount = amount_micro(energy_milliwh, abs(price_micro))
    return BillLine(
        what, energy_milliwh // 1_000, "kWh", price_micro, amount if price_micro >= 0 else -amount
    )


def _demand_lines(month: _Month, minutes: int) -> Iterator[BillLine]:
    for period in month.version.periods:
        if price := period.demand_micro_per_kw:
            kilowatts = _whole_kilo(month.peak[period.name], minutes)
            yield BillLine(f"demand {period.name}", kilowatts * 1_000, "kW", price, kilowatts * price)


def _reactive_lines(month: _Month, minutes: int) -> Iterator[BillLine]:
    reactive = month.version.reactive
    if reactive is None:
        return
    highest = max(month.peak.values())
    free = part(highest, ppm(reactive.free_share))
    price = micro(reactive.per_kvar)
    if kilovars := _whole_kilo(max(month.reactive_peak - free, 0), minutes):
        yield BillLine("reactive power", kilovars * 1_000, "kvar", price, kilovars * price)


def _whole_kilo(milli_hours: int, minutes: int) -> int:
    """The average power of an interval with so many milliwatt-hours, in whole kilowatts."""
    return to_nearest_half_down(milli_hours * 60, minutes * MICRO)
