"""Calendars of the days on which a tariff's working-day windows do not hold, as the regulator publishes them.

A file of `settlement/tariffs/holidays` lists them by year with their source. A year that was not yet held
against the publication is provisional; a year that is not listed is a hole, and nothing is guessed.
"""

from datetime import date

import msgspec

from settlement.tariff_file import NoPrice, parse_tables


class CalendarInvalid(NoPrice):
    """A calendar's file does not make sense."""

    code = "calendar-invalid"


class CalendarHole(NoPrice):
    """A calendar does not have a year."""

    code = "calendar-hole"


class Year(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The holidays of one year."""

    year: int
    source: str
    days: tuple[date, ...]
    provisional: bool = False


class CalendarFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of a calendar."""

    name: str
    years: tuple[Year, ...]


class Calendar:
    """Days by year."""

    def __init__(self, name: str, years: tuple[Year, ...]) -> None:
        self.name = name
        self._years = {each.year: each for each in years}
        self._days = frozenset(day for each in years for day in each.days)

    def is_holiday(self, day: date) -> bool:
        """Whether it is one. Raises `CalendarHole`."""
        self.year(day.year)
        return day in self._days

    @property
    def first_year(self) -> int:
        """The first year that it has."""
        return min(self._years)

    def known_until(self, number: int) -> int:
        """The first year that it does not have, as seen from a year: of those to come, or where it lacks that
        year itself, since when it does."""
        if number not in self._years:
            return max((year + 1 for year in self._years if year < number), default=number)
        while number in self._years:
            number += 1
        return number

    def year(self, number: int) -> Year:
        """What is known of a year. Raises `CalendarHole`."""
        if number not in self._years:
            raise CalendarHole(
                f"the calendar {self.name} does not have the holidays of {number}",
                hint="add the year with its source, as the regulator has published it",
            )
        return self._years[number]


NO_HOLIDAYS = Calendar("none", ())


def parse_calendar(text: str, where: str) -> Calendar:
    """The calendar that a file tells. Raises `CalendarInvalid`."""
    file = parse_tables(text, CalendarFile, where, CalendarInvalid)
    for each in file.years:
        for day in each.days:
            if day.year != each.year:
                raise CalendarInvalid(f"{day} is not in {each.year}", where=where)
    if len({each.year for each in file.years}) < len(file.years):
        raise CalendarInvalid("a year is listed twice", where=where)
    return Calendar(file.name, file.years)
