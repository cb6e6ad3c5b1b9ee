"""Calendars: a year that is not listed is a hole."""

from datetime import date

import pytest

from settlement.holidays import NO_HOLIDAYS, CalendarHole, CalendarInvalid, parse_calendar

CALENDAR = """
name = "x"
[[years]]
year = 2026
source = "the law"
days = [2026-01-01, 2026-12-31]
[[years]]
year = 2027
source = "a guess"
provisional = true
days = []
"""


def test_a_day_is_a_holiday_if_its_year_lists_it() -> None:
    calendar = parse_calendar(CALENDAR, "x.toml")
    days = [date(2026, 1, 1), date(2026, 1, 2), date(2026, 12, 31), date(2027, 1, 1)]
    assert [calendar.is_holiday(day) for day in days] == [True, False, True, False]
    assert [calendar.year(each).provisional for each in (2026, 2027)] == [False, True]


@pytest.mark.parametrize("year", [2025, 2028])
def test_a_year_that_is_not_listed_is_a_hole(year: int) -> None:
    with pytest.raises(CalendarHole, match=str(year)) as caught:
        parse_calendar(CALENDAR, "x.toml").is_holiday(date(year, 6, 1))
    assert "source" in caught.value.hint
    with pytest.raises(CalendarHole):
        NO_HOLIDAYS.is_holiday(date(year, 6, 1))


@pytest.mark.parametrize(
    "text",
    [
        CALENDAR.replace("2027\n", "2026\n"),  # a year twice
        CALENDAR.replace("2026-12-31", "2027-12-31"),  # a day of another year
        CALENDAR.replace("2026-12-31", "2026-12-32"),
        CALENDAR.replace("source", "sauce"),
        "name = 1",
        "[[years",
    ],
)
def test_a_calendar_that_makes_no_sense_is_refused_with_its_file(text: str) -> None:
    with pytest.raises(CalendarInvalid) as caught:
        parse_calendar(text, "x.toml")
    assert caught.value.where.startswith("x.toml")
