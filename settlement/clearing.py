"""Efficient clearing of a double auction, with and without wheeling between feeders.

Of all ways to match the bids, the one with the highest welfare (what the buyers would have paid, less what
the sellers would have asked, less wheeling) is found, of those the one with the highest volume, and of those
the one that keeps most within feeders. Bids of one feeder and limit are taken in the same proportion.

- Where wheeling costs nothing, it is the volume at which rising supply and falling demand cross.
- Otherwise it is a transport problem between feeders, see `settlement.transport`.

Prices are those at which every bid is content with what it got: a whole interval of them, out of which the
rule takes the middle, or the sellers' or the buyers' end.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

from settlement.amounts import midpoint, shares
from settlement.transport import Step, transport

PriceRule = Literal["midpoint", "seller", "buyer"]
FeederPair = tuple[str, str]


class Bid(NamedTuple):
    """Energy at a limit, on a feeder."""

    feeder: str
    energy_milliwh: int
    limit_micro_per_kwh: int


class Cleared(NamedTuple):
    """What was taken of each bid, in their order; what flows between feeders; the price by feeder.

    A feeder's price is what its sellers get. A buyer pays that of the feeder it is served from, and the
    wheeling. Without wheeling there are no flows to tell: all feeders are one.
    """

    sold: list[int]
    bought: list[int]
    flows: dict[FeederPair, int]
    prices: dict[str, int]


class Curve:
    """Supply by rising limits (`sign` 1), or demand by falling ones (`sign` -1, limits negated)."""

    def __init__(self, bids: Sequence[Bid], sign: Literal[1, -1]) -> None:
        totals: dict[int, int] = {}
        for _, energy, limit in bids:
            if energy:
                totals[limit] = totals.get(limit, 0) + energy
        self._bids = bids
        self._sign = sign
        self._keys = sorted(sign * limit for limit in totals)
        self._until = list(accumulate(totals[sign * key] for key in self._keys))

    def steps(self) -> list[Step]:
        """Limits with the energy that is offered at each, best first."""
        before = [0, *self._until]
        return [Step(self._sign * k, e - b) for k, e, b in zip(self._keys, self._until, before, strict=False)]

    def totals(self) -> list[tuple[int, int]]:
        """Limits with the energy that is offered up to each, best first."""
        return [(self._sign * key, until) for key, until in zip(self._keys, self._until, strict=True)]

    def at(self, price: int) -> int:
        """The energy offered at `price`."""
        place = bisect_right(self._keys, self._sign * price)
        return self._until[place - 1] if place else 0

    def last_taken(self, volume: int) -> int:
        """The limit of the worst bid that a volume above zero needs."""
        return self._sign * self._keys[bisect_left(self._until, volume)]

    def first_left(self, volume: int) -> int | None:
        """The limit of the best bid that `volume` does not use up; None when it uses all."""
        place = bisect_right(self._until, volume)
        return self._sign * self._keys[place] if place < len(self._keys) else None

    def take(self, volume: int) -> list[int]:
        """How much of each bid is taken, best limits first and in proportion at the last."""
        if not volume:
            return [0] * len(self._bids)
        sign, place = self._sign, bisect_left(self._until, volume)
        margin = sign * self._keys[place]
        before = self._until[place - 1] if place else 0
        at_margin = iter(shares(volume - before, [bid[1] for bid in self._bids if bid[2] == margin]))
        return [
            next(at_margin) if limit == margin else energy if sign * (margin - limit) > 0 else 0
            for _, energy, limit in self._bids
        ]


def clear(
    sells: Sequence[Bid], buys: Sequence[Bid], costs: Mapping[FeederPair, int], rule: PriceRule = "midpoint"
) -> Cleared:
    """Match bids. `costs` are micro-units a kilowatt-hour from feeder to feeder, nothing where not listed."""
    if any(costs.values()):
        return _clear_feeders(sells, buys, costs, rule)
    supply, demand = Curve(sells, 1), Curve(buys, -1)
    volume = max((min(until, demand.at(limit)) for limit, until in supply.totals()), default=0)
    if not volume:
        return Cleared([0] * len(sells), [0] * len(buys), {}, {})
    low, high = supply.last_taken(volume), demand.last_taken(volume)
    if (unsold := supply.first_left(volume)) is not None:
        high = min(high, unsold)
    if (unserved := demand.first_left(volume)) is not None:
        low = max(low, unserved)
    price = within(low, high, rule)
    return Cleared(supply.take(volume), demand.take(volume), {}, {bid.feeder: price for bid in sells})


def within(low: int, high: int, rule: PriceRule) -> int:
    """The price that the rule chooses between two."""
    return {"midpoint": midpoint(low, high), "seller": low, "buyer": high}[rule]


def _clear_feeders(
    sells: Sequence[Bid], buys: Sequence[Bid], costs: Mapping[FeederPair, int], rule: PriceRule
) -> Cleared:
    supply, demand = _by_feeder(sells, 1), _by_feeder(buys, -1)
    found = transport(
        {feeder: curve.steps() for feeder, curve in supply.items()},
        {feeder: curve.steps() for feeder, curve in demand.items()},
        costs,
    )
    sold = {feeder: iter(curve.take(found.sold.get(feeder, 0))) for feeder, curve in supply.items()}
    bought = {feeder: iter(curve.take(found.bought.get(feeder, 0))) for feeder, curve in demand.items()}
    return Cleared(
        [next(sold[bid.feeder]) for bid in sells],
        [next(bought[bid.feeder]) for bid in buys],
        found.flows,
        {feeder: within(low, high, rule) for feeder, (low, high) in found.prices.items()},
    )


def _by_feeder(bids: Sequence[Bid], sign: Literal[1, -1]) -> dict[str, Curve]:
    grouped: dict[str, list[Bid]] = {}
    for bid in bids:
        grouped.setdefault(bid.feeder, []).append(bid)
    return {feeder: Curve(grouped[feeder], sign) for feeder in sorted(grouped)}
