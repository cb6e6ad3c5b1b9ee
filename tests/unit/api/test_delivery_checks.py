"""The doctor says what main meter and buildings cannot show together, and since when."""

from datetime import timedelta

import pytest

from api.delivery_checks import Passed, Seen, finding_of, seen
from tests.support.campus import MORNING, QUARTER


def test_what_buildings_give_came_in_too_and_intervals_that_one_side_lacks_are_left_out() -> None:
    deliveries = {MORNING: (1_000, 50), MORNING + QUARTER: (7, 7)}
    energies = {MORNING: [("a", 900, 0), ("b", 100, 100)], MORNING - QUARTER: [("a", 9, 9)]}
    found = seen(deliveries, energies)
    assert found == Seen([MORNING], [Passed(1_100, 1_050)])
    assert found.whole.untold_wh == 50


@pytest.mark.parametrize(
    ("passed", "is_absurd"),
    [
        (Passed(100_000, 99_000), False),
        (Passed(100_000, 80_000), False),
        (Passed(100_000, 79_999), True),
        (Passed(79_999, 100_000), True),
        (Passed(1_824, 367), True),
        (Passed(900, 0), False),
        (Passed(), False),
    ],
)
def test_a_fifth_is_no_loss_any_more_unless_next_to_nothing_flowed(passed: Passed, is_absurd: bool) -> None:
    assert Seen([MORNING], [passed]).is_absurd == is_absurd


def test_the_first_interval_that_cannot_be_is_told_with_what_is_usually_wrong() -> None:
    starts = [MORNING + k * QUARTER for k in range(3)]
    last = Seen(starts, [Passed(1_000, 990), Passed(1_824, 367), Passed(1_824, 367)])
    assert last.since == starts[1]
    billed = finding_of(last, last.since, is_billed=True)
    assert billed.verdict == "wrong"
    assert billed.found == (
        "no building's meter shows 62 % of what flows, since 2026-06-01 00:15:"
        " 2.924 of 4.648 kWh in the last day"
    )
    assert "not in the registry" in billed.hint
    assert "the buildings pay for it" in billed.hint
    merely_odd = finding_of(last, last.since, is_billed=False)
    assert (merely_odd.verdict, "pay" in merely_odd.hint) == ("odd", False)


def test_a_main_meter_that_shows_too_little_is_told_and_a_small_loss_is_well() -> None:
    since = MORNING + timedelta(hours=1)
    less = finding_of(Seen([MORNING], [Passed(1_000, 3_000)]), since, is_billed=True)
    assert less.found.startswith("the main meter does not show 66 % of what flows, since 2026-06-01 01:00: ")
    well = finding_of(Seen([MORNING], [Passed(10_000, 9_900)]), since, is_billed=True)
    assert (well.verdict, well.hint) == ("well", "")
    assert well.found == "main meter and buildings differ by 1 %: 0.100 of 10.000 kWh in the last day"
