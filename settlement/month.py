"""Months and days as the clocks on a community's walls tell them."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo


def next_month(day: date) -> date:
    """The first day of the month after the one that `day` lies in."""
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a local day begins, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
