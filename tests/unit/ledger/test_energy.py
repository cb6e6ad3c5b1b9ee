"""Registers become the energy of intervals: exactly, whatever was missed, late, wrong or replaced."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from ledger.energy import CONSISTENT_READINGS
from ledger.gap import GAP_SECONDS_MAX, LINEAR_MAX_SECONDS, Mark, can_be_joined
from ledger.grid import Grid
from ledger.plausibility import GLITCH_ZERO, JUMP, ROLLBACK
from tests.support.meter import FoldedMeter, at

QUARTER = 900
DAY = 86_400
START = at("10:00")
PROFILE = [10 * (7 * quarter % 50) for quarter in range(96)]
"""A day's energy by quarter, in Wh, with a shape that no straight line has."""


def q(number: int) -> int:
    """The boundary so many quarters after the start."""
    return START + QUARTER * number


def steady(begin: int, end: int, offset_wh: int = 1_000) -> list[tuple[int, int]]:
    """Readings of a meter that takes 100 Wh a quarter."""
    return [(q(number), offset_wh + 100 * number) for number in range(begin, end)]


def day(number: int, base_wh: int = 1_000) -> list[tuple[int, int]]:
    """The 97 readings of a day that follows the profile; the last one begins the next day."""
    base_wh += number * sum(PROFILE)
    return [(q(k) + DAY * number, base_wh + sum(PROFILE[:k])) for k in range(97)]


# --- what is ordinary -------------------------------------------------------------------------


def test_97_readings_make_96_measured_intervals() -> None:
    meter = FoldedMeter()
    meter.read_all(day(0))
    assert meter.imports == PROFILE
    assert meter.qualities == "m" * 96
    assert [interval.start for interval in meter.intervals] == [q(k) for k in range(96)]
    assert meter.verdicts == [("opened", "first-reading")]


def test_import_and_export_are_told_apart() -> None:
    meter = FoldedMeter()
    meter.read_all([(q(0), 500, 70), (q(1), 500, 95), (q(2), 530, 95)])
    assert (meter.imports, meter.exports) == ([0, 30], [25, 0])


def test_an_interval_tells_the_registers_at_its_end_and_the_reading_that_decided_it() -> None:
    meter = FoldedMeter()
    meter.read_all([(q(0), 500, 70), (q(1), 520, 95)])
    (interval,) = meter.intervals
    assert (interval.import_register_wh, interval.export_register_wh) == (520, 95)
    assert (interval.position, interval.epoch) == (1, 1)


# --- gaps ------------------------------------------------------------------------------------


def test_the_docstrings_example_gap_sums_to_what_flowed() -> None:
    meter = FoldedMeter()
    meter.read_all([(at("10:00"), 1_000), (at("10:45"), 1_300)])
    assert meter.imports == [100, 100, 100]
    assert meter.qualities == "eee"
    assert [interval.import_register_wh for interval in meter.intervals] == [1_100, 1_200, 1_300]


def test_a_gap_that_does_not_divide_evenly_loses_no_watt_hour() -> None:
    meter = FoldedMeter()
    meter.read_all([(q(0), 0, 0), (q(3), 100, 1)])
    assert meter.imports == [33, 33, 34], "cumulative shares are rounded down"
    assert meter.exports == [0, 0, 1]


def test_a_gap_of_two_hours_is_linear_although_a_like_day_is_known() -> None:
    meter = FoldedMeter()
    meter.read_all(day(0))
    end = LINEAR_MAX_SECONDS // QUARTER
    first = day(0)[-1][1]
    meter.read(q(end) + DAY, first + 800)
    assert meter.imports[96:] == [100] * end


def test_a_longer_gap_has_the_shape_of_the_day_before() -> None:
    meter = FoldedMeter()
    meter.read_all(day(0))
    meter.read(*day(1)[-1])
    assert meter.imports[96:] == PROFILE
    assert meter.qualities[96:] == "e" * 96


def test_a_longer_gap_is_shaped_but_still_sums_to_what_flowed() -> None:
    meter = FoldedMeter()
    meter.read_all(day(0))
    last = day(0)[-1][1]
    meter.read(q(96) + DAY, last + 7_777)
    assert sum(meter.imports[96:]) == 7_777
    assert meter.imports[96:] != [7_777 // 96] * 96
    zeros = [quarter for quarter, energy in enumerate(PROFILE) if energy == 0]
    assert all(meter.imports[96 + quarter] == 0 for quarter in zeros)


@pytest.mark.parametrize(("days_back", "preferred"), [((7, 14, 1), 7), ((14, 1), 14), ((1,), 1)])
def test_a_like_day_is_looked_for_a_week_two_weeks_and_a_day_back(
    days_back: tuple[int, ...], preferred: int
) -> None:
    meter = FoldedMeter(rated_w=1_000_000)
    gap = 20
    shapes = {7: [3, 1] * 48, 14: [1, 5] * 48, 1: [7, 2] * 48}
    register = 0
    for back in sorted(days_back, reverse=True):
        begin = q(0) - back * DAY
        for k in range(97):
            meter.read(begin + k * QUARTER, register + sum(shapes[back][:k]))
        register += sum(shapes[back])
    meter.read(q(0), register)
    meter.read(q(gap), register + sum(shapes[preferred][:gap]))
    assert [meter.rows[q(k)].import_wh for k in range(gap)] == shapes[preferred][:gap]


def test_a_like_day_with_a_hole_is_no_like_day() -> None:
    meter = FoldedMeter()
    meter.read_all([reading for k, reading in enumerate(day(0)) if k != 50])
    meter.read(q(96) + DAY, day(0)[-1][1] + 9_600)
    assert meter.imports[96:] == [100] * 96


def test_a_like_day_without_any_energy_gives_a_straight_line() -> None:
    meter = FoldedMeter()
    meter.read_all([(q(k), 1_000, 10 * k) for k in range(97)])
    meter.read(q(96) + DAY, 1_000 + 960, 960)
    assert meter.imports[96:] == [10] * 96


# --- readings that cannot be ---------------------------------------------------------------------


def test_a_glitch_zero_is_held_and_the_energy_across_it_is_exact() -> None:
    meter = FoldedMeter()
    meter.read_all([(q(0), 53_700_000), (q(1), 0), (q(2), 53_700_200)])
    assert meter.imports == [100, 100]
    assert meter.qualities == "ee"
    assert meter.verdicts[1:] == [("held", GLITCH_ZERO)]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [((900, 50), ROLLBACK), ((1_100, 49), ROLLBACK), ((99_999, 50), JUMP), ((1_100, 99_999), JUMP)],
)
def test_an_implausible_reading_is_held_and_nothing_is_rebased(wrong: tuple[int, int], reason: str) -> None:
    meter = FoldedMeter()
    meter.read_all([(q(0), 1_000, 50), (q(1), *wrong), (q(2), 1_200, 50), (q(3), 1_300, 50)])
    assert meter.imports == [100, 100, 100]
    assert meter.exports == [0, 0, 0]
    assert meter.qualities == "eem"
    assert meter.verdicts[1:] == [("held", reason)]


def test_a_jump_is_measured_against_the_time_that_passed() -> None:
    flowed = 10_000 * 5 // 4  # a quarter over the hour at the rating of 10 kW
    meter = FoldedMeter()
    meter.read_all([(q(0), 0), (q(1), flowed)])
    assert meter.verdicts[1:] == [("held", JUMP)]
    meter.read(q(5), flowed)
    assert sum(meter.imports) == flowed


def test_two_values_for_one_instant_keep_the_first_and_tell_of_the_second() -> None:
    meter = FoldedMeter()
    meter.read_all([(q(0), 1_000), (q(1), 1_100), (q(1), 1_150), (q(2), 1_200)])
    assert meter.imports == [100, 100]
    assert meter.verdicts[1:] == [("held", "same-instant-other-value")]


def test_a_reading_told_twice_counts_once() -> None:
    meter = FoldedMeter()
    for reading in steady(0, 5):
        meter.read_all([reading, reading])
    meter.read_all(steady(0, 5))
    assert meter.imports == [100] * 4
    assert meter.verdicts == [("opened", "first-reading")]


# --- late readings ---------------------------------------------------------------------------


def test_a_late_reading_in_a_gap_takes_the_place_of_its_estimates() -> None:
    meter = FoldedMeter()
    meter.read_all([(q(0), 1_000), (q(4), 1_400)])
    meter.read(q(1), 1_310)
    assert meter.imports == [310, 30, 30, 30]
    assert meter.qualities == "meee"


def test_late_readings_that_fill_a_gap_leave_nothing_estimated() -> None:
    meter = FoldedMeter()
    meter.read_all([(q(0), 1_000), (q(4), 1_400)])
    meter.read_all([(q(2), 1_150), (q(1), 1_120), (q(3), 1_390)])
    assert meter.imports == [120, 30, 240, 10]
    assert meter.qualities == "mmmm"


def test_a_late_reading_before_the_first_one_extends_its_epoch_backwards() -> None:
    meter = FoldedMeter()
    meter.read_all([(q(4), 1_400), (q(5), 1_500), (q(2), 1_200)])
    assert [interval.start for interval in meter.intervals] == [q(2), q(3), q(4)]
    assert meter.imports == [100, 100, 100]
    assert {interval.epoch for interval in meter.intervals} == {1}


def test_a_late_reading_goes_to_the_epoch_that_it_fits() -> None:
    before, after = [(q(0), 90_000)], [(q(k), 10 * k) for k in range(8, 12)]
    meter = FoldedMeter()
    meter.read_all([*before, *after])
    meter.read_all([(q(2), 90_200), (q(6), 60)])
    assert {q(k): meter.rows[q(k)].epoch for k in (0, 1, 6, 7)} == {q(0): 1, q(1): 1, q(6): 2, q(7): 2}
    assert not {q(2), q(3), q(4), q(5)} & set(meter.rows)
    meter.read_all([(q(4), 90_400), (q(3), 90_300), (q(5), 50)])
    assert not {q(4)} & set(meter.rows), "across two registers nothing is known"
    assert sum(meter.imports) == 400 + 60


def test_a_late_reading_that_fits_no_neighbour_is_held() -> None:
    meter = FoldedMeter()
    meter.read_all([(q(0), 1_000), (q(4), 1_400), (q(2), 1_500), (q(1), 999)])
    assert meter.imports == [100] * 4
    assert meter.verdicts[1:] == [("held", ROLLBACK)] * 2


def test_a_late_reading_with_another_value_for_a_known_boundary_is_held() -> None:
    meter = FoldedMeter()
    meter.read_all([*steady(0, 4), (q(1), 1_150)])
    assert meter.imports == [100] * 3
    assert meter.verdicts[1:] == [("held", "same-instant-other-value")]


def test_a_late_reading_between_boundaries_is_kept_aside() -> None:
    meter = FoldedMeter()
    meter.read_all([*steady(0, 3), (q(1) + 400, 1_150)])
    assert meter.imports == [100] * 2
    assert meter.verdicts[1:] == [("between", "off-boundary")]


def test_a_night_of_97_readings_in_any_order_makes_the_same_96_intervals() -> None:
    readings = day(0)
    for order in (readings, readings[::-1], readings[1::2] + readings[::2], readings[50:] + readings[:50]):
        meter = FoldedMeter()
        meter.read_all(order)
        assert meter.imports == PROFILE
        assert meter.qualities == "m" * 96


# --- estimates that come as readings ---------------------------------------------------------------


def test_an_estimated_reading_counts_but_measures_nothing() -> None:
    meter = FoldedMeter()
    meter.read_all(steady(0, 2))
    meter.read(q(2), 1_210, estimated=True)
    meter.read_all(steady(3, 5))
    assert meter.imports == [100, 110, 90, 100]
    assert meter.qualities == "meem"


def test_a_late_reading_beside_an_estimated_one_loses_no_energy() -> None:
    meter = FoldedMeter()
    meter.read(q(0), 1_000)
    meter.read(q(2), 1_300, estimated=True)
    meter.read(q(1), 1_100)
    meter.read(q(3), 1_350)
    assert meter.imports == [100, 200, 50]
    assert meter.qualities == "mee"


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_measured_reading_takes_the_place_of_an_estimated_one(goes_on: bool) -> None:
    meter = FoldedMeter()
    meter.read_all(steady(0, 2))
    meter.read(q(2), 1_250, estimated=True)
    if goes_on:
        meter.read(q(3), 1_300)
    meter.read(q(2), 1_200)
    if not goes_on:
        meter.read(q(3), 1_300)
    assert meter.imports == [100, 100, 100]
    assert meter.qualities == "mmm"


# --- epochs --------------------------------------------------------------------------------------


def test_consistent_readings_open_an_epoch_at_their_first() -> None:
    meter = FoldedMeter()
    meter.read(q(0), 100_000)
    meter.read_all([(q(k), 50 * k) for k in range(1, CONSISTENT_READINGS)])
    assert meter.imports == []
    meter.read(q(4), 200)
    assert meter.imports == [50, 50, 50]
    assert [interval.start for interval in meter.intervals] == [q(1), q(2), q(3)]
    assert {interval.epoch for interval in meter.intervals} == {2}
    assert meter.verdicts[-1] == ("opened", "consistent-readings")


def test_a_register_stuck_at_zero_never_opens_an_epoch() -> None:
    meter = FoldedMeter()
    meter.read(q(0), 100_000)
    meter.read_all([(q(k), 0) for k in range(1, 50)])
    meter.read(q(50), 105_000)
    assert sum(meter.imports) == 5_000
    assert {interval.epoch for interval in meter.intervals} == {1}


def test_garbage_never_opens_an_epoch() -> None:
    meter = FoldedMeter()
    meter.read(q(0), 1_000)
    meter.read_all([(q(1), 500_000), (q(2), 3), (q(3), 400_000), (q(4), 77), (q(5), 600_000)])
    meter.read(q(6), 1_600)
    assert meter.imports == [100] * 6


def test_wrong_readings_between_good_ones_never_add_up_to_an_epoch() -> None:
    meter = FoldedMeter()
    meter.read(q(0), 100_000)
    for number in range(1, 9):
        meter.read_all([(q(number) - 30, 50 * number), (q(number), 100_000 + 100 * number)])
    assert meter.imports == [100] * 8
    assert meter.qualities == "m" * 8


def test_held_readings_told_twice_or_in_disorder_still_open_an_epoch() -> None:
    new = [(q(k), 50 * k) for k in range(1, 9)]
    for readings in ([reading for reading in new for _ in "12"], new[::-1], new[4:] + new[:4]):
        meter = FoldedMeter()
        meter.read(q(0), 100_000)
        meter.read_all(readings)
        assert meter.imports == [50] * 7
        assert meter.qualities == "m" * 7


@pytest.mark.parametrize("instant", [q(2), q(1) + 400])
def test_another_serial_number_opens_an_epoch_at_the_next_boundary(instant: int) -> None:
    meter = FoldedMeter()
    meter.read(q(0), 100_000, serial="old")
    meter.read(q(1), 100_100, serial="old")
    meter.read(instant, 7, serial="new")
    meter.read_all([(q(2), 7), (q(3), 57)])
    assert meter.imports == [100, 50]
    assert [interval.start for interval in meter.intervals] == [q(0), q(2)]
    assert ("opened", "serial-changed") in meter.verdicts


def test_a_serial_number_that_is_told_again_changes_nothing() -> None:
    meter = FoldedMeter()
    for number, reading in enumerate(steady(0, 6)):
        meter.read(*reading, serial=None if number % 2 else "same")
    assert meter.imports == [100] * 5
    assert meter.qualities == "m" * 5


def test_the_operators_word_opens_an_epoch_with_the_first_reading_from_then_on() -> None:
    meter = FoldedMeter()
    meter.read_all(steady(0, 2))
    meter.open_epoch(q(2) - 60)
    meter.read_all([(q(2), 1_150), (q(3), 1_250)])
    assert meter.imports == [100, 100]
    assert [interval.start for interval in meter.intervals] == [q(0), q(2)]
    assert meter.verdicts[-1] == ("opened", "replacement")


def test_the_operators_word_for_later_waits() -> None:
    meter = FoldedMeter()
    meter.read_all(steady(0, 2))
    meter.open_epoch(q(3))
    meter.read_all([(q(2), 1_200), (q(3), 10), (q(4), 30)])
    assert meter.imports == [100, 100, 20]


def test_the_operators_word_takes_up_the_readings_that_were_held() -> None:
    meter = FoldedMeter()
    meter.read(q(0), 100_000)
    meter.read_all([(q(1), 50), (q(2), 100)])
    meter.open_epoch(q(0) + 60)
    meter.read_all([(q(3), 150), (q(4), 200)])
    assert meter.imports == [50, 50, 50]
    assert meter.qualities == "mmm"


def test_the_operators_word_takes_up_no_reading_from_before_it() -> None:
    meter = FoldedMeter()
    meter.read(q(0), 100_000)
    meter.read_all([(q(1), 50), (q(2), 100)])
    meter.open_epoch(q(1) + 60)
    meter.read(q(3), 150)
    assert [interval.start for interval in meter.intervals] == [q(2)]


@pytest.mark.parametrize("serial", [None, "new"])
def test_the_operators_word_after_the_fact_opens_no_second_epoch(serial: str | None) -> None:
    meter = FoldedMeter()
    meter.read(q(0), 100_000, serial=serial and "old")
    for number in range(1, 6):
        meter.read(q(number), 50 * number, serial=serial)
    meter.open_epoch(q(0) + 60)
    meter.read_all([(q(6), 300), (q(7), 350)])
    assert meter.imports == [50] * 6
    assert {interval.epoch for interval in meter.intervals} == {2}


# --- silence -----------------------------------------------------------------------------------


@pytest.fixture
def longest_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """No gap is longer than eight quarters."""
    monkeypatch.setattr("ledger.gap.GAP_SECONDS_MAX", 8 * QUARTER)


def test_a_silence_of_more_than_six_years_ends_the_epoch_and_six_years_are_a_gap() -> None:
    assert GAP_SECONDS_MAX == 6 * 366 * DAY, "books were settled by it: the bound of what they hold"
    first, at_bound, beyond = (Mark(at, 0, 0, 0, 1) for at in (0, GAP_SECONDS_MAX, GAP_SECONDS_MAX + QUARTER))
    assert can_be_joined(first, at_bound)
    assert not can_be_joined(first, beyond)
    meter = FoldedMeter()
    meter.read_all([*steady(0, 3), (q(2) + GAP_SECONDS_MAX + QUARTER, 9_000)])
    assert meter.imports == [100] * 2


@pytest.mark.usefixtures("longest_gap")
def test_after_a_silence_that_is_too_long_registers_start_anew_where_the_meter_is_read_again() -> None:
    meter = FoldedMeter()
    meter.read_all([(q(0), 1_000), (q(1), 1_100), (q(10), 2_000), (q(11), 2_070)])
    assert [interval.start for interval in meter.intervals] == [q(0), q(10)]
    assert [interval.epoch for interval in meter.intervals] == [1, 2]
    assert meter.qualities == "mm"
    assert meter.verdicts[1:] == [("opened", "gap-too-long")]
    opened = meter.asides[-1]
    assert (opened.at, opened.import_wh - 1_100) == (q(10), 900), "what flowed meanwhile is told there"


@pytest.mark.usefixtures("longest_gap")
def test_a_gap_of_the_greatest_length_is_estimated_and_one_interval_more_is_none() -> None:
    for quarters, intervals in ((8, 8), (9, 0)):
        meter = FoldedMeter()
        meter.read_all([(q(0), 1_000), (q(quarters), 1_900)])
        assert len(meter.intervals) == intervals
        assert sum(meter.imports) in (900, 0)


@pytest.mark.usefixtures("longest_gap")
def test_an_implausible_reading_after_a_long_silence_is_held() -> None:
    meter = FoldedMeter()
    meter.read_all([(q(0), 1_000), (q(20), 0), (q(21), 2_000)])
    assert meter.verdicts[1:] == [("held", GLITCH_ZERO), ("opened", "gap-too-long")]


@pytest.mark.usefixtures("longest_gap")
def test_what_comes_late_into_a_long_silence_belongs_to_the_nearer_end() -> None:
    meter = FoldedMeter()
    meter.read_all([(q(0), 1_000), (q(40), 5_000)])
    meter.read_all([(q(4), 1_400), (q(36), 4_600), (q(20), 3_000)])
    assert {row.start: row.epoch for row in meter.intervals} == {
        **{q(k): 1 for k in range(4)},
        **{q(k): 2 for k in range(36, 40)},
    }
    assert meter.imports == [100] * 8
    assert meter.verdicts[-1] == ("held", "gap-too-long"), "too far from both"


@pytest.mark.usefixtures("longest_gap")
@pytest.mark.parametrize("order", [1, -1])
def test_a_backlog_fills_a_long_silence_but_for_the_seam(order: int) -> None:
    meter = FoldedMeter()
    meter.read_all([(q(0), 1_000), (q(40), 5_000)])
    meter.read_all([(q(k), 1_000 + 100 * k) for k in range(1, 40)][::order])
    assert meter.imports == [100] * 39
    assert meter.qualities == "m" * 39


@pytest.mark.usefixtures("longest_gap")
@pytest.mark.parametrize("told_after", [False, True])
def test_a_rollover_within_a_long_silence_invents_no_energy(told_after: bool) -> None:
    meter = FoldedMeter()
    meter.read(q(0), 999_900)
    if not told_after:
        meter.open_epoch(q(1), modulus_wh=1_000_000)
    meter.read_all([(q(k), 100 * k) for k in range(20, 26)])
    if told_after:
        meter.open_epoch(q(1), modulus_wh=1_000_000)
        meter.read(q(26), 2_600)
    assert meter.intervals[0].start == q(20)
    assert set(meter.imports) == {100}


# --- rollover --------------------------------------------------------------------------------------


def test_a_rollover_with_its_modulus_counts_the_energy_across() -> None:
    meter = FoldedMeter()
    meter.read(q(0), 999_900)
    meter.open_epoch(q(1), modulus_wh=1_000_000)
    meter.read_all([(q(1), 100), (q(2), 250)])
    assert meter.imports == [200, 150]
    assert meter.qualities == "mm"
    assert [interval.epoch for interval in meter.intervals] == [1, 2]


def test_a_rollover_of_one_register_leaves_the_other_as_it_is() -> None:
    meter = FoldedMeter()
    meter.read(q(0), 999_900, 40)
    meter.open_epoch(q(1), modulus_wh=1_000_000)
    meter.read_all([(q(1), 100, 45), (q(2), 250, 45)])
    assert (meter.imports, meter.exports) == ([200, 150], [5, 0])


@pytest.mark.parametrize("held", [1, 2, 3, 4, 8])
def test_a_rollover_told_after_the_fact_still_counts_the_energy_across(held: int) -> None:
    meter = FoldedMeter()
    meter.read(q(0), 999_900)
    meter.read_all([(q(k), 100 * k) for k in range(1, held + 1)])
    meter.open_epoch(q(1), modulus_wh=1_000_000)
    meter.read(q(held + 1), 100 * (held + 1))
    assert meter.imports == [200] + [100] * held
    assert meter.qualities == "m" * (held + 1)


@pytest.mark.parametrize("first_told", [1, 4])
def test_a_rollover_told_twice_is_counted_once(first_told: int) -> None:
    meter = FoldedMeter()
    meter.read(q(0), 999_900)
    for number in range(1, 9):
        if number in (first_told, 6):
            meter.open_epoch(q(1), modulus_wh=1_000_000)
        meter.read(q(number), 100 * number)
    assert meter.imports == [200] + [100] * 7
    assert {interval.epoch for interval in meter.intervals} == {1, 2}


@pytest.mark.parametrize("modulus", [999_950, 10_000_000])
def test_a_wrong_modulus_invents_no_energy(modulus: int) -> None:
    meter = FoldedMeter()
    meter.read(q(0), 999_900)
    meter.open_epoch(q(1), modulus_wh=modulus)
    meter.read_all([(q(k), 10 * k) for k in range(1, 6)])
    assert sum(meter.imports) in (40, 40 + 60)
    assert all(energy <= 60 for energy in meter.imports)


def test_a_modulus_that_is_too_large_waits_until_consistent_readings_open_the_epoch() -> None:
    meter = FoldedMeter()
    meter.read(q(0), 999_900)
    meter.open_epoch(q(1), modulus_wh=10_000_000)
    meter.read_all([(q(k), 10 * k) for k in range(1, 8)])
    assert meter.imports == [10] * 6
    assert meter.verdicts[-1] == ("opened", "consistent-readings")


# --- the grid --------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [5, 10, 15, 30, 60])
def test_a_reading_within_a_tenth_of_an_interval_tells_the_boundary(minutes: int) -> None:
    grid = Grid(minutes, "Asia/Bangkok")
    tenth = minutes * 6
    for offset in (-tenth, -1, 0, 1, tenth):
        assert grid.boundary(START + offset) == START
    for offset in (-tenth - 1, tenth + 1, grid.step // 2):
        assert grid.boundary(START + offset) is None


def test_readings_at_the_edge_of_the_tolerance_end_intervals() -> None:
    meter = FoldedMeter()
    meter.read_all([(q(0) - 90, 1_000), (q(1) + 90, 1_100), (q(2) + 91, 1_150), (q(3) - 91, 1_160)])
    meter.read(q(4), 1_300)
    assert [interval.start for interval in meter.intervals] == [q(0), q(1), q(2), q(3)]
    assert sum(meter.imports) == 300
    assert meter.verdicts[1:] == [("between", "off-boundary")] * 2


@pytest.mark.parametrize("minutes", [5, 10, 15, 30, 60])
def test_every_interval_length_makes_a_day_of_intervals(minutes: int) -> None:
    meter = FoldedMeter(minutes=minutes)
    count = 24 * 60 // minutes
    meter.read_all([(START + k * minutes * 60, 7 * k) for k in range(count + 1)])
    assert meter.imports == [7] * count
    assert meter.qualities == "m" * count


@pytest.mark.parametrize(
    ("zone", "minutes", "past"),
    [
        ("Asia/Bangkok", 60, 0),
        ("Asia/Kolkata", 60, 30),
        ("Asia/Kathmandu", 60, 15),
        ("Asia/Kathmandu", 30, 15),
        ("Asia/Kathmandu", 15, 0),
        ("Australia/Adelaide", 60, 30),
        ("America/St_Johns", 30, 0),
    ],
)
def test_intervals_begin_on_the_local_hour(zone: str, minutes: int, past: int) -> None:
    grid = Grid(minutes, zone)
    boundary = START + past * 60
    assert grid.boundary(boundary) == boundary
    local = datetime.fromtimestamp(boundary, ZoneInfo(zone))
    assert local.minute % minutes == 0
    assert grid.boundary(boundary + minutes * 30) is None


@pytest.mark.parametrize(
    ("zone", "date", "quarters"),
    [
        ("Asia/Bangkok", (2026, 3, 29), 96),
        ("Europe/Berlin", (2026, 3, 28), 96),
        ("Europe/Berlin", (2026, 3, 29), 92),
        ("Europe/Berlin", (2026, 10, 25), 100),
        ("Australia/Lord_Howe", (2026, 4, 5), 98),
    ],
)
def test_a_local_day_has_as_many_intervals_as_it_has_quarters(
    zone: str, date: tuple[int, int, int], quarters: int
) -> None:
    tz = ZoneInfo(zone)
    begin = datetime(*date, tzinfo=tz)
    end = datetime.fromtimestamp(begin.timestamp(), tz) + timedelta(days=1)  # on the clock on the wall
    instants = list(range(int(begin.timestamp()), int(end.timestamp()) + 1, QUARTER))
    meter = FoldedMeter(zone=zone)
    meter.read_all([(instant, 100 * number) for number, instant in enumerate(instants)])
    assert meter.imports == [100] * quarters
    assert meter.qualities == "m" * quarters


@pytest.mark.parametrize(
    ("date", "hours_between"),
    [((2026, 3, 30), 23 + 24), ((2026, 10, 26), 25 + 24), ((2026, 6, 10), 48)],
)
def test_a_like_instant_shows_the_same_time_on_the_wall(
    date: tuple[int, int, int], hours_between: int
) -> None:
    tz = ZoneInfo("Europe/Berlin")
    instant = int(datetime(*date, 14, 15, tzinfo=tz).timestamp())
    like = Grid(15, "Europe/Berlin").like_instant(instant, 2)
    assert datetime.fromtimestamp(like, tz).time() == datetime.fromtimestamp(instant, tz).time()
    assert instant - like == hours_between * 3_600


@pytest.mark.parametrize("date", [(2026, 3, 29), (2026, 10, 25)])
def test_a_gap_over_a_day_of_92_or_100_quarters_sums_to_what_flowed(date: tuple[int, int, int]) -> None:
    tz = ZoneInfo("Europe/Berlin")
    change = datetime(*date, tzinfo=tz)
    days = [int((change + timedelta(days=offset)).astimezone(UTC).timestamp()) for offset in (-1, 0, 1)]
    meter = FoldedMeter(zone="Europe/Berlin")
    for number, instant in enumerate(range(days[0], days[1] + 1, QUARTER)):
        meter.read(instant, sum(PROFILE[:number]))
    meter.read(days[2], sum(PROFILE) + 12_345)
    quarters = (days[2] - days[1]) // QUARTER
    assert quarters in (92, 100)
    assert len(meter.imports) == 96 + quarters
    assert sum(meter.imports[96:]) == 12_345
    assert meter.imports[96:] != [12_345 // quarters] * quarters
    assert all(after.start - before.start == QUARTER for before, after in pairwise(meter.intervals))
