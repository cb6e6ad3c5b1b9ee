"""Integers written as decimals: exact for machines, grouped for people."""

from collections.abc import Iterable

from settlement.amounts import divided

PLACES = 6
"""Decimals of micro-units, of milliwatt-hours in kilowatt-hours and of parts a million."""

COIN_PLACES = 2


def exact(millionths: int) -> str:
    """All six decimals: `-0.050000`."""
    return ("-" if millionths < 0 else "") + _pointed(abs(millionths), PLACES)


def shown(millionths: int, places: int) -> str:
    """Grouped by thousands, with so many of the six decimals, one at least; halves go away from zero."""
    scaled = divided(abs(millionths), 10 ** (PLACES - places))
    whole, _, rest = _pointed(scaled, places).partition(".")
    return f"{'-' if millionths < 0 and scaled else ''}{int(whole):,}.{rest}"


def places_of(millionths: Iterable[int]) -> int:
    """The fewest decimals, two at least, that show all of them exactly: a column that anyone can add up."""
    needed = [len(f"{abs(value):0{PLACES}d}"[-PLACES:].rstrip("0")) for value in millionths]
    return max([COIN_PLACES, *needed])


def _pointed(scaled: int, places: int) -> str:
    whole, rest = divmod(scaled, 10**places)
    return f"{whole}.{rest:0{places}d}"
