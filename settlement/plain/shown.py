"""What a person reads of a what-if and of a bill: tables that fit 80 columns and never cut a number.

Rounding happens here, at the edge, and nothing is computed from what is shown.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console

from ledger.words import counted
from settlement.amounts import MICRO, MILLIWH_PER_KWH, PPM, divided
from settlement.plain.what_if import Result
from settlement.standing import Standing
from settlement.tariff import Tariff
from settlement.utility_bill import BillLine, MonthBill

WIDTH = 80
BUILDINGS_MAX = 50
"""Rows of a table that somebody may still read."""
FIRST_MIN = 8
LEGEND = (
    "bought, sold: the part of a building's import and export that it traded with neighbours. pays: an "
    "amount below zero is income; demand, fixed charges and taxes are not in it. fairness: what a building "
    "saves a traded kWh, where the community as a whole is 1.00."
)


def decimal(value: int, digits: int, unit: int) -> str:
    """An integer as so many decimals of a unit, to the nearest; halves go away from zero."""
    scaled = divided(abs(value) * 10**digits, unit)
    sign = "-" if value < 0 and scaled else ""
    rest = f".{scaled % 10**digits:0{digits}d}" if digits else ""
    return f"{sign}{scaled // 10**digits:,}{rest}"


def percent(ppm: int | None) -> str:
    """Parts a million in percent; a dash where there is nothing to divide by."""
    return "-" if ppm is None else decimal(ppm, 1, PPM // 100)


def energies(values_milliwh: Sequence[int]) -> list[str]:
    """Kilowatt-hours with as many decimals as there is room for, the same in the whole column."""
    return _column(values_milliwh, MILLIWH_PER_KWH, ((1_000, 3), (100_000, 1)))


def amounts(values_micro: Sequence[int]) -> list[str]:
    """Amounts of the currency, in whole units where they are large."""
    return _column(values_micro, MICRO, ((1_000_000, 2),))


def _column(values: Sequence[int], unit: int, digits_below: Iterable[tuple[int, int]]) -> list[str]:
    highest = max(map(abs, values), default=0)
    digits = next((digits for limit, digits in digits_below if highest < limit * unit), 0)
    return [decimal(value, digits, unit) for value in values]


def print_result(out: Console, result: Result) -> None:
    """Who took, gave, pays and saves how much, and the community as a whole."""
    print_standings(out, result.buildings, result.community, result.currency, "buildings.csv")
    out.print()
    for line in _community(result):
        out.print(line)


def print_standings(
    out: Console, buildings: Sequence[Standing], community: Standing, currency: str, more_in: str
) -> None:
    """How every building fares, up to `BUILDINGS_MAX` of them."""
    shown = buildings[:BUILDINGS_MAX]
    rows = [*shown, community]
    columns = {
        "": [*(row.building for row in shown), "all"],
        "imported\nkWh": energies([row.import_milliwh for row in rows]),
        "bought\n%": [percent(row.self_sufficiency_ppm) for row in rows],
        "exported\nkWh": energies([row.export_milliwh for row in rows]),
        "sold\n%": [percent(row.local_coverage_ppm) for row in rows],
        f"pays\n{currency}": amounts([row.cost_micro for row in rows]),
        f"saves\n{currency}": amounts([row.saving_micro for row in rows]),
        "fair-\nness": [_fairness(row.fairness_ppm) for row in rows],
    }
    print_table(out, columns)
    if (more := len(buildings) - len(shown)) > 0:
        out.print(f"{counted(more, 'building')} more in {more_in}")


def _fairness(ppm: int | None) -> str:
    return "-" if ppm is None else decimal(ppm, 2, PPM)


def print_table(out: Console, columns: Mapping[str, Sequence[str]], left: Collection[str] = ()) -> None:
    """Columns by their headings; the last row stands below a line of its own.

    The first column and those of `left` stand to the left. Where the others leave the first one too little of
    80 columns it is folded: a number never is, and never cut.
    """
    (heading, firsts), *others = columns.items()
    widths = [max(map(len, [*other.split("\n"), *values])) for other, values in others]
    gap = 2 if FIRST_MIN + sum(widths) + 2 * len(widths) <= WIDTH else 1
    room = max(WIDTH - sum(widths) - gap * len(widths), FIRST_MIN)
    room = min(room, max(map(cell_len, [heading, *firsts])))

    def line(first: str, cells: Iterable[str]) -> str:
        aligned = [
            cell.ljust(width) if other in left else cell.rjust(width)
            for (other, _), cell, width in zip(others, cells, widths, strict=True)
        ]
        return (" " * gap).join([set_cell_size(first, room), *aligned]).rstrip()

    heads = [other.rpartition("\n") for other, _ in others]
    rule = ("-" if out.options.ascii_only else "\N{BOX DRAWINGS LIGHT HORIZONTAL}") * (
        room + sum(widths) + gap * len(widths)
    )
    rows = []
    for first, *cells in zip(firsts, *(values for _, values in others), strict=True):
        top, *folded = chop_cells(first, room) or [""]
        rows.append("\n".join([line(top, cells), *folded]))
    upper, lower = line("", [head[0] for head in heads]), line(heading, [head[2] for head in heads])
    out.print("\n".join([upper, lower, rule, *rows[:-1], rule, rows[-1]]), soft_wrap=True)


def _community(result: Result) -> Iterator[str]:
    whole, currency = result.community, result.currency
    yield f"{result.mechanism}: {counted(result.intervals, 'interval')}, {counted(result.trades, 'trade')}"
    yield f"energy traded     {decimal(whole.bought_milliwh, 3, MILLIWH_PER_KWH)} kWh"
    if whole.self_sufficiency_ppm is not None:
        yield f"self-sufficiency  {percent(whole.self_sufficiency_ppm)} % of the import came from neighbours"
    paid, without = (_money(amount) for amount in (whole.cost_micro, whole.cost_without_market_micro))
    yield f"saved in total    {_money(whole.saving_micro)} {currency}: {paid} to be paid, not {without}"
    yield ""
    yield LEGEND


def _money(micro: int) -> str:
    return decimal(micro, 2, MICRO)


def print_bill(out: Console, bill: MonthBill, tariff: Tariff) -> None:
    """A month's bill, line by line, exact to the micro-unit."""
    currency = tariff.file.currency
    rows = [(line.what, *_cells(line)) for line in bill.lines]
    rows.append(("to be paid", "", "", "", decimal(bill.total_micro, 2, MICRO)))
    headings = (f"{bill.month:%B %Y}", "quantity", "unit", f"price\n{currency}", f"amount\n{currency}")
    out.print(tariff.file.name, soft_wrap=True)
    print_table(out, dict(zip(headings, zip(*rows, strict=True), strict=True)), left=("unit",))
    if bill.intervals < bill.intervals_max:
        told, whole = f"{bill.intervals:,}", counted(bill.intervals_max, "interval")
        out.print(f"note: the load tells {told} of the month's {whole}", soft_wrap=True)
    out.print()


def _cells(line: BillLine) -> tuple[str, ...]:
    amount = decimal(line.amount_micro, 6, MICRO)
    if not line.unit:
        return "", "", "", amount
    digits = 2 if line.unit == "% of" else 4
    return decimal(line.quantity_milli, 3, 1_000), line.unit, decimal(line.price_micro, digits, MICRO), amount
