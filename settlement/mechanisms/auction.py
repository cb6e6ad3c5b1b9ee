"""Mechanisms with sealed orders: every offer has its own limit, and the grid's prices are reserve prices.

No buyer is asked for more than the grid would ask, no seller given less than the grid would give: a limit
beyond is taken for the grid's price. An offer without a limit is a price taker and stands at that price too.
"""

from collections.abc import Mapping, Sequence

from settlement.amounts import part
from settlement.clearing import Bid, FeederPair, clear
from settlement.market import Market, Offer, Outcome, Trade, trade
from settlement.mechanisms.parameters import Parameters
from settlement.pairing import pair


def uniform_price(market: Market, parameters: Parameters) -> Outcome:
    """Efficient clearing at one price for all (one a feeder where wheeling parts them).

    The k-double auction of Satterthwaite and Williams: Bilateral trade with the sealed bid k-double auction
    (Journal of Economic Theory 48, 1989), for many sellers and buyers; k = 1/2, 0 or 1 by `price_rule`.
    """
    cleared = clear(_sell_bids(market), _buy_bids(market), market.costs(), parameters.price_rule)
    return Outcome(pair(market, market.sells, market.buys, cleared), [])


def pay_as_bid(market: Market, parameters: Parameters) -> Outcome:
    """The best buyer meets the seller that is cheapest for it, way included, at a price between their limits.

    The seller gets its limit and the part `split_ppm` of what the two gain, the buyer keeps the rest. Equal
    limits stand in order of names. Discriminatory pricing as in Nicolaisen, Petrov, Tesfatsion: Market power
    and efficiency in a computational electricity market with discriminatory double-auction pricing (IEEE
    Transactions on Evolutionary Computation 5, 2001), where the split is one half.
    """
    costs = market.costs()
    stalls = _stalls(market)
    trades: list[Trade] = []
    for buyer, bid in _merit_order(market.buys, _buy_bids(market), sign=-1):
        left = bid.energy_milliwh
        while left and (stall := _cheapest(stalls, bid, costs)) is not None:
            seller, feeder, ask = stall.seller, stall.feeder, stall.ask
            energy = stall.take(left)
            left -= energy
            gain = bid.limit_micro_per_kwh - ask - costs.get((feeder, bid.feeder), 0)
            price = ask + part(gain, parameters.split_ppm)
            wheeling = market.routes.wheeling(feeder, bid.feeder)
            trades.append(trade(market, seller, buyer, energy, price, wheeling))
    return Outcome(trades, [])


class _Stall:
    """The sellers of one feeder, the cheapest of them in front."""

    def __init__(self, feeder: str, queue: list[tuple[str, Bid]]) -> None:
        self.feeder = feeder
        self._queue = queue[::-1]
        self._left = queue[0][1].energy_milliwh

    @property
    def is_empty(self) -> bool:
        return not self._queue

    @property
    def seller(self) -> str:
        return self._queue[-1][0]

    @property
    def ask(self) -> int:
        return self._queue[-1][1].limit_micro_per_kwh

    def take(self, most_milliwh: int) -> int:
        """Take up to so much from who is in front; how much that was."""
        energy = min(most_milliwh, self._left)
        self._left -= energy
        if not self._left:
            self._queue.pop()
            self._left = self._queue[-1][1].energy_milliwh if self._queue else 0
        return energy


def _stalls(market: Market) -> list[_Stall]:
    by_feeder: dict[str, list[tuple[str, Bid]]] = {}
    for seller, bid in _merit_order(market.sells, _sell_bids(market), sign=1):
        by_feeder.setdefault(bid.feeder, []).append((seller, bid))
    return [_Stall(feeder, queue) for feeder, queue in sorted(by_feeder.items())]


def _cheapest(stalls: Sequence[_Stall], bid: Bid, costs: Mapping[FeederPair, int]) -> _Stall | None:
    """Where the next kWh costs the buyer least, at a tie on its own feeder; None above its limit."""
    found, least = None, (bid.limit_micro_per_kwh, 2)
    for stall in stalls:
        if not stall.is_empty:
            price = (stall.ask + costs.get((stall.feeder, bid.feeder), 0), int(stall.feeder != bid.feeder))
            if price < least:
                found, least = stall, price
    return found


def _merit_order(offers: Sequence[Offer], bids: Sequence[Bid], sign: int) -> list[tuple[str, Bid]]:
    named = [(offer.building, bid) for offer, bid in zip(offers, bids, strict=True) if bid.energy_milliwh]
    return sorted(named, key=lambda each: (sign * each[1].limit_micro_per_kwh, each[0], each[1]))


def _sell_bids(market: Market) -> list[Bid]:
    return [Bid(offer.feeder, offer.energy_milliwh, market.ask(offer)) for offer in market.sells]


def _buy_bids(market: Market) -> list[Bid]:
    return [Bid(offer.feeder, offer.energy_milliwh, market.bid(offer)) for offer in market.buys]
