"""Mechanisms with sealed orders: every offer has its own limit, and the grid's prices are reserve prices.

No buyer is asked for more than the grid would ask, no seller given less than the grid would give: a limit
beyond is taken for the grid's price. An offer without a limit is a price taker and stands at that price too.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

from settlement.amounts import part, shares
from settlement.clearing import Bid, FeederPair, clear
from settlement.market import Market, Offer, Outcome, Trade, trade
from settlement.mechanisms.parameters import Parameters
from settlement.pairing import Parties, match, pair


def uniform_price(market: Market, parameters: Parameters) -> Outcome:
    """Efficient clearing at one price for all (one a feeder where wheeling parts them).

    The k-double auction of Satterthwaite and Williams: Bilateral trade with the sealed bid k-double auction
    (Journal of Economic Theory 48, 1989), for many sellers and buyers; k = 1/2, 0 or 1 by `price_rule`.
    """
    cleared = clear(_sell_bids(market), _buy_bids(market), market.costs(), parameters.price_rule)
    return Outcome(pair(market, market.sells, market.buys, cleared), [])


def pay_as_bid(market: Market, parameters: Parameters) -> Outcome:
    """The best buyers meet the sellers that are cheapest for them, way included, at a price between limits.

    The seller gets its limit and the part `split_ppm` of what the two gain, the buyer keeps the rest. Who has
    the same limit (and feeder, where the way has a price) sells or buys in proportion to its energy.
    Discriminatory pricing as in Nicolaisen, Petrov, Tesfatsion: Market power and efficiency in a
    computational electricity market with discriminatory double-auction pricing (IEEE Transactions on
    Evolutionary Computation 5, 2001), where the split is one half.
    """
    costs = market.costs()
    sellers = _levels(market.sells, _sell_bids(market), apart=bool(costs), sign=1)
    met: list[tuple[_Level, _Level, int]] = []
    for buyers in _levels(market.buys, _buy_bids(market), apart=bool(costs), sign=-1):
        while buyers.left and (found := _cheapest(sellers, buyers, costs)) is not None:
            energy = min(found.left, buyers.left)
            found.left -= energy
            buyers.left -= energy
            met.append((found, buyers, energy))
    trades: list[Trade] = []
    for found, buyers, energy in met:
        gain = buyers.limit - found.limit - costs.get((found.feeder, buyers.feeder), 0)
        price = found.limit + part(gain, parameters.split_ppm)
        wheeling = market.routes.wheeling(found.feeder, buyers.feeder)
        trades += [
            trade(market, *each, price, wheeling) for each in match(found.parties, buyers.parties, energy)
        ]
    return Outcome(trades, [])


class _Level:
    """The offers of one limit, and of one feeder where the way has a price."""

    def __init__(self, feeder: str, limit: int, sign: Literal[1, -1]) -> None:
        self.feeder = feeder
        self.limit = limit
        self.left = 0  # of their energy
        self._sign = sign
        self._offers: list[Offer] = []

    def add(self, offer: Offer) -> None:
        """One more of them."""
        self.left += offer.energy_milliwh
        self._offers.append(offer)

    @cached_property
    def parties(self) -> Parties:
        """Who has how much of what was taken of the level, once nothing more is."""
        energies = [offer.energy_milliwh for offer in self._offers]
        taken = shares(sum(energies) - self.left, energies)
        return Parties.of(
            ((offer.building, energy) for offer, energy in zip(self._offers, taken, strict=True)),
            last_first=self._sign == 1,
        )


def _levels(
    offers: Sequence[Offer], bids: Sequence[Bid], *, apart: bool, sign: Literal[1, -1]
) -> list[_Level]:
    """The best first."""
    found: dict[tuple[int, str], _Level] = {}
    for offer, bid in sorted(zip(offers, bids, strict=True), key=lambda each: each[0].building):
        feeder = offer.feeder if apart else ""
        key = sign * bid.limit_micro_per_kwh, feeder
        if key not in found:
            found[key] = _Level(feeder, bid.limit_micro_per_kwh, sign)
        found[key].add(offer)
    return [level for _, level in sorted(found.items())]


def _cheapest(sellers: Sequence[_Level], buyers: _Level, costs: Mapping[FeederPair, int]) -> _Level | None:
    """Where the next kWh costs the buyers least, at a tie on their own feeder; None above their limit."""
    found, least = None, (buyers.limit, 2)
    for level in sellers:
        if level.left:
            price = (
                level.limit + costs.get((level.feeder, buyers.feeder), 0),
                int(level.feeder != buyers.feeder),
            )
            if price < least:
                found, least = level, price
    return found


def _sell_bids(market: Market) -> list[Bid]:
    return [Bid(offer.feeder, offer.energy_milliwh, market.ask(offer)) for offer in market.sells]


def _buy_bids(market: Market) -> list[Bid]:
    return [Bid(offer.feeder, offer.energy_milliwh, market.bid(offer)) for offer in market.buys]
