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
    """Share the surplus at a price that the rule takes from the grid's two.

    A static share is the same whatever its holder needs: what somebody with no need in an interval is
    entitled to is left over, or goes to the others where the key is cascading. Equal and proportional shares
    are those of the buildings with a need.
    """
    produced = sum(offer.energy_milliwh for offer in market.sells)
    wanted = {offer.building: offer.energy_milliwh for offer in market.buys}
    names = sorted({*wanted, *parameters.keys})
    needs = [wanted.get(name, 0) for name in names]
    weights = [parameters.keys.get(name, 0) for name in names]
    entitled = dict(zip(names, _KEYS[parameters.kind](produced, needs, weights), strict=True))
    buys = [
        offer._replace(energy_milliwh=min(entitled[offer.building], offer.energy_milliwh))
        for offer in market.buys
    ]
    price = within(market.band.feed_in_micro_per_kwh, market.band.retail_micro_per_kwh, parameters.price_rule)
    cleared = at_price(market, market.sells, buys, price)
    used = dict(zip((offer.building for offer in buys), cleared.bought, strict=True))
    found = [
        Share(name, share, used.get(name, 0), share - used.get(name, 0))
        for name, share in entitled.items()
        if share or name in wanted
    ]
    return Outcome(pair(market, market.sells, buys, cleared), found)


def _static(produced: int, needs: Sequence[int], weights: Sequence[int]) -> list[int]:
    return shares(produced, weights)


def _proportional(produced: int, needs: Sequence[int], weights: Sequence[int]) -> list[int]:
    return shares(produced, needs)


def _equal(produced: int, needs: Sequence[int], weights: Sequence[int]) -> list[int]:
    return shares(produced, [bool(need) for need in needs])


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
