"""What flowed between two marks of one meter: one measured interval, or a gap and its estimate.

The registers' difference is energy that really flowed, so the estimates of a gap sum to it exactly. Gaps up
to two hours are estimated linearly, longer ones in the shape of a like day (same meter, same time of day, a
week or two or a day before), linearly where there is none.

A gap's estimate follows from its two marks and from what was measured when it came to be, told by
`decided_by`. It may therefore be computed at once or much later: the result is the same.

A silence of more than `GAP_SECONDS_MAX` is no gap: which interval its energy belongs to, nobody can say.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from typing import Literal, NamedTuple, Protocol

import msgspec

from ledger.grid import Grid
from ledger.plausibility import Registers

LINEAR_MAX_SECONDS = 2 * 3_600
LIKE_DAYS_BACK = (7, 14, 1)
"""Where the shape of a long gap is looked for, in days back."""
GAP_SECONDS_MAX = 6 * 366 * 86_400
"""The longest gap whose intervals are estimated; what two readings can ask for has a bound."""
INTERVALS_AT_ONCE = 2_000
"""So many are asked for or written at a time: a gap of years is one of many things that go on."""

Quality = Literal["measured", "estimated"]
Weights = Sequence[tuple[int, int]]
"""How much of a gap's import and export falls on each of its intervals, in proportion."""
LINEAR: Weights = ()
"""The weights of a gap without a shape."""


class Mark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Registers that a reading told at a boundary; `measured` unless it was itself an estimate."""

    at: int
    import_wh: int
    export_wh: int
    position: int
    epoch: int
    measured: bool = True

    def registers(self) -> Registers:
        """The same without where it came from."""
        return Registers(self.at, self.import_wh, self.export_wh)


class Interval(msgspec.Struct, frozen=True, gc=False):
    """The energy of [start, start + step) and the registers at its end, which are `spread` within a gap.

    `position` is that of the reading that told the registers at the end, or at the gap's end; `decided_by`
    that of the event since which the interval stands as it is.
    """

    start: int
    import_wh: int
    export_wh: int
    import_register_wh: int
    export_register_wh: int
    end_quality: Literal["measured", "estimated", "spread"]
    quality: Quality
    epoch: int
    position: int
    decided_by: int


class Gap(NamedTuple):
    """Two neighbouring marks of one epoch, and the position of the event that made them neighbours."""

    first: Mark
    second: Mark
    decided_by: int

    @property
    def is_linear(self) -> bool:
        """Whether it is too short for the shape of a like day."""
        return self.second.at - self.first.at <= LINEAR_MAX_SECONDS


def can_be_joined(first: Mark, second: Mark) -> bool:
    """Whether what flowed between two marks can be told by interval, measured or estimated."""
    return second.at - first.at <= GAP_SECONDS_MAX


class Gaps:
    """The gaps of one meter that are still to be estimated, in order of time."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._gaps: dict[int, Gap] = {}

    def put(self, gap: Gap) -> None:
        """Note a gap, in the place of one that has been divided."""
        start = gap.first.at
        if start not in self._gaps:
            self._starts.insert(bisect_right(self._starts, start), start)
        self._gaps[start] = gap

    def __iter__(self) -> Iterator[Gap]:
        return iter(self._gaps.values())

    def mark_before(self, at: int) -> Mark | None:
        """The newest mark at or before `at` that one of the gaps has."""
        place = bisect_right(self._starts, at)
        if place == 0:
            return None
        gap = self._gaps[self._starts[place - 1]]
        return gap.second if gap.second.at <= at else gap.first

    def mark_after(self, at: int) -> Mark | None:
        """The oldest mark after `at` that one of the gaps has."""
        place = bisect_right(self._starts, at)
        if place > 0 and (gap := self._gaps[self._starts[place - 1]]).second.at > at:
            return gap.second
        return self._gaps[self._starts[place]].first if place < len(self._starts) else None


def newest(*marks: Mark | None) -> Mark | None:
    """The latest of some marks; at one boundary that of the newest epoch, measured before estimated."""
    found = [mark for mark in marks if mark is not None]
    return max(found, key=lambda mark: (mark.at, mark.epoch, mark.measured), default=None)


def oldest(*marks: Mark | None) -> Mark | None:
    """The earliest of some marks; at one boundary that of the oldest epoch, measured before estimated."""
    found = [mark for mark in marks if mark is not None]
    return min(found, key=lambda mark: (mark.at, mark.epoch, not mark.measured), default=None)


class Measurements(Protocol):
    """What of a meter has been measured."""

    async def measured(
        self, meter: str, starts: Sequence[int], decided_by: int
    ) -> dict[int, tuple[int, int]]:
        """Import and export of those intervals that the events up to `decided_by` measured, by start."""


async def estimate(meter: str, gap: Gap, grid: Grid, measurements: Measurements) -> Iterator[Interval]:
    """The intervals of a gap; `measurements` are asked for long ones only."""
    return intervals(gap, grid, await _weights(meter, gap, grid, measurements))


def intervals(gap: Gap, grid: Grid, weights: Weights) -> Iterator[Interval]:
    """The intervals between two marks; their energies sum to the registers' difference."""
    first, second, decided_by = gap
    ends = range(first.at + grid.step, second.at + 1, grid.step)
    imports = _spread(first.import_wh, second.import_wh, len(ends), [weight[0] for weight in weights])
    exports = _spread(first.export_wh, second.export_wh, len(ends), [weight[1] for weight in weights])
    is_measured = len(ends) == 1 and first.measured and second.measured
    quality: Quality = "measured" if is_measured else "estimated"
    told: Quality = "measured" if second.measured else "estimated"
    import_before, export_before = first.import_wh, first.export_wh
    for end, import_wh, export_wh in zip(ends, imports, exports, strict=True):
        yield Interval(
            end - grid.step, import_wh - import_before, export_wh - export_before, import_wh, export_wh,
            told if end == second.at else "spread", quality, second.epoch, second.position, decided_by,
        )  # fmt: skip
        import_before, export_before = import_wh, export_wh


async def _weights(meter: str, gap: Gap, grid: Grid, measurements: Measurements) -> Weights:
    if not gap.is_linear:
        for days in LIKE_DAYS_BACK:
            if (like := await _like_days(meter, gap, grid, measurements, days)) is not None:
                return like
    return LINEAR


async def _like_days(
    meter: str, gap: Gap, grid: Grid, measurements: Measurements, days: int
) -> Weights | None:
    """What was measured so many days before a gap's intervals; none where one of them was not."""
    weights: list[tuple[int, int]] = []
    starts = iter(range(gap.first.at, gap.second.at, grid.step))
    while part := list(islice(starts, INTERVALS_AT_ONCE)):
        like = [grid.like_instant(start, days) for start in part]
        known = await measurements.measured(meter, like, gap.decided_by)
        if len(known) < len(set(like)):
            return None
        weights += [known[start] for start in like]
    return weights


def _spread(begin: int, end: int, count: int, weights: Sequence[int]) -> Iterator[int]:
    """So many registers from `begin` to `end`, shaped by `weights` if they have any; the last is exactly
    `end`.

    Cumulative shares are rounded down, so the differences are integers, never negative, and telescope.
    """
    total = sum(weights)
    shares = accumulate(weights) if total else range(1, count + 1)
    for share in shares:
        yield begin + (end - begin) * share // (total or count)
