"""Who traded with whom, once it is settled how much each sold and bought.

Within a feeder first, then from feeder to feeder, sellers in order of their names and buyers in the opposite
order, each pair as much as fits (the north-west corner rule). So there are fewer trades than sellers and
buyers, the same for any order in which the offers came, and a building that both gave and took in an interval
hardly meets itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Self

from settlement.clearing import Cleared, FeederPair
from settlement.market import Market, Offer, Trade, trades_at


class Parties(NamedTuple):
    """Buildings with energy to be given or taken, the next one last."""

    names: list[str]
    energies: list[int]

    @classmethod
    def of(cls, told: Iterable[tuple[str, int]], *, last_first: bool) -> Self:
        """The buildings that have any, in order of their names, or the last of them first."""
        totals: dict[str, int] = {}
        for building, energy in told:
            if energy:
                totals[building] = totals.get(building, 0) + energy
        names = sorted(totals, reverse=last_first)
        return cls(names, [totals[name] for name in names])

    @property
    def total(self) -> int:
        """All of their energy."""
        return sum(self.energies)


def pair(market: Market, sells: Sequence[Offer], buys: Sequence[Offer], cleared: Cleared) -> list[Trade]:
    """The trades of what was cleared; `sells` and `buys` are the offers that were, in the same order."""
    sellers = _parties(sells, cleared.sold, last_first=True)
    buyers = _parties(buys, cleared.bought, last_first=False)
    flows = cleared.flows or _flows(sellers, buyers)
    trades = []
    for seller_feeder, buyer_feeder in sorted(flows, key=_near_first):
        wheeling = market.routes.wheeling(seller_feeder, buyer_feeder)
        price = cleared.prices[seller_feeder]
        matched = match(sellers[seller_feeder], buyers[buyer_feeder], flows[seller_feeder, buyer_feeder])
        trades += trades_at(market, matched, price, wheeling)
    return trades


def _near_first(pair: FeederPair) -> tuple[bool, FeederPair]:
    return pair[0] != pair[1], pair


def _parties(offers: Sequence[Offer], energies: Sequence[int], *, last_first: bool) -> dict[str, Parties]:
    by_feeder: dict[str, list[tuple[str, int]]] = {}
    for offer, energy in zip(offers, energies, strict=True):
        if energy:
            by_feeder.setdefault(offer.feeder, []).append((offer.building, energy))
    return {feeder: Parties.of(told, last_first=last_first) for feeder, told in by_feeder.items()}


def _flows(sellers: Mapping[str, Parties], buyers: Mapping[str, Parties]) -> dict[FeederPair, int]:
    """What flows between feeders where it costs nothing: as much as can be stays on its feeder."""
    sold = {feeder: parties.total for feeder, parties in sorted(sellers.items())}
    bought = {feeder: parties.total for feeder, parties in sorted(buyers.items())}
    flows: dict[FeederPair, int] = {}
    for seller, buyer in sorted(((s, b) for s in sold for b in bought), key=_near_first):
        energy = min(sold[seller], bought[buyer])
        if energy:
            flows[seller, buyer] = energy
            sold[seller] -= energy
            bought[buyer] -= energy
    return flows


def match(sellers: Parties, buyers: Parties, energy_milliwh: int) -> list[tuple[str, str, int]]:
    """Pairs of sellers and buyers for so much energy, which both give up."""
    found = []
    left = energy_milliwh
    (givers, given), (takers, taken) = sellers, buyers
    while left:
        offered, wanted = given[-1], taken[-1]
        energy = min(left, offered, wanted)
        found.append((givers[-1], takers[-1], energy))
        left -= energy
        if energy == offered:
            givers.pop()
            given.pop()
        else:
            given[-1] = offered - energy
        if energy == wanted:
            takers.pop()
            taken.pop()
        else:
            taken[-1] = wanted - energy
    return found
