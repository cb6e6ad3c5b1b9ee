"""The plain files: CSV with a header, UTF-8, in any order of rows and columns.

    energies   interval_start,building,import_wh,export_wh[,columns with the grid's prices]
    orders     interval_start,building,side,energy_wh,limit_micro_per_kwh[,zone]
    load       interval_start,import_wh[,export_wh][,reactive_varh]

An order without an energy stands for all that was metered; `zone` is the feeder where the building's own is
not meant. A load is what flowed at the point of delivery. Instead of `import_wh` and the `export_wh` of the
energies there may be `import_kwh` and `export_kwh`; a load may have `import_kw`, an interval's average power.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ledger.grid import Grid
from ledger.words import did_you_mean
from settlement.amounts import divided
from settlement.market import Band
from settlement.offers import Side
from settlement.plain.rows import DuplicateRow, EnergyRow, OrderRow
from settlement.plain.table import Choice, Column, NoPlainFile, open_table
from settlement.plain.values import (
    BadCell,
    instant,
    micro_per_kwh,
    millivarh,
    milliwh,
    milliwh_of_kwh,
    name,
    ordered_milliwh,
)
from settlement.utility_bill import LoadRow

_IMPORT: Choice = {"import_wh": milliwh, "import_kwh": milliwh_of_kwh}
_EXPORT: Choice = {"export_wh": milliwh, "export_kwh": milliwh_of_kwh}

PriceOf = Callable[[int], Band]
"""The grid's prices in the interval that starts at an instant."""

_STARTS_MAX = 1 << 16
"""Instants to be remembered as they are written: more than a year of quarters."""


class OffGrid(BadCell):
    """An interval starts between the boundaries of intervals."""

    code = "off-grid"


class IntervalsApart(BadCell):
    """A load's intervals are longer than they are said to be."""

    code = "intervals-apart"


class UnknownFeeder(BadCell):
    """A zone that the rules do not have."""

    code = "unknown-feeder"


class GridPrices(NamedTuple):
    """Where an energy row's prices come from: numbers, columns, or the tariff of its interval."""

    retail: int | str
    feed_in: int | str
    tariff: PriceOf | None = None

    def columns(self, start: Callable[[str], int]) -> list[Column]:
        """What tells the two prices; `start` reads the interval."""
        if self.tariff is None:
            return [_price(self.retail), _price(self.feed_in)]
        tariff = self.tariff
        band = lru_cache(_STARTS_MAX)(lambda text: tariff(start(text)))
        return [
            Column("interval_start", lambda text: band(text).retail_micro_per_kwh),
            Column("interval_start", lambda text: band(text).feed_in_micro_per_kwh),
        ]


def _price(price: int | str) -> Column:
    """A price from its column, or one that is the same in all rows."""
    return Column(price, micro_per_kwh) if isinstance(price, str) else Column("building", lambda _: price)


def read_energies(path: Path, grid: Grid, prices: GridPrices) -> Iterator[EnergyRow]:
    """The rows of the energies. Raises `NoPlainFile`, what a cell can be, and what a tariff raises."""
    start = _starts(grid)
    columns = [
        Column("interval_start", start),
        Column("building", name),
        Column("interval_start", str.strip),
        *prices.columns(start),
    ]
    with open_table(path, [column.name for column in columns], [_IMPORT, _EXPORT]) as table:
        columns += [table.chosen(_IMPORT), table.chosen(_EXPORT)]
        for line, (start_at, building, shown, retail, feed_in, imported, exported) in table.rows(columns):
            yield start_at, building, line, shown, imported, exported, retail, feed_in


def read_orders(path: Path, grid: Grid, feeders: Collection[str]) -> Iterator[OrderRow]:
    """The rows of the orders. A zone is one of the `feeders`, if there are any.

    Raises `NoPlainFile` and what a cell can be, a `BadCell`.
    """
    columns = [
        Column("interval_start", _starts(grid)),
        Column("building", name),
        Column("side", _side),
        Column("energy_wh", lambda text: ordered_milliwh(text) if text else None),
        Column("limit_micro_per_kwh", micro_per_kwh),
    ]
    with open_table(path, [column.name for column in columns]) as table:
        if "zone" in table.places:
            columns.append(Column("zone", lambda text: _zone(text, feeders)))
        for line, (start, building, *rest) in table.rows(columns, may_be_none=True):
            side, energy, limit, *zone = rest
            yield start, building, line, side, energy, limit, zone[0] if zone else ""


LOAD_FURTHER: dict[str, Callable[[str], int]] = {"export_wh": milliwh, "reactive_varh": millivarh}
_EVENLY_MIN = 4
"""Rows that show by how much a load's intervals are apart."""


def read_load(path: Path, grid: Grid, told: Callable[[int], object]) -> Iterator[LoadRow]:
    """The rows of a load; `told` says what holds in an interval, so that a hole is told with its line.

    Raises `NoPlainFile`, `DuplicateRow`, what a cell can be, a `BadCell`, what `told` raises, and at the end
    `IntervalsApart`.
    """
    minutes = grid.step // 60
    energy: Choice = {
        **_IMPORT, "import_kw": lambda text: divided(milliwh_of_kwh(text) * minutes, 60)
    }  # fmt: skip
    start = _starts(grid)
    with open_table(path, ["interval_start"], [energy]) as table:
        if "building" in table.places:
            raise NoPlainFile(
                "this has buildings, and a load is of one meter",
                where=f"{path}: line 1",
                hint="give what flowed at the main meter; or the rows of one building without that column",
            )
        table.know(("interval_start", *energy, *LOAD_FURTHER))
        more = [each for each in LOAD_FURTHER if each in table.places]
        columns = [Column("interval_start", start), table.chosen(energy)]
        columns += [Column(each, LOAD_FURTHER[each]) for each in more]
        columns.append(Column("interval_start", lambda text: told(start(text))))
        lines: dict[int, int] = {}
        for line, (at, imported, *rest) in table.rows(columns):
            if lines.setdefault(at, line) != line:
                raise DuplicateRow(
                    f"this interval is told in line {lines[at]} already",
                    where=f"{path}: line {line}, interval_start",
                    hint="an interval has one row: take one of the two out",
                )
            values = dict(zip(more, rest, strict=False))
            yield LoadRow(at, imported, values.get("export_wh", 0), values.get("reactive_varh", 0))
        _check_apart(sorted(lines), grid, path)


def _check_apart(starts: Sequence[int], grid: Grid, path: Path) -> None:
    """Return if the rows are of the grid's intervals. Raises `IntervalsApart`.

    Energy of an hour taken for that of a quarter would be billed four times the demand that there was.
    """
    if len(starts) < _EVENLY_MIN:
        return
    apart = min(later - earlier for earlier, later in pairwise(starts))
    if apart > grid.step:
        raise IntervalsApart(
            f"no two rows are less than {apart // 60} minutes apart, and each counts for {grid.step // 60}",
            where=f"{path}: interval_start",
            hint=f"if they are of longer intervals say so: --interval-minutes {apart // 60}; the demand of"
            " shorter ones cannot be told from them",
        )


def _starts(grid: Grid) -> Callable[[str], int]:
    """What reads an interval's start, in seconds since 1970. It raises `BadCell`, `OffGrid`."""

    @lru_cache(_STARTS_MAX)
    def start(text: str) -> int:
        found = instant(text, grid.zone)
        if grid.boundary(found) != found:
            raise OffGrid(
                f"{text} is no start of an interval of {grid.step // 60} minutes",
                hint=_off_grid_hint(found, grid),
            )
        return found

    return start


def _off_grid_hint(start: int, grid: Grid) -> str:
    """What to do about an instant between the boundaries, which stand by the zone's offset of today."""
    local = datetime.fromtimestamp(start, grid.zone)
    if (local.hour * 60 + local.minute) * 60 % grid.step or local.second:
        return "is interval_minutes as the file has it?"
    return (
        f"the clocks of {grid.zone.key} had another offset then than intervals are counted by: give shorter"
        " intervals, which begin alike by both"
    )


def _side(text: str) -> Side:
    if text == "buy":
        return "buy"
    if text == "sell":
        return "sell"
    raise BadCell(f"{text[:80]!r} is no side", hint="buy or sell")


def _zone(text: str, feeders: Collection[str]) -> str:
    if text and feeders and text not in feeders:
        raise UnknownFeeder(
            f"the rules have no feeder {text[:80]!r}",
            hint=f"{did_you_mean(text[:80], feeders)}they have: {', '.join(sorted(feeders))[:200]}",
        )
    return text
