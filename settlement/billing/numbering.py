"""Gapless numbers of documents: `campus-2026-000123` is the 123rd of the series `campus` in 2026.

Who numbers holds the last number in the same transaction in which the document becomes a fact; what follows
from the last is decided here. Each year begins with 1 again. The Thai Revenue Code (section 86/4) asks for a
number on every tax invoice; invoices and credit notes may be one series or two.
"""

import re
from typing import NamedTuple

from ledger.errors import BadInput

SERIAL_MAX = 999_999

_FORM = re.compile(
    r"([a-z0-9._-]{1,28})-([0-9]{4})-([0-9]{6})"
)  # 40 characters at most, as a number may have


class NumberInvalid(BadInput):
    """A number, or the series it should continue, does not make sense."""

    code = "number-invalid"


class SeriesFull(BadInput):
    """A series has no number left in its year."""

    code = "series-full"


class Number(NamedTuple):
    """A number in its parts; as text it is what is printed."""

    series: str
    year: int
    serial: int

    def __str__(self) -> str:
        return f"{self.series}-{self.year:04d}-{self.serial:06d}"


def parse(text: str) -> Number:
    """The parts of a number. Raises `NumberInvalid`."""
    found = _FORM.fullmatch(text)
    if found is None or not int(found[3]):
        raise NumberInvalid(f"{text!r} is not a number such as campus-2026-000001")
    return Number(found[1], int(found[2]), int(found[3]))


def next_number(series: str, year: int, last: str = "") -> str:
    """The number that follows `last`, which is empty where the series has none.

    Raises `NumberInvalid` where `last` is of another series or of a later year, because the numbers would
    then not be in order of issue, and `SeriesFull`.
    """
    serial = 1
    if last:
        before = parse(last)
        if before.series != series or before.year > year:
            raise NumberInvalid(f"{last} is not followed by a number of {series} in {year}")
        serial += before.serial if before.year == year else 0
    if serial > SERIAL_MAX:
        raise SeriesFull(f"{last} is the last number of its year", hint="open a second series")
    found = str(Number(series, year, serial))
    parse(found)
    return found
