"""Months and days as the clocks on a community's walls tell them."""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Month(NamedTuple):
    """Its first day and that of the next month, and the instants at which these begin."""

    first: date
    next_first: date
    begin: datetime
    until: datetime


def month_of(day: date, zone: ZoneInfo) -> Month:
    """The month that a local day lies in."""
    first, following = day.replace(day=1), next_month(day)
    return Month(first, following, midnight(first, zone), midnight(following, zone))


def month_at(instant: datetime, zone: ZoneInfo) -> Month:
    """The month that an instant lies in."""
    return month_of(instant.astimezone(zone).date(), zone)


def next_month(day: date) -> date:
    """The first day of the month after the one that `day` lies in."""
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


def months_before(first: date, count: int) -> date:
    """The first day of the month that lies so many months before the one of `first`."""
    index = first.year * 12 + first.month - 1 - count
    return date(index // 12, index % 12 + 1, 1)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a local day begins, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
