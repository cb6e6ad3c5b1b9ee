"""`energy-ledger what-if` and `energy-ledger bill`, on plain files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ledger.grid import Grid
from ledger.words import counted
from settlement.amounts import MICRO, PPM
from settlement.plain.reading import read_load
from settlement.plain.what_if import Result, Told, settle_files
from settlement.standing import Standing
from settlement.tariff import Tariff, load_tariff, tariff_names
from settlement.utility_bill import BillLine, MonthBill, utility_bills

out = Console(highlight=False, markup=False)


def what_if(
    *,
    energies: Path,
    rules: Path,
    folder: Annotated[Path, Parameter(name="--out")],
    orders: Path | None = None,
    json: bool = False,
) -> None:
    """Settle energies under the rules of a market, and show who would pay what.

    Writes trades.csv, shares.csv, buildings.csv and journal.csv; all of them, or none where a file is wrong.

    Parameters
    ----------
    energies
        CSV: interval_start,building,import_wh,export_wh.
    rules
        TOML: the mechanism, the grid's prices or a tariff, wheeling.
    folder
        The folder for the result.
    orders
        CSV: interval_start,building,side,energy_wh,limit_micro_per_kwh[,zone].
    json
        Print one JSON object instead of a table.
    """
    with _progress() as told:
        result = settle_files(energies, rules, orders, folder, told)
    if json:
        out.print_json(msgspec.json.encode(_as_json(result)).decode())
        return
    _print_result(result)
    out.print(f"{folder}: trades.csv, shares.csv, buildings.csv, journal.csv", soft_wrap=True)


def bill(
    *, tariff: str, load: Path, interval_minutes: Literal[5, 10, 15, 30, 60] = 15, json: bool = False
) -> None:
    """Recompute a utility bill, month by month, from what flowed in every interval.

    Parameters
    ----------
    tariff
        Its name; `energy-ledger tariffs` lists them.
    load
        CSV: interval_start,import_wh[,export_wh][,reactive_varh]; or import_kwh, or import_kw.
    interval_minutes
        The intervals' length.
    json
        Print a JSON array instead of tables.
    """
    found = load_tariff(tariff)
    rows = sorted(read_load(load, Grid(interval_minutes, found.file.zone)))
    bills = list(utility_bills(found, rows, interval_minutes))
    if json:
        out.print_json(msgspec.json.encode([_bill_json(each, found) for each in bills]).decode())
        return
    for each in bills:
        _print_bill(each, found)
    for note in found.notes(each.month.year for each in bills):
        out.print(f"note: {note}", soft_wrap=True)


def tariffs() -> None:
    """List the tariffs that there are, with their source."""
    table = Table("tariff", "what", "confirmed", box=SIMPLE_HEAD)
    for name in tariff_names():
        file = load_tariff(name).file
        table.add_row(name, file.name, "yes" if file.confirmed else "not yet")
    out.print(table)


@contextmanager
def _progress() -> Iterator[Told]:
    """Counts intervals on standard error, if a person looks at it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done: bar.update(task, description=what, completed=done)


def _print_result(result: Result) -> None:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("", no_wrap=True)
    for heading in (
        "imported kWh",
        "from neighbours",
        "exported kWh",
        "to neighbours",
        "pays",
        "saves",
        "fairness",
    ):
        table.add_column(heading, justify="right")
    for standing in result.buildings:
        table.add_row(standing.building, *_columns(standing))
    table.add_section()
    table.add_row("all", *_columns(result.community))
    out.print(table)
    out.print(
        f"{counted(result.intervals, 'interval')}, {counted(result.trades, 'trade')}; amounts in "
        f"{result.currency}; fairness: what is saved a traded kWh, against the community's"
    )


def _columns(standing: Standing) -> tuple[str, ...]:
    return (
        decimal(standing.import_milliwh, 3, MICRO),
        percent(standing.self_sufficiency_ppm),
        decimal(standing.export_milliwh, 3, MICRO),
        percent(standing.local_coverage_ppm),
        decimal(standing.cost_micro, 2, MICRO),
        decimal(standing.saving_micro, 2, MICRO),
        "" if standing.fairness_ppm is None else decimal(standing.fairness_ppm, 2, PPM),
    )


def decimal(value: int, digits: int, unit: int) -> str:
    """An integer as so many decimals of a unit, cut off towards zero."""
    scaled = abs(value) * 10**digits // unit
    sign = "-" if value < 0 and scaled else ""
    return f"{sign}{scaled // 10**digits:,}.{scaled % 10**digits:0{digits}d}"


def percent(ppm: int | None) -> str:
    """Parts a million in percent; nothing where there are none."""
    return "" if ppm is None else f"{decimal(ppm, 1, PPM // 100)} %"


def _as_json(result: Result) -> dict[str, object]:
    return {
        "intervals": result.intervals,
        "trades": result.trades,
        "currency": result.currency,
        "community": result.community._asdict(),
        "buildings": {each.building: each._asdict() for each in result.buildings},
    }


def _print_bill(bill: MonthBill, tariff: Tariff) -> None:
    title = f"{bill.month:%B %Y}, {tariff.file.name}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for heading in ("", "quantity", "", "price", tariff.file.currency):
        table.add_column(heading, justify="left" if heading == "" else "right", no_wrap=True)
    for line in bill.lines:
        table.add_row(line.what, *_line(line))
    table.add_section()
    table.add_row("to be paid", "", "", "", decimal(bill.total_micro, 2, MICRO))
    out.print(table)


def _line(line: BillLine) -> tuple[str, ...]:
    if not line.unit:
        return "", "", "", decimal(line.amount_micro, 6, MICRO)
    return (
        decimal(line.quantity_milli, 3, 1_000), line.unit,
        decimal(line.price_micro, 4, MICRO), decimal(line.amount_micro, 6, MICRO),
    )  # fmt: skip


def _bill_json(bill: MonthBill, tariff: Tariff) -> dict[str, object]:
    return {
        "month": f"{bill.month:%Y-%m}",
        "tariff": tariff.name,
        "currency": tariff.file.currency,
        "lines": [line._asdict() for line in bill.lines],
        "total_micro": bill.total_micro,
    }
