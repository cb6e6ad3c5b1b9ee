"""What stands in a cell, as an integer with its unit; and what is wrong with a cell that is none."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from zoneinfo import ZoneInfo

from ledger.errors import BadInput
from settlement.amounts import MILLIWH_PER_WH

MILLIWH_MAX = 10**15
"""A gigawatt-hour in one interval: more is a slip of the pen."""
PRICE_MAX = 10**12


class BadCell(BadInput):
    """A cell does not hold what its column is for."""

    code = "bad-cell"


class NegativeEnergy(BadCell):
    """An energy below zero: import and export are two columns, neither ever negative."""

    code = "negative-energy"


def milliwh(text: str) -> int:
    """Watt-hours with up to three decimals, in milliwatt-hours. Raises `BadCell`, `NegativeEnergy`."""
    return _thousandths(text, 1)


def milliwh_of_kwh(text: str) -> int:
    """Kilowatt-hours with up to six decimals, in milliwatt-hours. Raises `BadCell`, `NegativeEnergy`."""
    return _thousandths(text, 1_000)


def _thousandths(text: str, factor: int) -> int:
    try:
        value = Decimal(text) * (MILLIWH_PER_WH * factor)
        is_negative, is_huge = value < 0, value > MILLIWH_MAX
    except InvalidOperation:
        raise BadCell(
            f"{text[:40]!r} is no energy", hint="a number is meant, such as 1250 or 1250.125"
        ) from None
    if is_negative:
        raise NegativeEnergy(
            f"the energy {text[:40]} is below zero", hint="import and export are two columns, both from 0 up"
        )
    if is_huge:
        raise BadCell(
            f"{text[:40]} is more than a gigawatt-hour in an interval", hint="is it in this column's unit?"
        )
    if value != value.to_integral_value():
        raise BadCell(f"{text[:40]} is finer than 0.001 Wh", hint="round it where it comes from")
    return int(value)


def micro_per_kwh(text: str) -> int:
    """A price in whole micro-units a kilowatt-hour. Raises `BadCell`."""
    try:
        value = int(text) if len(text) <= len(str(PRICE_MAX)) else -1
    except ValueError:
        value = -1
    if not 0 <= value <= PRICE_MAX:
        raise BadCell(
            f"{text[:40]!r} is no price",
            hint="whole micro-units a kWh are meant: 4184900 for 4.1849 of the currency",
        )
    return value


@lru_cache(4_096)
def instant(text: str, zone: ZoneInfo) -> int:
    """Seconds since 1970 (UTC); what has no offset is local time of `zone`. Raises `BadCell`."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadCell(f"{text[:40]!r} is no instant", hint="write it as 2026-06-01T00:15:00+07:00") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone)
    seconds = found.astimezone(UTC).timestamp()
    if seconds != int(seconds):
        raise BadCell(f"{text!r} is no whole second")
    return int(seconds)
