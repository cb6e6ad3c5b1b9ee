"""Numbers, days and folders on the command line, taken exactly as they are written.

The command line's library makes 2 of 1.5 where a whole number is wanted, a traceback of a price that is none,
and does not say how a day is written.
"""

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, Token


def _whole(_: object, tokens: Sequence[Token]) -> int:
    """A whole number as it is written: 1.5 must not become 2 on the way into a book."""
    text = tokens[0].value
    if not (text.isascii() and text.removeprefix("-").isdecimal()):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def _decimal(_: object, tokens: Sequence[Token]) -> Decimal:
    text = tokens[0].value
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text, re.ASCII):
        raise ValueError(f"{text!r} is no number; write it as 3.20")
    return Decimal(text)


def _day(_: object, tokens: Sequence[Token]) -> date:
    text = tokens[0].value
    try:
        if re.fullmatch(
            r"\d{4}-\d\d-\d\d", text, re.ASCII
        ):  # not 20260601 nor 2026-W23-1, which are ISO's too
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError(f"{text!r} is no day; write it as 2026-06-01")


def _folder(_: object, tokens: Sequence[Token]) -> Path:
    """An empty name would be the folder one is in, which who gives a variable that is empty does not mean."""
    if not tokens[0].value:
        raise ValueError("an empty name is no folder; write . for this one")
    return Path(tokens[0].value)


Whole = Annotated[int, Parameter(converter=_whole)]
"""A whole number, and nothing that would have to be rounded to one."""

Number = Annotated[Decimal, Parameter(converter=_decimal)]
"""An exact decimal number."""

Day = Annotated[date, Parameter(converter=_day)]
"""A day of the calendar."""

Folder = Annotated[Path, Parameter(converter=_folder)]
"""A folder, named."""
