"""A what-if on plain files: who would have paid what under other rules."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ledger.errors import BadInput
from ledger.grid import Grid
from settlement.interval import Rules, settle
from settlement.plain.reading import GridPrices, read_energies, read_orders
from settlement.plain.rows import SortedRows, sorted_rows
from settlement.plain.rules import RulesFile, parameters_of, read_rules
from settlement.plain.writing import result_files
from settlement.standing import Standing, Standings
from settlement.tariff import load_tariff

Told = Callable[[str, int], None]
"""Told now and then what is done and how much of it."""


class UnknownBuilding(BadInput):
    """A building whose feeder the rules do not name."""

    code = "unknown-building"


class Result(NamedTuple):
    """What came out: every building, and the community as one."""

    intervals: int
    trades: int
    buildings: list[Standing]
    community: Standing
    currency: str


def settle_files(
    energies: Path, rules: Path, orders: Path | None, out: Path, told: Told = lambda what, done: None
) -> Result:
    """Settle `energies` by `rules` and write the result into the folder `out`.

    Raises a `BadInput` that names file, line and column; then nothing is written.
    """
    file = read_rules(rules)
    grid = Grid(file.interval_minutes, file.zone)
    settled_by = Rules(
        file.mechanism, parameters_of(file.parameters), file.routes(), _feeders(file, rules),
        file.operator_fee_micro_per_kwh,
    )  # fmt: skip
    with sorted_rows() as rows:
        rows.add_energies(read_energies(energies, grid, _prices(file)), str(energies))
        if orders is not None:
            rows.add_orders(read_orders(orders, grid), str(orders))
        return _settle_all(rows, settled_by, out, file.currency, told)


def _settle_all(rows: SortedRows, rules: Rules, out: Path, currency: str, told: Told) -> Result:
    standings = Standings()
    intervals = trades = 0
    with result_files(out) as files:
        for interval in rows.intervals():
            settled = settle(rules, interval.band, interval.metered, interval.orders)
            files.interval(interval.shown, settled.trades, settled.shares, settled.journal())
            standings.add(interval.band, interval.metered, settled)
            intervals, trades = intervals + 1, trades + len(settled.trades)
            told("intervals settled", intervals)
        buildings = list(standings.rows())
        files.buildings(buildings)
    return Result(intervals, trades, buildings, standings.total(), currency)


def _prices(file: RulesFile) -> GridPrices:
    if file.tariff is not None:
        return GridPrices(0, 0, lru_cache(8)(load_tariff(file.tariff).band))
    return GridPrices(file.retail_micro_per_kwh or 0, file.feed_in_micro_per_kwh or 0)


def _feeders(file: RulesFile, path: Path) -> Callable[[str], str]:
    """The feeder of a building; where there is no wheeling, none has to be named."""
    feeders = {building: table.feeder for building, table in file.buildings.items()}

    def feeder_of(building: str) -> str:
        try:
            return feeders[building]
        except KeyError:
            if not file.wheeling:
                return ""
            raise UnknownBuilding(
                f"the rules do not say on which feeder {building} is",
                where=f"{path}: buildings",
                hint=f'add [buildings.{building}] with feeder = ".."',
            ) from None

    return feeder_of
