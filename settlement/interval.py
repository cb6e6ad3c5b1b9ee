"""One interval, settled: agreements, the mechanism on what is left, the grid for the rest, the journal."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from settlement.agreements import Agreement, serve
from settlement.amounts import amount_micro
from settlement.journal import Posting, Residual, postings
from settlement.making import maker
from settlement.market import Band, Market, Outcome, Routes, Share, Trade
from settlement.mechanisms import MECHANISMS, Parameters
from settlement.offers import Metered, Order, offers


class Rules(NamedTuple):
    """By what a community settles its intervals."""

    mechanism: str
    parameters: Parameters
    routes: Routes
    feeder_of: Callable[[str], str]
    operator_fee_micro_per_kwh: int = 0


class Settled(NamedTuple):
    """What came out of an interval."""

    trades: list[Trade]
    shares: list[Share]
    residuals: list[Residual]

    def journal(self) -> list[Posting]:
        """The postings; they sum to zero in energy and in money."""
        return postings(self.trades, self.residuals)


def settle(
    rules: Rules,
    band: Band,
    metered: Sequence[Metered],
    orders: Mapping[str, Sequence[Order]],
    agreements: Sequence[Agreement] = (),
) -> Settled:
    """Settle one interval; the same for any order in which buildings and orders come.

    Agreements are served in the order in which they are given.
    """
    metered = sorted(metered)
    mechanism = MECHANISMS[rules.mechanism]
    nothing = Market(band, (), (), rules.routes, rules.operator_fee_micro_per_kwh)
    agreed, left = serve(agreements, metered, nothing, rules.feeder_of)
    traded, shares = Outcome([], [])
    if band.feed_in_micro_per_kwh <= band.retail_micro_per_kwh:  # else everybody is better off with the grid
        sells, buys = offers(left, orders if mechanism.takes_orders else {}, rules.feeder_of)
        traded, shares = mechanism.decide(nothing._replace(sells=sells, buys=buys), rules.parameters)
    trades = [*agreed, *traded]
    return Settled(trades, shares, residuals_of(metered, trades, band))


def residuals_of(metered: Sequence[Metered], trades: Sequence[Trade], band: Band) -> list[Residual]:
    """What is left to the grid, for every building, at the grid's prices."""
    bought: dict[str, int] = {}
    sold: dict[str, int] = {}
    for seller, buyer, energy, *_ in trades:
        bought[buyer] = bought.get(buyer, 0) + energy
        sold[seller] = sold.get(seller, 0) + energy
    retail, feed_in = band
    found = []
    for building, imported, exported in metered:
        rest, surplus = imported - bought.get(building, 0), exported - sold.get(building, 0)
        due = amount_micro(rest, retail) if rest else 0
        earned = amount_micro(surplus, feed_in) if surplus else 0
        found.append(_residual((building, rest, due, surplus, earned)))
    return found


_residual = maker(Residual)
