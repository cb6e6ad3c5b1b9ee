"""What a building takes and gives: the sum of what its connection meters measured."""

from collections.abc import Sequence
from typing import NamedTuple


class Energy(NamedTuple):
    """Intervals in order of time, column by column: starts in seconds since 1970, Wh taken and given, and of
    what quality that is: measured, estimated, or incomplete."""

    starts: Sequence[int]
    imports_wh: Sequence[int]
    exports_wh: Sequence[int]
    qualities: Sequence[str]


class Metered(NamedTuple):
    """What a meter measured of a building, for which it counts in [since, until)."""

    since: int
    until: int | None
    energy: Energy


class _Sum:
    """An interval of several meters."""

    __slots__ = ("export_wh", "import_wh", "is_measured", "meters")

    def __init__(self) -> None:
        self.import_wh = self.export_wh = self.meters = 0
        self.is_measured = True


def together(meters: Sequence[Metered], most: int) -> Energy:
    """The first `most` intervals of a building, of which each meter's first `most` are given.

    An interval that a meter lacks although it counted then is incomplete.
    """
    if len(meters) == 1:
        return meters[0].energy
    sums: dict[int, _Sum] = {}
    for meter in meters:
        for start, import_wh, export_wh, quality in zip(*meter.energy, strict=True):
            found = sums.setdefault(start, _Sum())
            found.import_wh += import_wh
            found.export_wh += export_wh
            found.meters += 1
            found.is_measured &= quality == "measured"
    starts = sorted(sums)[:most]
    shown = [sums[start] for start in starts]
    return Energy(
        starts,
        [each.import_wh for each in shown],
        [each.export_wh for each in shown],
        [_quality(each, start, meters) for start, each in zip(starts, shown, strict=True)],
    )


def _quality(found: _Sum, start: int, meters: Sequence[Metered]) -> str:
    counting = sum(meter.since <= start and (meter.until is None or start < meter.until) for meter in meters)
    if found.meters < counting:
        return "incomplete"
    return "measured" if found.is_measured else "estimated"
