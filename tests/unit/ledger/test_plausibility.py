"""Which registers can follow which: the rules that the edge and the book share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.plausibility import GLITCH_ZERO, JUMP, ROLLBACK, Registers, energy_max_wh, fault

RATED_W = 10_000
QUARTER = 900
MOST_WH = 4_000
"""A quarter of an hour at 10 kW with a margin of a fifth, and 1 kWh for a coarse register."""

BEFORE = Registers(0, 5_000, 300)
WH = st.integers(0, 2**53 - 1)


@pytest.mark.parametrize(
    ("import_wh", "export_wh", "expected"),
    [
        (5_000, 300, ""),
        (5_001, 301, ""),
        (5_000 + MOST_WH, 300 + MOST_WH, ""),
        (5_000 + MOST_WH + 1, 300, JUMP),
        (5_000, 300 + MOST_WH + 1, JUMP),
        (4_999, 300, ROLLBACK),
        (5_000, 299, ROLLBACK),
        (9_999_999, 299, ROLLBACK),
        (0, 300, ROLLBACK),
        (5_000, 0, ROLLBACK),
        (0, 0, GLITCH_ZERO),
    ],
)
def test_registers_go_forward_and_no_faster_than_the_connection_can_carry(
    import_wh: int, export_wh: int, expected: str
) -> None:
    assert fault(BEFORE, Registers(QUARTER, import_wh, export_wh), RATED_W) == expected


def test_zero_after_zero_is_no_glitch() -> None:
    assert fault(Registers(0, 0, 0), Registers(QUARTER, 0, 0), RATED_W) == ""


@pytest.mark.parametrize(
    ("seconds", "rated_w", "most_wh"),
    [(900, 10_000, 4_000), (3_600, 10_000, 13_000), (300, 1, 1_000), (0, 10_000, 1_000), (900, 7, 1_002)],
)
def test_the_most_energy_is_the_rating_with_a_margin_and_the_registers_coarseness(
    seconds: int, rated_w: int, most_wh: int
) -> None:
    assert energy_max_wh(seconds, rated_w) == most_wh


@given(WH, WH, st.integers(1, 10**8), st.integers(1, 10**9))
def test_what_does_not_move_can_always_follow(
    import_wh: int, export_wh: int, seconds: int, rated_w: int
) -> None:
    before = Registers(0, import_wh, export_wh)
    assert fault(before, Registers(seconds, import_wh, export_wh), rated_w) == ""


@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=50))
def test_steps_that_are_plausible_one_by_one_are_plausible_together(steps: list[int]) -> None:
    after = Registers(QUARTER * len(steps), 5_000 + sum(steps), 300)
    assert fault(BEFORE, after, RATED_W) == ""
