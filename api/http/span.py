"""The span of time that a list is asked for, as a request tells it: RFC 3339, half-open, a year at most."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from litestar.params import QueryParameter

from ledger.errors import BadInput
from ledger.event import Instant
from settlement.month import midnight
from settlement.told_month import YEARS

SPAN_MAX = timedelta(days=366)

Begin = Annotated[
    str | None,
    QueryParameter(
        format="date-time",
        description="Intervals that start at this instant or later. By default the beginning of the local day"
        " that lies before `until`, or of today.",
    ),
]
Until = Annotated[
    str | None,
    QueryParameter(
        format="date-time",
        description="Intervals that start before this instant, 366 days after `begin` at the latest. By"
        " default the end of the local day of `begin`.",
    ),
]


class BadInstant(BadInput):
    """An instant that is none, or has no offset from UTC."""

    code = "bad-instant"


class BadSpan(BadInput):
    """A span of time that ends before it begins, or is too long."""

    code = "bad-span"


class _Told(msgspec.Struct):
    """An instant. In a struct, whose fields the library knows once and for all."""

    instant: Instant


class Span(NamedTuple):
    """From `begin` to before `until`, in UTC."""

    begin: datetime
    until: datetime


def span_of(begin: str | None, until: str | None, zone: ZoneInfo, now: datetime) -> Span:
    """The span between two instants, of which each may be left out. Raises `BadInstant`, `BadSpan`."""
    first = told_instant(begin, "begin") if begin is not None else None
    last = told_instant(until, "until") if until is not None else None
    if first is None:
        inside = now if last is None else last - timedelta(microseconds=1)
        first = midnight(inside.astimezone(zone).date(), zone)
    if last is None:
        last = midnight(first.astimezone(zone).date() + timedelta(days=1), zone)
    if last <= first:
        raise BadSpan("the span ends before it begins", where="until", hint="`until` comes after `begin`")
    if last - first > SPAN_MAX:
        raise BadSpan(
            f"a span is {SPAN_MAX.days} days at most", where="until", hint="ask for one year after the other"
        )
    return Span(first, last)


def told_instant(text: str, where: str) -> datetime:
    """The instant that a text tells, in UTC. Raises `BadInstant`."""
    try:
        found = msgspec.convert({"instant": text}, _Told).instant
    except msgspec.ValidationError as error:
        raise BadInstant(
            "this is no instant of RFC 3339", where=where,
            hint="write it as 2026-06-01T00:00:00Z; in a URL a + before an offset is %2B",
        ) from error  # fmt: skip
    if found.year not in YEARS:
        raise BadInstant(f"this lies outside of the years {YEARS.start} to {YEARS.stop - 1}", where=where)
    return found.astimezone(UTC)
