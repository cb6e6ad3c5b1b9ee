"""Mechanisms with one price for all, which follows from how much there is of each side.

The shorter side is matched whole, the longer one in proportion to its energies; the rest is the grid's. A
building whose limit the price does not meet leaves, which may move the price: so the price is found again
until everybody who is left is content.
"""

from collections.abc import Callable, Sequence

from settlement.amounts import divided, midpoint, part
from settlement.clearing import Bid, Cleared, clear
from settlement.making import maker
from settlement.market import Market, Offer, Outcome
from settlement.mechanisms.parameters import Parameters
from settlement.pairing import pair

PriceOf = Callable[[int, int], int]
"""The price at so much demand and so much surplus."""


def mid_market_rate(market: Market, parameters: Parameters) -> Outcome:
    """Half-way between the grid's two prices.

    Long, Wu, Zhang, Thomas, Cheng, Jenkins: Peer-to-peer energy trading in a community microgrid (IEEE Power
    and Energy Society General Meeting, 2017).
    """
    band = market.band
    price = midpoint(band.feed_in_micro_per_kwh, band.retail_micro_per_kwh)
    return _pool(market, lambda demand, surplus: price)


def supply_demand_ratio(market: Market, parameters: Parameters) -> Outcome:
    """The more surplus there is for the demand, the lower the price.

    With r = surplus / demand, retail price Pb and feed-in price Ps: Pb * Ps / ((Pb - Ps) * r + Ps), and Ps
    from r = 1 on. A compensation c puts Ps + c * (Pb - Ps) in the place of Ps. Buyers get the part r of their
    demand at that price and the rest from the grid, on average price * r + Pb * (1 - r). Where the operator
    takes a fee from buyers, Pb is the retail price less that.

    Liu, Yu, Wang, Li, Ma, Lei: Energy-sharing model with price-based demand response for microgrids of
    peer-to-peer prosumers (IEEE Transactions on Power Systems 32, 2017).
    """
    retail, feed_in = market.band
    retail -= market.operator_fee_micro_per_kwh  # what a buyer can pay its neighbours
    least = feed_in + part(max(retail - feed_in, 0), parameters.compensation_ppm)

    def price(demand: int, surplus: int) -> int:
        if surplus >= demand or retail <= least:
            return least
        return divided(retail * least * demand, (retail - least) * surplus + least * demand)

    return _pool(market, price)


def bill_sharing(market: Market, parameters: Parameters) -> Outcome:
    """Neighbours give each other what they have; the grid's bill is shared by demand, its income by surplus.

    Since everybody of a side has the same part of its energy matched, the grid's rest is in proportion too.
    Long et al. 2017 (see `mid_market_rate`).
    """
    return _pool(market, lambda demand, surplus: 0)


def _pool(market: Market, price_of: PriceOf) -> Outcome:
    sells, buys = market.sells, market.buys
    while True:
        price = price_of(_energy(buys), _energy(sells)) if sells and buys else 0
        content_sells = [offer for offer in sells if (offer.limit_micro_per_kwh or 0) <= price]
        content_buys = [offer for offer in buys if price <= market.bid(offer)]
        if len(content_sells) == len(sells) and len(content_buys) == len(buys):
            break
        sells, buys = content_sells, content_buys
    return Outcome(pair(market, sells, buys, at_price(market, sells, buys, price)), [])


def at_price(market: Market, sells: Sequence[Offer], buys: Sequence[Offer], price: int) -> Cleared:
    """As much as can be matched at `price`; over a way only where it leaves the buyer below its limit."""
    costs = market.costs()
    most = market.band.retail_micro_per_kwh - market.operator_fee_micro_per_kwh
    # Without wheeling all who are content with the price are equals.
    limits = [market.bid(offer) for offer in buys] if costs else [most] * len(buys)
    cleared = clear(
        [_bid((feeder, energy, price)) for _, feeder, energy, _ in sells],
        [_bid((feeder, energy, limit)) for (_, feeder, energy, _), limit in zip(buys, limits, strict=True)],
        costs,
    )
    return cleared._replace(prices=dict.fromkeys(cleared.prices, price))


_bid = maker(Bid)


def _energy(offers: Sequence[Offer]) -> int:
    return sum(offer.energy_milliwh for offer in offers)
