"""What a person reads of a what-if and of a bill: tables that fit 80 columns and never cut a number.

Rounding happens here, at the edge, and nothing is computed from what is shown.
"""

from collections.abc import Iterable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ledger.words import counted
from settlement.amounts import MICRO, MILLIWH_PER_KWH, PPM, divided
from settlement.plain.what_if import Result
from settlement.tariff import Tariff
from settlement.utility_bill import BillLine, MonthBill

WIDTH = 80
_NAME_WIDTHS = range(8, 25)
_GAP = 2


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
    rows = [*result.buildings, result.community]
    columns = {
        "imported\nkWh": energies([row.import_milliwh for row in rows]),
        "bought\n%": [percent(row.self_sufficiency_ppm) for row in rows],
        "exported\nkWh": energies([row.export_milliwh for row in rows]),
        "sold\n%": [percent(row.local_coverage_ppm) for row in rows],
        f"pays\n{result.currency}": amounts([row.cost_micro for row in rows]),
        f"saves\n{result.currency}": amounts([row.saving_micro for row in rows]),
        "fair-\nness": [
            "-" if row.fairness_ppm is None else decimal(row.fairness_ppm, 2, PPM) for row in rows
        ],
    }
    _print_table(out, [row.building for row in result.buildings] + ["all"], columns)
    out.print()
    for line in _community(result):
        out.print(line)


def _print_table(out: Console, names: Sequence[str], columns: dict[str, list[str]]) -> None:
    """Numbers as wide as they are, and what is left of 80 columns for the names, which may be folded."""
    widths = [max(map(len, [*heading.split("\n"), *values])) + _GAP for heading, values in columns.items()]
    room = min(max(WIDTH - sum(widths) - _GAP, _NAME_WIDTHS.start), _NAME_WIDTHS.stop)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.add_column("", max_width=room, overflow="fold")
    for heading, width in zip(columns, widths, strict=True):
        table.add_column(heading, justify="right", no_wrap=True, min_width=width - _GAP)
    *buildings, whole = zip(names, *columns.values(), strict=True)
    for row in buildings:
        table.add_row(*row)
    table.add_section()
    table.add_row(*whole)
    out.print(table, width=max(out.width, room + _GAP + sum(widths)), crop=False)


def _community(result: Result) -> Iterator[str]:
    whole, currency = result.community, result.currency
    yield f"{result.mechanism}: {counted(result.intervals, 'interval')}, {counted(result.trades, 'trade')}"
    yield f"energy traded     {decimal(whole.bought_milliwh, 3, MILLIWH_PER_KWH)} kWh"
    if whole.self_sufficiency_ppm is not None:
        yield f"self-sufficiency  {percent(whole.self_sufficiency_ppm)} % of the import came from neighbours"
    paid, without = (_money(amount) for amount in (whole.cost_micro, whole.cost_without_market_micro))
    yield f"saved in total    {_money(whole.saving_micro)} {currency}: {paid} to be paid instead of {without}"
    yield ""
    yield (
        "bought, sold: the part of a building's import and export that it traded with neighbours. pays: an "
        "amount below zero is income. fairness: what a building saves a traded kWh, where the community as a "
        "whole is 1.00."
    )


def _money(micro: int) -> str:
    return decimal(micro, 2, MICRO)


def print_bill(out: Console, bill: MonthBill, tariff: Tariff) -> None:
    """A month's bill, line by line, exact to the micro-unit."""
    currency = tariff.file.currency
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False, pad_edge=False)
    table.add_column(f"{bill.month:%B %Y}", overflow="fold")
    for heading in ("quantity", "unit", f"price\n{currency}", f"amount\n{currency}"):
        table.add_column(heading, justify="left" if heading == "unit" else "right", no_wrap=True)
    for line in bill.lines:
        table.add_row(line.what, *_cells(line))
    table.add_section()
    table.add_row("to be paid", "", "", "", decimal(bill.total_micro, 2, MICRO))
    out.print(tariff.file.name, soft_wrap=True)
    out.print(table, crop=False)
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
