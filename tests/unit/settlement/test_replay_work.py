"""What a replay may be asked for: all that an honest book asks, and no more than its size explains."""

import pytest

from settlement.replay.work import TooMuchWork, Work

A_DAY = 96


def test_a_month_that_comes_newest_first_with_a_run_for_each_reading_is_within_it() -> None:
    work = Work()
    for left in range(31 * A_DAY, 0, -1):
        work.earn(2)  # the reading and the run
        work.spend(left)


def test_gaps_of_five_years_of_a_hundred_meters_are_within_it() -> None:
    work = Work()
    work.earn(300)  # each was added, and read twice
    for _ in range(100):
        work.spend(5 * 365 * A_DAY)


def test_what_the_size_does_not_explain_is_refused() -> None:
    work = Work()
    for _ in range(30):
        work.earn(1)
        work.spend(6 * 366 * 288)
    with pytest.raises(TooMuchWork):
        work.spend(6 * 366 * 288 * 2)
