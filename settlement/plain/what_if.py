"""A what-if on plain files: who would have paid what under other rules."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from ledger.garbage import no_search_for_cycles
from ledger.grid import Grid, UnknownZone
from ledger.words import did_you_mean
from ledger.workers import Aside
from settlement.batch import is_worth_a_process
from settlement.interval import Rules, settle
from settlement.known_building import UnknownBuilding
from settlement.plain.notes import Seen, notes
from settlement.plain.reading import GridPrices, read_energies, read_orders
from settlement.plain.rows import PlainInterval, Told, new_rows, sorted_rows
from settlement.plain.rules import RulesFile, RulesInvalid, parameters_of, place_in, read_rules
from settlement.plain.values import SECONDS_MAX
from settlement.plain.writing import RowFiles, more_rows, result_files
from settlement.standing import Standing, Standings
from settlement.tariff import Tariff, UnknownTariff, load_tariff

ROWS = "rows"
DEFAULT_ZONE = "Asia/Bangkok"


class Result(NamedTuple):
    """What came out: every building, and the community as one; `notes` are what a reader should know."""

    intervals: int
    trades: int
    buildings: list[Standing]
    community: Standing
    currency: str
    mechanism: str
    notes: list[str]


class _Files(NamedTuple):
    """What is settled, and by what."""

    energies: Path
    rules: Path
    orders: Path | None


class _Read(NamedTuple):
    """The rules as they were read."""

    file: RulesFile
    tariff: Tariff | None
    grid: Grid
    rules: Rules


class _Part(NamedTuple):
    """What came of some intervals."""

    standings: Standings
    seen: Seen


def settle_files(
    energies: Path, rules: Path, orders: Path | None, out: Path, told: Told = lambda what, done: None
) -> Result:
    """Settle `energies` by `rules` and write the result into the folder `out`.

    Raises a `BadInput` that names file, line and column; then nothing is written. Also `WorkerLost`.
    """
    given = _Files(energies, rules, orders)
    file, tariff, grid, settled_by = read = _read(rules)
    with result_files(out) as files:
        rows_file = files.folder / ROWS
        with new_rows(rows_file, energies, orders) as rows:
            rows.add_energies(read_energies(energies, grid, _prices(file, tariff)), told)
            _check_buildings(file, rows.buildings, rules)
            if orders is not None:
                feeders = file.feeders() if file.wheeling else ()
                rows.add_orders(read_orders(orders, grid, feeders), told)
            rows.end()
            count, middle = rows.middle()
            if not is_worth_a_process(count):
                standings, seen = _settled(given, read, rows.intervals(0, SECONDS_MAX), files, told)
            else:
                with Aside(_settle_rest, given, rows_file, middle) as rest:
                    standings, seen = _settled(given, read, rows.intervals(0, middle), files, told)
                    later = rest.result()
                standings.merge(later.standings)
                seen.merge(later.seen)
                files.append_rows()
                told("intervals settled", seen.intervals)
        buildings = list(standings.rows())
        files.buildings(buildings)
    told_of = list(notes(file, settled_by, tariff, grid, seen, buildings, has_orders=orders is not None))
    return Result(
        seen.intervals, seen.trades, buildings, standings.total(), file.currency, file.mechanism, told_of
    )


def _read(path: Path) -> _Read:
    file = read_rules(path)
    tariff = tariff_of(file, path)
    rules = Rules(
        file.mechanism, parameters_of(file.parameters), file.routes(), _feeders(file, path),
        file.operator_fee_micro_per_kwh,
    )  # fmt: skip
    return _Read(file, tariff, _grid(file, tariff, path), rules)


def _settle_rest(given: _Files, rows_file: Path, begin: int) -> _Part:
    """Settle the intervals from `begin` on, in a process of its own."""
    with (
        sorted_rows(rows_file, given.energies, given.orders) as rows,
        more_rows(rows_file.parent) as files,
    ):
        return _settled(given, _read(given.rules), rows.intervals(begin, SECONDS_MAX), files, _tell_nobody)


def _tell_nobody(what: str, done: int) -> None:
    """Who started this process counts by itself."""


def _settled(
    given: _Files, read: _Read, intervals: Iterable[PlainInterval], files: RowFiles, told: Told
) -> _Part:
    standings, seen = Standings(), Seen()
    with no_search_for_cycles():
        for interval in intervals:
            try:
                settled = settle(read.rules, interval.band, interval.metered, interval.orders)
            except UnknownBuilding as error:
                error.where = f"{given.energies}: line {interval.lines[error.building]}, building"
                raise
            files.interval(interval.shown, settled.trades, settled.shares, settled.journal())
            standings.add(interval.band, interval.metered, settled)
            seen.add(interval, len(settled.trades))
            told("intervals settled", seen.intervals)
    return _Part(standings, seen)


def tariff_of(file: RulesFile, path: Path) -> Tariff | None:
    """The tariff that the rules name. Raises `UnknownTariff`, `RulesInvalid`."""
    if file.tariff is None:
        return None
    is_file = file.tariff.endswith(".toml")  # beside the rules
    try:
        tariff = load_tariff(str(path.parent / file.tariff) if is_file else file.tariff)
    except UnknownTariff as error:
        error.where = place_in(path, "tariff")
        raise
    if tariff.file.currency != file.currency:
        raise RulesInvalid(
            f"the tariff {tariff.name} is in {tariff.file.currency}, the rules are in {file.currency}",
            where=place_in(path, "currency"),
        )
    return tariff


def _grid(file: RulesFile, tariff: Tariff | None, path: Path) -> Grid:
    try:
        return Grid(file.interval_minutes, file.zone or (tariff.file.zone if tariff else DEFAULT_ZONE))
    except UnknownZone as error:
        error.where = place_in(path, "zone")
        raise


def _prices(file: RulesFile, tariff: Tariff | None) -> GridPrices:
    return GridPrices(
        file.retail_micro_per_kwh or 0, file.feed_in_micro_per_kwh or 0, tariff.band if tariff else None
    )


def _feeders(file: RulesFile, path: Path) -> Callable[[str], str]:
    """The feeder of a building; where there is no wheeling, none has to be named."""
    feeders = {building: table.feeder for building, table in file.buildings.items()}
    if not file.wheeling:
        return lambda building: feeders.get(building, "")

    def feeder_of(building: str) -> str:
        try:
            return feeders[building]
        except KeyError:
            raise UnknownBuilding(
                f"the rules do not say on which feeder {building} is",
                building,
                hint=f"{did_you_mean(building, feeders)}add to {path}: "
                f'[buildings."{building}"] with feeder = ".."',
            ) from None

    return feeder_of


def _check_buildings(file: RulesFile, buildings: Collection[str], path: Path) -> None:
    """Return if the energies have every building that the rules name. Raises `UnknownBuilding`."""
    for place, names in (("parameters.keys", file.parameters.keys), ("buildings", file.buildings)):
        for building in names:
            if building not in buildings:
                raise UnknownBuilding(
                    f"there is no energy of {building}",
                    building,
                    where=place_in(path, f"{place}.{building}"),
                    hint=f"{did_you_mean(building, buildings)}rules are for the buildings of the energies",
                )
