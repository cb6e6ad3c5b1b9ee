"""What a reader of a what-if should know: no error, and yet perhaps not as it seems."""

from collections.abc import Iterator
from datetime import datetime

from ledger.grid import Grid
from ledger.words import counted
from settlement.mechanisms import MECHANISMS
from settlement.plain.rows import PlainInterval
from settlement.plain.rules import RulesFile
from settlement.tariff import Tariff


class Seen:
    """What the intervals show on the way."""

    def __init__(self) -> None:
        self.intervals = 0
        self.rows = 0
        self.trades = 0
        self.upside_down = 0  # intervals in which the grid gives more than it asks
        self.first: int | None = None
        self.latest: int | None = None
        self.apart_min: int | None = None  # seconds between an interval and the next one

    def add(self, interval: PlainInterval, trades: int) -> None:
        """Count in an interval; they come in order of time."""
        self.intervals += 1
        self.rows += len(interval.metered)
        self.trades += trades
        self.upside_down += interval.band.feed_in_micro_per_kwh > interval.band.retail_micro_per_kwh
        if self.latest is None:
            self.first = interval.start
        else:
            apart = interval.start - self.latest
            self.apart_min = apart if self.apart_min is None else min(apart, self.apart_min)
        self.latest = interval.start


def notes(
    rules: RulesFile, tariff: Tariff | None, grid: Grid, seen: Seen, buildings: int, *, has_orders: bool
) -> Iterator[str]:
    """The notes, each a sentence without a stop."""
    if has_orders and not MECHANISMS[rules.mechanism].takes_orders:
        yield f"{rules.mechanism} takes no orders: everybody takes part with all that was metered"
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
    settled = {table.feeder for table in rules.buildings.values()}
    for index, wheeling in enumerate(rules.wheeling):
        for feeder in (wheeling.source, wheeling.target):
            if feeder not in settled and not has_orders:
                yield f"wheeling[{index}] names {feeder}, and no building is on it"
    if tariff is not None and seen.first is not None and seen.latest is not None:
        first, last = (datetime.fromtimestamp(at, tariff.zone).year for at in (seen.first, seen.latest))
        yield from tariff.notes(range(first, last + 1))
