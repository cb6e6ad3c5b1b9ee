"""The number behind Modbus registers, and back, in integers only.

A register value travels as 16-bit words. Its bits make one unsigned integer, its type makes that an
exact fraction, and a fraction becomes whole watt-hours or watts in one place: `nearest`. No step
passes through a binary float, so what is written into the book follows from the registers alone.

Rounding is to the nearest, ties to the even neighbour. Rounding down would lose a watt-hour on every
float register: 0.7 kWh is sent as 0.699999988, and the meter means 700 Wh.
"""

from collections.abc import Sequence

import msgspec

FRACTION_BITS = 23  # IEEE 754 binary32: 1 sign, 8 exponent, 23 fraction bits
IMPLICIT_ONE = 1 << FRACTION_BITS
EXPONENT_BIAS = 127
EXPONENT_SPECIAL = 0xFF  # infinities and NaNs
EXPONENT_MIN = -149  # of the last bit of a subnormal number


class RegisterType(msgspec.Struct, frozen=True):
    """How many 16-bit words a value takes and how its bits are read."""

    words: int
    signed: bool = False
    floating: bool = False


REGISTER_TYPES = {
    "u16": RegisterType(1),
    "i16": RegisterType(1, signed=True),
    "u32": RegisterType(2),
    "i32": RegisterType(2, signed=True),
    "acc32": RegisterType(2),  # SunSpec: an accumulator, zero also where nothing is accumulated
    "u64": RegisterType(4),
    "i64": RegisterType(4, signed=True),
    "f32": RegisterType(2, signed=True, floating=True),
}


def bits_of(words: Sequence[int], *, low_first: bool) -> int:
    """The unsigned integer spelled by `words`; `low_first` when the least significant comes first."""
    bits = 0
    for word in reversed(words) if low_first else words:
        bits = bits << 16 | word
    return bits


def words_of(bits: int, count: int, *, low_first: bool) -> tuple[int, ...]:
    """The inverse of `bits_of`: `count` 16-bit words."""
    words = tuple(bits >> 16 * place & 0xFFFF for place in range(count))
    return words if low_first else words[::-1]


def exact(bits: int, kind: RegisterType) -> tuple[int, int]:
    """The value as an exact fraction (numerator, denominator > 0); `ValueError` for NaN and infinity."""
    if kind.floating:
        return _exact_of_binary32(bits)
    width = 16 * kind.words
    return (bits - (1 << width) if kind.signed and bits >> width - 1 else bits), 1


def nearest(numerator: int, denominator: int) -> int:
    """The integer nearest to the fraction, ties to even. The only place that rounds."""
    quotient, remainder = divmod(numerator, denominator)
    doubled = 2 * remainder
    if doubled > denominator or (doubled == denominator and quotient & 1):
        return quotient + 1
    return quotient


def counter_bits(numerator: int, denominator: int, kind: RegisterType) -> int:
    """The bits a meter's counter shows for an amount >= 0.

    An integer counter shows only whole steps and starts again from zero when it is full; a float
    shows the nearest number it has.
    """
    if kind.floating:
        return _binary32_of(numerator, denominator)
    width = 16 * kind.words - kind.signed
    return numerator // denominator & (1 << width) - 1


def gauge_bits(numerator: int, denominator: int, kind: RegisterType) -> int:
    """The bits a meter shows for a momentary value; an integer stops at the end of its range."""
    if kind.floating:
        return _binary32_of(numerator, denominator)
    width = 16 * kind.words
    least, most = range_of(kind)
    return max(least, min(most, nearest(numerator, denominator))) & (1 << width) - 1


def range_of(kind: RegisterType) -> tuple[int, int]:
    """The least and the greatest integer an integer type can show."""
    width = 16 * kind.words
    return (-(1 << width - 1), (1 << width - 1) - 1) if kind.signed else (0, (1 << width) - 1)


def _exact_of_binary32(bits: int) -> tuple[int, int]:
    exponent = bits >> FRACTION_BITS & 0xFF
    fraction = bits & IMPLICIT_ONE - 1
    if exponent == EXPONENT_SPECIAL:
        raise ValueError("not a number" if fraction else "infinite")
    if exponent:  # a normal number has an implicit leading one
        fraction |= IMPLICIT_ONE
    else:
        exponent = 1
    value = -fraction if bits >> 31 else fraction
    shift = exponent - EXPONENT_BIAS - FRACTION_BITS
    return (value << shift, 1) if shift >= 0 else (value, 1 << -shift)


def _binary32_of(numerator: int, denominator: int) -> int:
    """The nearest binary32, ties to even; `OverflowError` beyond the largest finite number."""
    sign, numerator = (1 << 31, -numerator) if numerator < 0 else (0, numerator)
    if not numerator:
        return sign
    # The fraction field is sought with 24 significant bits; the estimate is off by at most one.
    shift = max(EXPONENT_MIN, numerator.bit_length() - denominator.bit_length() - FRACTION_BITS - 1)
    fraction = _scaled(numerator, denominator, shift)
    if fraction >> FRACTION_BITS + 1:
        shift += 1
        fraction = _scaled(numerator, denominator, shift)
    if not fraction >> FRACTION_BITS:  # subnormal: no implicit one, exponent field 0
        return sign | fraction
    # Added, not or-ed: a fraction rounded up to the next power of two carries into the exponent.
    magnitude = (shift + EXPONENT_BIAS + FRACTION_BITS << FRACTION_BITS) + fraction - IMPLICIT_ONE
    if magnitude >> FRACTION_BITS >= EXPONENT_SPECIAL:
        raise OverflowError("beyond the largest binary32")
    return sign | magnitude


def _scaled(numerator: int, denominator: int, shift: int) -> int:
    return (
        nearest(numerator, denominator << shift) if shift >= 0 else nearest(numerator << -shift, denominator)
    )
