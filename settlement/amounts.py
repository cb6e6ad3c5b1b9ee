"""The one place that rounds. Everything here takes and gives integers.

Energy is in milliwatt-hours, money in micro-units of a currency, prices in micro-units a kilowatt-hour,
ratios in parts a million.
"""

from collections.abc import Sequence

MILLIWH_PER_KWH = 1_000_000
MILLIWH_PER_WH = 1_000
PPM = 1_000_000
MICRO = 1_000_000
COIN_MICRO = 10_000
"""A hundredth of a currency's unit, which most are counted in."""


def divided(numerator: int, denominator: int) -> int:
    """The nearest integer to a quotient of two numbers that are not negative; halves go up."""
    return (2 * numerator + denominator) // (2 * denominator)


def amount_micro(energy_milliwh: int, price_micro_per_kwh: int) -> int:
    """What so much energy costs at a price; halves of a micro-unit go up. Neither may be negative."""
    return (2 * energy_milliwh * price_micro_per_kwh + MILLIWH_PER_KWH) // (2 * MILLIWH_PER_KWH)


def part(whole: int, ppm: int) -> int:
    """So many parts a million of what is not negative."""
    return divided(whole * ppm, PPM)


def midpoint(low: int, high: int) -> int:
    """Half-way between two prices; a half goes down, so that equal differences stay equal."""
    return (low + high) // 2


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in proportion to `weights`, summing to it exactly.

    Each gets its quota rounded down, and what is left goes by one to those with the largest remainders (the
    method of Hamilton), at a tie to the one that stands first. Where all weights are zero, nobody gets any.
    """
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    quotas = [total * weight for weight in weights]
    found = [quota // whole for quota in quotas]
    left = total - sum(found)
    if left:
        by_remainder = sorted(range(len(weights)), key=lambda index: -(quotas[index] % whole))
        for index in by_remainder[:left]:
            found[index] += 1
    return found


def to_nearest_half_down(numerator: int, denominator: int) -> int:
    """The nearest integer to a quotient that is not negative; halves go down."""
    return -((denominator - 2 * numerator) // (2 * denominator))


def to_coins(micro: int, coin_micro: int = COIN_MICRO) -> int:
    """An amount in whole coins (satang, cents), still in micro-units.

    Halves go away from zero, so that a credit note undoes its invoice.
    """
    coins = divided(abs(micro), coin_micro) * coin_micro
    return coins if micro >= 0 else -coins
