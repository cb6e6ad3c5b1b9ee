"""Rows of plain files in order of time, whatever order they came in and however many they are.

They go through a file of SQLite's that is gone afterwards, so memory stays flat.
"""

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from ledger.errors import BadInput
from settlement.market import Band
from settlement.offers import Metered, Order, Side

_SQL = Path(__file__).parent / "sql"


class DuplicateRow(BadInput):
    """A building's energy of an interval is told twice."""

    code = "duplicate-row"


class StrayOrder(BadInput):
    """An order of a building, or for an interval, that the energies do not have."""

    code = "unknown-building"


class EnergyRow(NamedTuple):
    """One line of the energies."""

    start: int
    building: str
    shown: str
    line: int
    import_milliwh: int
    export_milliwh: int
    retail_micro_per_kwh: int
    feed_in_micro_per_kwh: int


class OrderRow(NamedTuple):
    """One line of the orders."""

    start: int
    building: str
    line: int
    side: str
    energy_milliwh: int | None
    limit_micro_per_kwh: int
    feeder: str


class PlainInterval(NamedTuple):
    """All that the files say of one interval; `shown` is its start as it was written."""

    start: int
    shown: str
    band: Band
    metered: list[Metered]
    orders: dict[str, list[Order]]


class MixedPrices(BadInput):
    """The grid's prices differ within an interval."""

    code = "mixed-prices"


@cache
def _statement(name: str) -> str:
    return (_SQL / f"{name}.sql").read_text()


class SortedRows:
    """The rows of both files."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add_energies(self, rows: Iterable[EnergyRow], where: str) -> None:
        """Take in the energies of the file `where`. Raises `DuplicateRow`."""
        latest = None

        def told() -> Iterator[EnergyRow]:
            nonlocal latest
            for latest in rows:  # noqa: UP028 - the row at which the database stops is to be known
                yield latest

        try:
            self._connection.executemany(_statement("add_energies"), told())
        except sqlite3.IntegrityError as error:
            assert latest is not None  # noqa: S101 - it is a row that does not fit
            (line,) = self._connection.execute(_statement("find_line"), latest[:2]).fetchone()
            raise DuplicateRow(
                f"{latest.building} at {latest.shown} is told in line {line} already",
                where=f"{where}: line {latest.line}",
            ) from error

    def add_orders(self, rows: Iterable[OrderRow], where: str) -> None:
        """Take in the orders of the file `where`. Raises `StrayOrder`."""
        self._connection.executemany(_statement("add_orders"), rows)
        stray = self._connection.execute(_statement("find_stray_order")).fetchone()
        if stray is not None:
            line, building, is_known = stray
            raise StrayOrder(
                f"there is no energy of {building} {'in this interval' if is_known else 'at all'}",
                where=f"{where}: line {line}",
                hint="an order is cleared on metered energy: give the building's row of the interval too",
            )

    def intervals(self) -> Iterator[PlainInterval]:
        """The intervals in order of time. Raises `MixedPrices`."""
        energies = map(EnergyRow._make, self._connection.execute(_statement("list_energies")))
        orders = map(OrderRow._make, self._connection.execute(_statement("list_orders")))
        order = next(orders, None)
        for start, group in groupby(energies, key=itemgetter(0)):
            rows = list(group)
            found: dict[str, list[Order]] = {}
            while order is not None and order.start == start:
                found.setdefault(order.building, []).append(_order(order))
                order = next(orders, None)
            yield PlainInterval(
                start, rows[0].shown, _band(rows), [Metered(r[1], r[4], r[5]) for r in rows], found
            )


def _order(row: OrderRow) -> Order:
    side: Side = "sell" if row.side == "sell" else "buy"
    return Order(side, row.energy_milliwh, row.limit_micro_per_kwh, row.feeder)


def _band(rows: list[EnergyRow]) -> Band:
    band = Band(*rows[0][6:])
    for row in rows:
        if row[6:] != band:
            raise MixedPrices(
                f"{row.building} has other prices of the grid than {rows[0].building}",
                where=f"line {row.line}, {row.shown}",
                hint="in one interval the grid has one price for import and one for export",
            )
    return band


@contextmanager
def sorted_rows() -> Iterator[SortedRows]:
    """A place for rows, gone with the block."""
    with tempfile.TemporaryDirectory(prefix="energy-ledger-") as folder:
        connection = sqlite3.connect(Path(folder) / "rows.sqlite", isolation_level=None)
        try:
            connection.executescript(_statement("create_tables"))
            connection.execute("BEGIN")
            yield SortedRows(connection)
        finally:
            connection.close()
