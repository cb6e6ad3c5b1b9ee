"""Rows of plain files in order of time, whatever order they came in and however many they are.

They go through a file of SQLite's, so memory stays flat. When all are in, other processes may read some.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import groupby, islice, pairwise
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

from ledger.errors import BadInput
from settlement.making import maker
from settlement.market import Band
from settlement.offers import Metered, Order, Side

_SQL = Path(__file__).parent / "sql"
_BATCH_ROWS = 20_000

Told = Callable[[str, int], None]
"""Told now and then what is done and how much of it."""


class DuplicateRow(BadInput):
    """The energy of an interval is told twice."""

    code = "duplicate-row"


class StrayOrder(BadInput):
    """An order of a building, or for an interval, that the energies do not have."""

    code = "unknown-building"


class MixedPrices(BadInput):
    """The grid's prices differ within an interval."""

    code = "mixed-prices"


class NoRoom(BadInput):
    """There is no room to put rows in order."""

    code = "no-room"


EnergyRow = tuple[int, str, int, str, int, int, int, int]
"""Start, building, line, the start as it was written, import and export in milliwatt-hours, both prices."""
OrderRow = tuple[int, str, int, Side, int | None, int, str]
"""Start, building, line, side, energy in milliwatt-hours, limit, feeder."""
Row = TypeVar("Row", EnergyRow, OrderRow)


class PlainInterval(NamedTuple):
    """All that the files say of one interval; `shown` is its start as it was written."""

    start: int
    shown: str
    band: Band
    metered: list[Metered]
    orders: dict[str, list[Order]]
    lines: dict[str, int]
    """Where the energy of each building stands."""


_metered = maker(Metered)


@cache
def _statement(name: str) -> str:
    return (_SQL / f"{name}.sql").read_text()


class SortedRows:
    """The rows of both files; `energies` and `orders` name them in what is raised."""

    def __init__(self, connection: sqlite3.Connection, energies: Path, orders: Path | None) -> None:
        self._connection = connection
        self._starts: Counter[int] = Counter()
        self._energies = energies
        self._orders = orders
        self.buildings: set[str] = set()

    def add_energies(self, rows: Iterable[EnergyRow], told: Told) -> None:
        """Take in energies."""
        for batch in self._batches("add_energies", rows):
            self.buildings.update(row[1] for row in batch)
            self._starts.update(row[0] for row in batch)
            told("energies read", batch[-1][2])

    def add_orders(self, rows: Iterable[OrderRow], told: Told) -> None:
        """Take in orders."""
        for batch in self._batches("add_orders", rows):
            told("orders read", batch[-1][2])

    def end(self) -> None:
        """All rows are in, and others may read them."""
        self._connection.execute("COMMIT")

    def middle(self) -> tuple[int, int]:
        """How many energies there are, and the interval at which half of them are passed."""
        passed, total = 0, self._starts.total()
        for start in sorted(self._starts):
            if passed >= total // 2:
                break
            passed += self._starts[start]
        return total, start

    def _batches(self, statement: str, rows: Iterable[Row]) -> Iterator[list[Row]]:
        left = iter(rows)
        while batch := list(islice(left, _BATCH_ROWS)):
            self._connection.executemany(_statement(statement), batch)
            yield batch

    def intervals(self, begin: int, until: int) -> Iterator[PlainInterval]:
        """The intervals that start in [begin, until), in order of time.

        Raises `DuplicateRow`, `MixedPrices` and `StrayOrder`.
        """
        span = (begin, until)
        energies: Iterator[EnergyRow] = self._connection.execute(_statement("list_energies"), span)
        orders: Iterator[OrderRow] = self._connection.execute(_statement("list_orders"), span)
        order = next(orders, None)
        for start, group in groupby(energies, key=itemgetter(0)):
            rows = list(group)
            lines = {row[1]: row[2] for row in rows}
            if len(lines) < len(rows):
                raise self._duplicate(rows)
            found: dict[str, list[Order]] = {}
            while order is not None and order[0] <= start:
                _, building, _, side, energy, limit, feeder = order
                if order[0] < start or building not in lines:
                    raise self._stray(order)
                found.setdefault(building, []).append(Order(side, energy, limit, feeder))
                order = next(orders, None)
            metered = [_metered((row[1], row[4], row[5])) for row in rows]
            yield PlainInterval(start, rows[0][3], self._band(rows), metered, found, lines)
        if order is not None:
            raise self._stray(order)

    def _band(self, rows: Sequence[EnergyRow]) -> Band:
        retail, feed_in = rows[0][6:]
        for row in rows:
            if row[6] != retail or row[7] != feed_in:
                raise MixedPrices(
                    f"{row[1]} has other prices of the grid than {rows[0][1]} at {row[3]}",
                    where=f"{self._energies}: line {row[2]}",
                    hint="in one interval the grid has one price for import and one for export",
                )
        return Band(retail, feed_in)

    def _duplicate(self, rows: Sequence[EnergyRow]) -> DuplicateRow:
        first, second = next((one, other) for one, other in pairwise(rows) if one[1] == other[1])
        return DuplicateRow(
            f"{second[1]} at {second[3]} is told in line {first[2]} already",
            where=f"{self._energies}: line {second[2]}, building",
            hint="a building has one row an interval: add the two up, or take one out",
        )

    def _stray(self, order: OrderRow) -> StrayOrder:
        _, building, line, *_ = order
        is_known = self._connection.execute(_statement("find_building"), (building,)).fetchone() is not None
        return StrayOrder(
            f"there is no energy of {building} {'in this interval' if is_known else 'at all'}",
            where=f"{self._orders}: line {line}, {'interval_start' if is_known else 'building'}",
            hint="an order is cleared on metered energy: give the building's row of the interval too",
        )


@contextmanager
def new_rows(file: Path, energies: Path, orders: Path | None) -> Iterator[SortedRows]:
    """A new file for the rows of these files. Raises `NoRoom`."""
    with _opened(file) as connection:
        connection.executescript(_statement("create_tables"))
        connection.execute("BEGIN")
        yield SortedRows(connection, energies, orders)


@contextmanager
def sorted_rows(file: Path, energies: Path, orders: Path | None) -> Iterator[SortedRows]:
    """Such a file, to read from it. Raises `NoRoom`."""
    with _opened(file) as connection:
        yield SortedRows(connection, energies, orders)


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        yield connection
    except sqlite3.OperationalError as error:
        raise NoRoom(
            f"rows cannot be put in order: {error}",
            hint=f"there has to be room for the files in {file.parent.parent}, and where SQLITE_TMPDIR says",
        ) from error
    finally:
        connection.close()
