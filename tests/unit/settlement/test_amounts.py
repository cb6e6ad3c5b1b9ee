"""Rounding happens once, says which way, and loses nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.amounts import amount_micro, divided, midpoint, part, shares, to_coins, to_nearest_half_down

NATURAL = st.integers(0, 10**18)


@pytest.mark.parametrize(
    ("energy_milliwh", "price", "amount"),
    [(1_000_000, 4_183_900, 4_183_900), (250_000, 4_183_900, 1_045_975), (1, 499_999, 0), (1, 500_000, 1)],
)
def test_an_amount_is_energy_times_price_to_the_nearest_micro_unit(
    energy_milliwh: int, price: int, amount: int
) -> None:
    assert amount_micro(energy_milliwh, price) == amount


@given(NATURAL, st.lists(st.integers(0, 10**12), max_size=12))
def test_shares_sum_to_the_whole_and_are_within_one_of_their_quota(total: int, weights: list[int]) -> None:
    found = shares(total, weights)
    whole = sum(weights)
    assert sum(found) == (total if whole else 0)
    for share, weight in zip(found, weights, strict=True):
        assert not whole or abs(share * whole - total * weight) < whole


def test_the_largest_remainders_get_what_is_left_and_the_first_at_a_tie() -> None:
    assert shares(10, [1, 1, 1]) == [4, 3, 3]
    assert shares(100, [3, 3, 1]) == [43, 43, 14]
    assert shares(5, [0, 2, 0]) == [0, 5, 0]


@given(NATURAL, st.integers(1, 10**12))
def test_quotients_are_the_nearest_integers(numerator: int, denominator: int) -> None:
    up, down = divided(numerator, denominator), to_nearest_half_down(numerator, denominator)
    assert abs(2 * up * denominator - 2 * numerator) <= denominator
    assert abs(2 * down * denominator - 2 * numerator) <= denominator
    assert up - down == (2 * numerator % (2 * denominator) == denominator)


def test_halves() -> None:
    assert (divided(5, 10), to_nearest_half_down(5, 10)) == (1, 0)
    assert (midpoint(3, 4), part(3, 500_000)) == (3, 2)
    assert (to_coins(15_000), to_coins(-15_000), to_coins(14_999)) == (20_000, -20_000, 10_000)
