"""What makes two readings of one meter plausible neighbours: pure rules, used at the edge and in the book.

The gateway asks them to raise an alarm on site at once; the energy projection and the auditor ask them to
decide which readings count, since a reading may also come from a device that asks nobody.
"""

from typing import NamedTuple

ROLLBACK = "register-rollback"
GLITCH_ZERO = "glitch-zero"
JUMP = "impossible-jump"

_MARGIN_NUMERATOR, _MARGIN_DENOMINATOR = 12, 10
"""Meters may be loaded a little above their rating for a while."""
_SLACK_WH = 1_000
"""What a coarse register (0.1 or 1 kWh steps) may add to any difference."""
_SECONDS_PER_HOUR = 3_600


class Registers(NamedTuple):
    """A meter's cumulative registers at an instant (whole seconds since 1970, UTC)."""

    at: int
    import_wh: int
    export_wh: int


def energy_max_wh(seconds: int, rated_w: int) -> int:
    """The most energy that a connection of `rated_w` can carry in `seconds`, with its margin."""
    hours_w = rated_w * seconds * _MARGIN_NUMERATOR
    return hours_w // (_SECONDS_PER_HOUR * _MARGIN_DENOMINATOR) + _SLACK_WH


def fault(before: Registers, after: Registers, rated_w: int) -> str:
    """Why `after` cannot follow `before` (which is earlier), as a code; empty when it can."""
    import_wh = after.import_wh - before.import_wh
    export_wh = after.export_wh - before.export_wh
    if import_wh < 0 or export_wh < 0:
        return GLITCH_ZERO if after.import_wh == 0 and after.export_wh == 0 else ROLLBACK
    most = energy_max_wh(after.at - before.at, rated_w)
    return JUMP if import_wh > most or export_wh > most else ""
