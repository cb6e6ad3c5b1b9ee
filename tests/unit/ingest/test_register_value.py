"""Registers to numbers and back. The machine's own floats serve as the reference here only."""

import math
import struct
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.register_value import (
    REGISTER_TYPES,
    bits_of,
    counter_bits,
    exact,
    gauge_bits,
    nearest,
    words_of,
)

F32 = REGISTER_TYPES["f32"]
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
INTEGER_TYPES = sorted(name for name, kind in REGISTER_TYPES.items() if not kind.floating)


def bits_of_float(value: float) -> int:
    return int.from_bytes(struct.pack(">f", value), "big")


@given(FLOATS)
@example(math.ldexp(1, -149))
@example(-0.0)
def test_a_binary32_is_read_exactly(value: float) -> None:
    assert Fraction(*exact(bits_of_float(value), F32)) == Fraction(value)


@given(st.fractions(max_denominator=10**9).filter(lambda value: abs(value) < 2**120))
def test_a_fraction_becomes_the_nearest_binary32(value: Fraction) -> None:
    bits = gauge_bits(value.numerator, value.denominator, F32)
    error = abs(Fraction(*exact(bits, F32)) - value)
    for neighbour in (bits - 1, bits + 1):
        if neighbour >= 0 and neighbour >> 23 & 0xFF != 0xFF:
            assert error <= abs(Fraction(*exact(neighbour, F32)) - value)


@given(FLOATS)
def test_a_binary32_survives_the_way_there_and_back(value: float) -> None:
    numerator, denominator = exact(bits_of_float(value), F32)
    expected = bits_of_float(value if value else 0.0)  # an exact fraction has one zero
    assert gauge_bits(numerator, denominator, F32) == expected


@pytest.mark.parametrize("bits", [0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00000, 0x7F800001])
def test_nan_and_infinity_are_no_numbers(bits: int) -> None:
    with pytest.raises(ValueError):
        exact(bits, F32)


def test_a_number_beyond_binary32_is_refused() -> None:
    largest = (2**24 - 1) * 2**104
    assert gauge_bits(largest, 1, F32) == 0x7F7FFFFF
    with pytest.raises(OverflowError):
        gauge_bits(largest + 2**103, 1, F32)


@given(st.integers(), st.integers(min_value=1))
def test_rounding_is_to_the_nearest_with_ties_to_even(numerator: int, denominator: int) -> None:
    assert nearest(numerator, denominator) == round(Fraction(numerator, denominator))


def test_a_kilowatt_hour_that_floats_cannot_hold_keeps_its_watt_hours() -> None:
    numerator, denominator = exact(bits_of_float(0.7), F32)  # 0.699999988..
    assert nearest(numerator * 1000, denominator) == 700


@given(st.sampled_from(INTEGER_TYPES), st.data())
def test_integers_keep_their_sign_in_either_word_order(name: str, data: st.DataObject) -> None:
    kind = REGISTER_TYPES[name]
    width = 16 * kind.words
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if kind.signed else (0, (1 << width) - 1)
    value = data.draw(st.integers(low, high))
    low_first = data.draw(st.booleans())
    words = words_of(gauge_bits(value, 1, kind), kind.words, low_first=low_first)
    assert len(words) == kind.words
    assert exact(bits_of(words, low_first=low_first), kind) == (value, 1)


def test_low_word_first_swaps_words_and_not_bytes() -> None:
    assert bits_of((0x3039, 0x0001), low_first=True) == 0x00013039
    assert words_of(0x00013039, 2, low_first=True) == (0x3039, 0x0001)


@given(st.sampled_from(INTEGER_TYPES), st.integers(min_value=0))
def test_a_counter_starts_again_from_zero_and_never_shows_a_negative(name: str, steps: int) -> None:
    kind = REGISTER_TYPES[name]
    full = 1 << 16 * kind.words - kind.signed
    assert exact(counter_bits(steps, 1, kind), kind)[0] == steps % full


@given(st.sampled_from(INTEGER_TYPES), st.integers())
def test_a_gauge_stops_at_the_end_of_its_range(name: str, value: int) -> None:
    kind = REGISTER_TYPES[name]
    shown = exact(gauge_bits(value, 1, kind), kind)[0]
    assert shown == value or abs(shown) < abs(value)
