"""A month as a person writes it."""

from datetime import date

from ledger.errors import BadInput

YEARS = range(1970, 3000)


class NotAMonth(BadInput):
    """A month that is none."""

    code = "not-a-month"


def told_month(text: str) -> date:
    """Its first day. Raises `NotAMonth`."""
    try:
        first = date.fromisoformat(f"{text}-01")
    except ValueError:
        first = date.min
    if first.year not in YEARS:
        raise NotAMonth(f"{text!r} is no month", hint="write it as 2026-06")
    return first
