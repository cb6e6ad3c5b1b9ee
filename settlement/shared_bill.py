"""The one bill of the campus, shared out: what no interval's energy pays for.

Energy and surcharges are settled interval by interval. What is left of the utility's bill has two causes:

    by peak     demand, the minimum charge and reactive power: in proportion to what the buildings took from
                the grid in the interval with the main meter's highest import (coincident peak)
    equally     service, contracted power and levies on them: to every building alike

Each charge goes out whole, by largest remainder. The tax comes with each building's own invoice.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from settlement.amounts import PPM, divided, shares
from settlement.utility_bill import LineKind, LoadRow, MonthBill

ChargeKind = Literal["demand", "service"]

_SHARED: Mapping[LineKind, ChargeKind] = {
    "demand": "demand",
    "minimum": "demand",
    "reactive": "demand",
    "capacity": "service",
    "service": "service",
    "levy": "service",
}
"""Lines of the utility's bill that are shared out, and as what; the others are settled or taxes."""


class Charge(NamedTuple):
    """A building's part of a charge."""

    building: str
    kind: ChargeKind
    amount_micro: int
    of_micro: int
    share_ppm: int


def shared_charges(
    bill: MonthBill, at_peak_milliwh: Mapping[str, int], buildings: Sequence[str]
) -> list[Charge]:
    """The buildings' parts of a month's bill; `at_peak_milliwh` is what they took in its peak interval.

    Where nobody took anything at the peak, its cost is shared equally.
    """
    totals: dict[ChargeKind, int] = {"demand": 0, "service": 0}
    for line in bill.lines:
        if (kind := _SHARED.get(line.kind)) is not None:
            totals[kind] += line.amount_micro
    names = sorted(buildings)
    by_peak = [at_peak_milliwh.get(name, 0) for name in names]
    weights = {"demand": by_peak if any(by_peak) else [1] * len(names), "service": [1] * len(names)}
    return [
        Charge(name, kind, amount, total, divided(amount * PPM, total))
        for kind, total in totals.items()
        if total > 0
        for name, amount in zip(names, shares(total, weights[kind]), strict=True)
    ]


def peak_interval(load: Sequence[LoadRow]) -> int | None:
    """The start of the interval with the highest import, the earliest of equals; none without a load."""
    return max(load, key=lambda row: (row.import_milliwh, -row.start)).start if load else None
