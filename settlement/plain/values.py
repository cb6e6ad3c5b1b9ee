"""What stands in a cell, as an integer with its unit; and what is wrong with a cell that is none."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from unicodedata import is_normalized, normalize
from zoneinfo import ZoneInfo

from ledger.errors import BadInput
from ledger.market_events import PRICE_MICRO_MAX
from settlement.amounts import MILLIWH_PER_WH

MILLIWH_MAX = 10**15
"""A terawatt-hour in one interval: more is a slip of the pen."""
PRICE_MAX = PRICE_MICRO_MAX
SECONDS_MAX = 7_258_118_400

_PLAIN_DIGITS = 9
"""A whole number of so many digits is within the bounds, in watt-hours and in kilowatt-hours."""
_EXACT_DIGITS = 28
_NUMBER = re.compile(r"\s*[+-]?\d{1,20}(\.\d{0,20})?([eE][+-]?\d{1,2})?\s*", re.ASCII)
_NAME = re.compile(r"[^\s,/=+@-]([^,/]{0,62}[^\s,/])?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


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


def millivarh(text: str) -> int:
    """Reactive energy in var-hours with up to three decimals, in thousandths. Raises `BadCell`."""
    return _from_zero(text, "write 0 where reactive energy was given back: what was taken is billed")


def ordered_milliwh(text: str) -> int:
    """The energy of an order, in milliwatt-hours. Raises `BadCell`, `NegativeEnergy`."""
    return _from_zero(text, "an order's side says whether it buys or sells, its energy is from 0 up")


def _from_zero(text: str, hint: str) -> int:
    try:
        return milliwh(text)
    except NegativeEnergy as error:
        error.hint = hint
        raise


def _thousandths(text: str, factor: int) -> int:
    if len(text) <= _PLAIN_DIGITS and text.isascii() and text.isdigit():
        return int(text) * MILLIWH_PER_WH * factor
    if not _NUMBER.fullmatch(text):
        raise BadCell(f"{text[:40]!r} is no energy", hint="a number is meant, such as 1250 or 1250.125")
    exact = Decimal(text)
    if len(exact.as_tuple().digits) > _EXACT_DIGITS:  # beyond that the product would be rounded
        raise BadCell(f"{text[:40]} has more digits than an energy has", hint="round it where it comes from")
    value = exact * (MILLIWH_PER_WH * factor)
    if value < 0:
        raise NegativeEnergy(
            f"the energy {text[:40]} is below zero", hint="import and export are two columns, both from 0 up"
        )
    if value > MILLIWH_MAX:
        raise BadCell(
            f"{text[:40]} is more than a terawatt-hour in an interval", hint="is it in this column's unit?"
        )
    if value != value.to_integral_value():
        raise BadCell(f"{text[:40]} is finer than 0.001 Wh", hint="round it where it comes from")
    return int(value)


def micro_per_kwh(text: str) -> int:
    """A price in whole micro-units a kilowatt-hour. Raises `BadCell`."""
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(PRICE_MAX)) else -1
    if not 0 <= value <= PRICE_MAX:
        raise BadCell(
            f"{text[:40]!r} is no price",
            hint="whole micro-units a kWh are meant, from 0 up: 4184900 for 4.1849 of the currency",
        )
    return value


@lru_cache(1 << 16)
def name(text: str) -> str:
    """A building's name. Raises `BadCell`.

    No comma or slash, which part cells and accounts, and nothing that a spreadsheet would run. What looks the
    same has to be the same, in this file and in others, so a name is in Unicode's form NFC.
    """
    if not is_normalized("NFC", text):
        raise BadCell(
            f"{text[:80]!r} is not in Unicode's form NFC, and would not be what looks like it elsewhere",
            hint=f"write it as {normalize('NFC', text[:80])!a}; most editors do that by themselves",
        )
    if _NAME.fullmatch(text) and text.isprintable():
        return text
    is_formula = text[:1] in ("=", "+", "-", "@")
    raise BadCell(
        f"{text[:80]!r} is no name of a building",
        hint="a spreadsheet would take it for a formula"
        if is_formula
        else "1 to 64 characters without comma, slash, or a space at either end",
    )


def instant(text: str, zone: ZoneInfo) -> int:
    """Seconds since 1970 (UTC); what has no offset is local time of `zone`. Raises `BadCell`."""
    text = text.strip()
    try:
        if text[4:5] != "-" or text[7:8] != "-":
            raise ValueError  # 20260601 and 2026-W23-1 are ISO's too, and easily something else
        found = datetime.fromisoformat(text)
        found = found if found.tzinfo is not None else _local(found, zone)
        since = found - _EPOCH
    except (ValueError, OverflowError):
        raise BadCell(f"{text[:40]!r} is no instant", hint="write it as 2026-06-01T00:15:00+07:00") from None
    if since % _SECOND or not 0 <= since // _SECOND < SECONDS_MAX:
        raise BadCell(f"{text[:40]!r} is no whole second of the years 1970 to 2200")
    return since // _SECOND


def _local(naive: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a local time. Raises `BadCell` for one that comes twice or not at all."""
    first, second = naive.replace(tzinfo=zone), naive.replace(tzinfo=zone, fold=1)
    before, after = first.utcoffset(), second.utcoffset()
    if before is None or after is None or before == after:
        return first
    raise BadCell(
        f"{naive} comes {'twice' if before > after else 'not at all'} in {zone}, where the clocks change",
        hint=f"write the offset: {first.isoformat()}, or Z for UTC",
    )
