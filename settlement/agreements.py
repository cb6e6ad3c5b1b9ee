"""Agreements: two buildings trade at a fixed price before the community's mechanism sees what is left."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from settlement.market import Market, Trade, trade
from settlement.offers import Metered


class Agreement(NamedTuple):
    """So much energy an interval at most, or all that both sides metered."""

    seller: str
    buyer: str
    price_micro_per_kwh: int
    energy_milliwh: int | None = None


def serve(
    agreements: Sequence[Agreement],
    metered: Sequence[Metered],
    market: Market,
    feeder_of: Callable[[str], str],
) -> tuple[list[Trade], list[Metered]]:
    """The trades agreed upon, one after another as far as metered energy goes, and what is left of that.

    Of `market` only the prices and the ways count. A partner that was not metered trades nothing.
    """
    if not agreements:
        return [], list(metered)
    needs = {each.building: each.import_milliwh for each in metered}
    surplus = {each.building: each.export_milliwh for each in metered}
    trades = []
    for seller, buyer, price, most in agreements:
        energy = min(surplus.get(seller, 0), needs.get(buyer, 0))
        energy = energy if most is None else min(energy, most)
        if energy:
            wheeling = market.routes.wheeling(feeder_of(seller), feeder_of(buyer))
            trades.append(trade(market, seller, buyer, energy, price, wheeling))
            surplus[seller] -= energy
            needs[buyer] -= energy
    return trades, [Metered(building, needs[building], surplus[building]) for building in needs]
