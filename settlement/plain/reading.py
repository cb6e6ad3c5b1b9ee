"""The plain files: CSV with a header, UTF-8, in any order of rows and columns.

    energies   interval_start,building,import_wh,export_wh[,columns with the grid's prices]
    orders     interval_start,building,side,energy_wh,limit_micro_per_kwh[,zone]
    load       interval_start,import_wh[,export_wh][,reactive_varh]

An order without an energy stands for all that was metered; `zone` is the feeder where the building's own is
not meant. A load is what flowed at the point of delivery; instead of `import_wh` it may have `import_kwh`, or
`import_kw`, the average power of the interval.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ledger.grid import Grid
from settlement.market import Band
from settlement.plain.rows import EnergyRow, OrderRow
from settlement.plain.table import NoPlainFile, Row, open_table
from settlement.plain.values import BadCell, instant, micro_per_kwh, milliwh, milliwh_of_kwh
from settlement.utility_bill import LoadRow

PriceOf = Callable[[int], Band]
"""The grid's prices in the interval that starts at an instant."""

_NAME = re.compile(r"[^\s,/][^,\n\r/]{0,63}")


class OffGrid(BadCell):
    """An interval starts between the boundaries of intervals."""

    code = "off-grid"


class GridPrices(NamedTuple):
    """Where an energy row's prices come from: numbers, columns, or the tariff of its interval."""

    retail: int | str
    feed_in: int | str
    tariff: PriceOf | None = None

    @property
    def columns(self) -> list[str]:
        """The columns that hold prices."""
        return [price for price in (self.retail, self.feed_in) if isinstance(price, str)]

    def of(self, row: Row, start: int) -> Band:
        """The prices that count for a row. Raises `BadCell`."""
        if self.tariff is not None:
            return self.tariff(start)
        return Band(*(_price(row, price) for price in (self.retail, self.feed_in)))


def _price(row: Row, price: int | str) -> int:
    return price if isinstance(price, int) else row.take(price, micro_per_kwh)


def read_energies(path: Path, grid: Grid, prices: GridPrices) -> Iterator[EnergyRow]:
    """The rows of the energies. Raises `NoPlainFile` and what a cell can be, a `BadCell`."""
    columns = ["interval_start", "building", "import_wh", "export_wh", *prices.columns]
    with open_table(path, columns) as table:
        at = table.places["interval_start"]
        for row in table.rows:
            start = _start(row, grid)
            yield EnergyRow(
                start,
                row.take("building", _name),
                row.cells[at],
                row.number,
                row.take("import_wh", milliwh),
                row.take("export_wh", milliwh),
                *prices.of(row, start),
            )


def read_orders(path: Path, grid: Grid) -> Iterator[OrderRow]:
    """The rows of the orders. Raises `NoPlainFile` and what a cell can be, a `BadCell`."""
    columns = ["interval_start", "building", "side", "energy_wh", "limit_micro_per_kwh"]
    with open_table(path, columns) as table:
        zone = table.places.get("zone")
        for row in table.rows:
            yield OrderRow(
                _start(row, grid),
                row.take("building", _name),
                row.number,
                row.take("side", _side),
                row.take("energy_wh", lambda text: milliwh(text) if text else None),
                row.take("limit_micro_per_kwh", micro_per_kwh),
                row.cells[zone] if zone is not None else "",
            )


def read_load(path: Path, grid: Grid) -> Iterator[LoadRow]:
    """The rows of a load. Raises `NoPlainFile` and what a cell can be, a `BadCell`."""
    minutes = grid.step // 60
    reads: dict[str, Callable[[str], int]] = {
        "import_wh": milliwh,
        "import_kwh": milliwh_of_kwh,
        "import_kw": lambda text: milliwh_of_kwh(text) * minutes // 60,
    }
    with open_table(path, ["interval_start"]) as table:
        column = next((name for name in reads if name in table.places), None)
        if column is None:
            raise NoPlainFile(
                "there is no column with the energy",
                where=f"{path}: line 1",
                hint=f"one of {', '.join(reads)}",
            )
        exported, reactive = ("export_wh" in table.places, "reactive_varh" in table.places)
        for row in table.rows:
            yield LoadRow(
                _start(row, grid),
                row.take(column, reads[column]),
                row.take("export_wh", milliwh) if exported else 0,
                row.take("reactive_varh", milliwh) if reactive else 0,
            )


def _start(row: Row, grid: Grid) -> int:
    """An interval's start in seconds since 1970. Raises `BadCell`, `OffGrid`."""
    return row.take("interval_start", lambda text: _on_grid(text, grid))


def _on_grid(text: str, grid: Grid) -> int:
    found = instant(text, grid.zone)
    if grid.boundary(found) != found:
        raise OffGrid(f"{text} is no start of an interval of {grid.step // 60} minutes")
    return found


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise BadCell(f"{text[:80]!r} is no name of a building", hint="up to 64 letters, no comma, no slash")
    return text


def _side(text: str) -> str:
    if text not in ("buy", "sell"):
        raise BadCell(f"{text[:80]!r} is no side", hint="buy or sell")
    return text
