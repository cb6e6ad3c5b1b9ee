"""What the power of a building and of its meters looks like."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from ledger.postgres.power import PowerRow

SECONDS_PER_HOUR = 3_600
STALE_INTERVALS = 2

Kind = Literal["instantaneous", "interval-average"]


class PowerShape(msgspec.Struct, frozen=True):
    """A power in whole watts, taken from the grid above zero and given to it below.

    `kind` tells what it is: `instantaneous`, as the meter read it at `until` (`since` is then the same), or
    `interval-average`, what the energy of the interval from `since` to `until` comes to; a sum of both is an
    `interval-average`. `age_seconds` is counted from `until`; `stale` is what is older than two intervals.
    """

    power_w: int
    kind: Kind
    since: datetime
    until: datetime
    quality: str
    age_seconds: int
    stale: bool


class MeterPowerShape(msgspec.Struct, frozen=True):
    """A meter and the newest power that the book knows of it; none before its first energy."""

    meter: str
    role: str
    power: PowerShape | None


class BuildingPowerShape(msgspec.Struct, frozen=True):
    """The newest power of a building's meters, and of its connection meters together.

    The total spans all that is summed, from the earliest `since` to the earliest `until`; it is none where
    one of the connection meters has none. Other meters are told and not summed.
    """

    building: str
    total: PowerShape | None
    meters: list[MeterPowerShape]


def building_power(
    building: str, rows: Sequence[PowerRow], step: timedelta, now: datetime
) -> BuildingPowerShape:
    """As the API shows it."""
    meters = [MeterPowerShape(row.meter, row.role, _newest(row, step, now)) for row in rows]
    return BuildingPowerShape(
        building, _total([each for each in meters if each.role == "connection"]), meters
    )


def _newest(row: PowerRow, step: timedelta, now: datetime) -> PowerShape | None:
    """Of the newest reading, or of the newest interval where that ends later."""
    end = row.start + step if row.start is not None else None
    reading = row.reading
    if reading is not None and reading.power_w is not None and (end is None or reading.measured_at >= end):
        at = reading.measured_at
        return _shape(reading.power_w, "instantaneous", at, at, reading.quality, step, now)
    if row.start is None or end is None or row.import_wh is None or row.export_wh is None:
        return None
    # Whole watts, towards zero: less than a watt is beyond what a meter shows.
    taken, given = (
        wh * SECONDS_PER_HOUR // int(step.total_seconds()) for wh in (row.import_wh, row.export_wh)
    )
    return _shape(taken - given, "interval-average", row.start, end, row.quality or "", step, now)


def _shape(
    power_w: int, kind: Kind, since: datetime, until: datetime, quality: str, step: timedelta, now: datetime
) -> PowerShape:
    age = now - until
    return PowerShape(
        power_w, kind, since, until, quality, int(age.total_seconds()), age > STALE_INTERVALS * step
    )


def _total(meters: Sequence[MeterPowerShape]) -> PowerShape | None:
    found = [each.power for each in meters if each.power is not None]
    if not found or len(found) < len(meters):
        return None
    is_instant = all(each.kind == "instantaneous" for each in found)
    return PowerShape(
        sum(each.power_w for each in found),
        "instantaneous" if is_instant and len({each.until for each in found}) == 1 else "interval-average",
        min(each.since for each in found),
        min(each.until for each in found),
        "measured" if all(each.quality == "measured" for each in found) else "estimated",
        max(each.age_seconds for each in found),
        any(each.stale for each in found),
    )
