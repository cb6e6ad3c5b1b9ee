"""Collective self-consumption: what the community produced is shared among its consumers by a key.

Static keys are the coefficients of Spain's autoconsumo colectivo (Real Decreto 244/2019, annex I) and of
Enedis' "clé de répartition statique", proportional ones Enedis' default key. Nobody gets more than it needs,
so there may be a residual, which the grid takes from the producers.
"""

from collections.abc import Callable, Sequence

from settlement.amounts import shares
from settlement.clearing import within
from settlement.market import Market, Outcome, Share
from settlement.mechanisms.parameters import KeyKind, Parameters
from settlement.mechanisms.pool import at_price
from settlement.pairing import pair

Entitlements = Callable[[int, Sequence[int], Sequence[int]], list[int]]
"""What is there, everybody's needs and key weights -> what each is entitled to; sums to what is there."""


def sharing_key(market: Market, parameters: Parameters) -> Outcome:
    """Share the surplus among all with a need, at a price that the rule takes from the grid's two.

    Who has no need in an interval has no part in it, whatever its key.
    """
    produced = sum(offer.energy_milliwh for offer in market.sells)
    needs = [offer.energy_milliwh for offer in market.buys]
    weights = [parameters.keys.get(offer.building, 0) for offer in market.buys]
    entitled = _KEYS[parameters.kind](produced, needs, weights)
    used = list(map(min, entitled, needs))
    buys = [offer._replace(energy_milliwh=energy) for offer, energy in zip(market.buys, used, strict=True)]
    price = within(market.band.feed_in_micro_per_kwh, market.band.retail_micro_per_kwh, parameters.price_rule)
    cleared = at_price(market, market.sells, buys, price)
    found = [
        Share(offer.building, share, taken, share - taken)
        for offer, share, taken in zip(market.buys, entitled, cleared.bought, strict=True)
    ]
    return Outcome(pair(market, market.sells, buys, cleared), found)


def _static(produced: int, needs: Sequence[int], weights: Sequence[int]) -> list[int]:
    return shares(produced, weights)


def _proportional(produced: int, needs: Sequence[int], weights: Sequence[int]) -> list[int]:
    return shares(produced, needs)


def _equal(produced: int, needs: Sequence[int], weights: Sequence[int]) -> list[int]:
    return shares(produced, [1] * len(needs))


def _cascading(produced: int, needs: Sequence[int], weights: Sequence[int]) -> list[int]:
    """Static first; what somebody does not need is shared again in proportion to the needs that are left."""
    first = _static(produced, needs, weights)
    used = list(map(min, first, needs))
    unmet = [need - taken for need, taken in zip(needs, used, strict=True)]
    if not any(unmet):
        return first
    again = shares(produced - sum(used), unmet)
    return [taken + more for taken, more in zip(used, again, strict=True)]


_KEYS: dict[KeyKind, Entitlements] = {
    "static": _static,
    "proportional": _proportional,
    "equal": _equal,
    "cascading": _cascading,
}
