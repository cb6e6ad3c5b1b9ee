"""What a reader of a what-if should know: no error, and yet perhaps not as it seems."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from ledger.grid import Grid
from ledger.words import counted
from settlement.interval import Rules, settle
from settlement.market import Routes
from settlement.mechanisms import MECHANISMS
from settlement.plain.rows import PlainInterval
from settlement.plain.rules import ParametersTable, RulesFile
from settlement.standing import Standing
from settlement.tariff import Tariff


class Seen:
    """What the intervals show on the way."""

    def __init__(self) -> None:
        self.intervals = 0
        self.rows = 0
        self.trades = 0
        self.upside_down = 0  # intervals in which the grid gives more than it asks
        self.able = 0  # intervals with both surplus and demand, and prices to trade at
        self.idle: PlainInterval | None = None  # the first of these in which nobody traded
        self.idle_count = 0
        self.first: int | None = None
        self.latest: int | None = None
        self.apart_min: int | None = None  # seconds between an interval and the next one

    def add(self, interval: PlainInterval, trades: int) -> None:
        """Count in an interval; they come in order of time."""
        self.intervals += 1
        self.rows += len(interval.metered)
        self.trades += trades
        is_upside_down = interval.band.feed_in_micro_per_kwh > interval.band.retail_micro_per_kwh
        self.upside_down += is_upside_down
        if not is_upside_down and _has_both_sides(interval):
            self.able += 1
            if not trades:
                self.idle = self.idle or interval
                self.idle_count += 1
        if self.latest is None:
            self.first = interval.start
        else:
            apart = interval.start - self.latest
            self.apart_min = apart if self.apart_min is None else min(apart, self.apart_min)
        self.latest = interval.start

    def merge(self, later: "Seen") -> None:
        """Count in what was seen of the intervals after these."""
        self.intervals += later.intervals
        self.rows += later.rows
        self.trades += later.trades
        self.upside_down += later.upside_down
        self.able += later.able
        self.idle = self.idle or later.idle
        self.idle_count += later.idle_count
        if self.latest is not None and later.first is not None:
            between = later.first - self.latest
            self.apart_min = min(filter(None, (self.apart_min, between, later.apart_min)))
        self.first = later.first if self.first is None else self.first
        self.latest = later.latest or self.latest


def _has_both_sides(interval: PlainInterval) -> bool:
    return any(each.import_milliwh for each in interval.metered) and any(
        each.export_milliwh for each in interval.metered
    )


def notes(
    file: RulesFile,
    rules: Rules,
    tariff: Tariff | None,
    grid: Grid,
    seen: Seen,
    buildings: Sequence[Standing],
    *,
    has_orders: bool,
) -> Iterator[str]:
    """The notes, each a sentence without a stop; `rules` are those of the file."""
    yield from _of_parameters(file)
    if has_orders and not MECHANISMS[file.mechanism].takes_orders:
        yield f"{file.mechanism} takes no orders: everybody takes part with all that was metered"
    yield from _of_rows(grid, seen, len(buildings))
    if seen.idle is not None:
        some = f"in {seen.idle_count:,} of {counted(seen.able, 'interval')} " if seen.trades else ""
        yield (
            f"nothing was traded {some}where there was both surplus and demand, first at "
            f"{seen.idle.shown}: {_hindrance(rules, seen.idle)}"
        )
    losing = sum(each.saving_micro < 0 for each in buildings)
    if losing and file.mechanism == "bill_sharing":
        yield (
            "neighbours give each other for nothing under bill_sharing: "
            f"{counted(losing, 'building pays', 'buildings pay')} more than without a market"
        )
    if not has_orders:
        yield from _of_feeders(file)
    yield from _of_tariff(file, tariff, seen)


def _of_parameters(file: RulesFile) -> Iterator[str]:
    """What is told in vain, or counts in another way than as it is written."""
    table, usual = file.parameters, ParametersTable()
    read = MECHANISMS[file.mechanism].parameters
    for name in table.__struct_fields__:
        if name not in read and getattr(table, name) != getattr(usual, name):
            yield f"parameters.{name} does not count: {file.mechanism} does not look at it"
    if file.has_told_keys and (whole := sum(table.keys.values(), Decimal(0))) != 1:
        yield f"the keys sum to {whole.normalize():f}: each counts as its part of that"
    if table.keys and "keys" in read and not file.has_told_keys:
        yield f"parameters.keys does not count: a {table.kind} key follows from each interval's demand"


def _of_rows(grid: Grid, seen: Seen, buildings: int) -> Iterator[str]:
    if seen.apart_min is not None and seen.apart_min > grid.step:
        yield (
            f"intervals begin {seen.apart_min // 60} minutes apart or more, the rules say that each has "
            f"{grid.step // 60}"
        )
    if missing := seen.intervals * buildings - seen.rows:
        yield (
            f"{counted(missing, 'row')} of {seen.intervals * buildings:,} missing: a building without a row "
            "took and gave nothing in that interval"
        )
    if seen.upside_down:
        yield (
            f"in {counted(seen.upside_down, 'interval')} the grid gives more for surplus than it asks for "
            "energy: there neighbours have nothing to gain from each other"
        )


def _hindrance(rules: Rules, interval: PlainInterval) -> str:
    """What keeps neighbours from trading in an interval: that without which they would."""
    free = rules._replace(operator_fee_micro_per_kwh=0, routes=Routes())
    tries = {
        "the operator's fee": (free._replace(routes=rules.routes), interval.orders),
        "the orders": (rules, {}),
        "wheeling": (rules._replace(routes=free.routes), interval.orders),
        "fee, orders and wheeling together": (free, {}),
    }
    for what, (changed, orders) in tries.items():
        if settle(changed, interval.band, interval.metered, orders).trades:
            return f"there would be trades without {what}"
    return "the keys leave nothing to buildings with demand"


def _of_feeders(file: RulesFile) -> Iterator[str]:
    settled = {table.feeder for table in file.buildings.values()}
    for index, wheeling in enumerate(file.wheeling):
        for feeder in (wheeling.source, wheeling.target):
            if feeder not in settled:
                yield f"wheeling[{index}] names {feeder}, and no building is on it"


def _of_tariff(file: RulesFile, tariff: Tariff | None, seen: Seen) -> Iterator[str]:
    if tariff is None or seen.first is None or seen.latest is None:
        return
    if file.zone not in (None, tariff.file.zone):
        yield (
            f"the zone {file.zone} is of instants without an offset: the tariff's hours are those of "
            f"{tariff.file.zone}"
        )
    first, last = (datetime.fromtimestamp(at, tariff.zone).year for at in (seen.first, seen.latest))
    yield from tariff.notes(range(first, last + 1))
