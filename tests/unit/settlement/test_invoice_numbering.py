"""Numbers have no gaps, go up, and begin anew each year."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.billing.numbering import SERIAL_MAX, Number, NumberInvalid, SeriesFull, next_number, parse

SERIES = st.from_regex(r"[a-z0-9._-]{1,28}", fullmatch=True)
YEARS = st.integers(2000, 9999)


@given(st.builds(Number, SERIES, YEARS, st.integers(1, SERIAL_MAX)))
def test_a_number_reads_back(number: Number) -> None:
    assert parse(str(number)) == number
    assert len(str(number)) <= 40


@given(SERIES, st.lists(YEARS, min_size=1, max_size=30).map(sorted))
def test_each_year_counts_from_one_without_gaps(series: str, years: list[int]) -> None:
    last, seen = "", []
    for year in years:
        last = next_number(series, year, last)
        seen.append(parse(last))
    for year in set(years):
        serials = [number.serial for number in seen if number.year == year]
        assert serials == list(range(1, len(serials) + 1))


def test_a_series_may_look_like_a_year() -> None:
    assert next_number("campus-2025", 2026, "campus-2025-2026-000009") == "campus-2025-2026-000010"


@pytest.mark.parametrize(
    ("series", "year", "last", "error"),
    [
        ("campus", 2026, "campus-2026-999999", SeriesFull),
        ("campus", 2026, "other-2026-000001", NumberInvalid),
        ("campus", 2025, "campus-2026-000001", NumberInvalid),
        ("campus", 2026, "campus-2026-000000", NumberInvalid),
        ("campus", 2026, "campus-2026-1", NumberInvalid),
        ("campus", 2026, "campus-2026-000001\n", NumberInvalid),
        ("campus", 2026, "campus-2026-๐๐๐๐๐๑", NumberInvalid),
        ("campus", 12_026, "", NumberInvalid),
        ("Campus", 2026, "", NumberInvalid),
        ("c" * 29, 2026, "", NumberInvalid),
    ],
)
def test_what_is_not_followed_by_any_number(series: str, year: int, last: str, error: type) -> None:
    with pytest.raises(error):
        next_number(series, year, last)


def test_a_full_year_is_followed_by_the_next() -> None:
    assert next_number("campus", 2027, f"campus-2026-{SERIAL_MAX}") == "campus-2027-000001"
