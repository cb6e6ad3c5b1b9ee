"""The mechanisms by which a community trades, by name. Each is one function behind one interface.

A mechanism sees one interval's offers and the grid's prices (`Market`) and answers with trades among
buildings (`Outcome`); what is left is the grid's. It knows neither meters nor tariffs nor dates.
"""

from collections.abc import Callable
from typing import NamedTuple

from settlement.market import Market, Outcome
from settlement.mechanisms.auction import pay_as_bid, uniform_price
from settlement.mechanisms.parameters import Parameters
from settlement.mechanisms.pool import bill_sharing, mid_market_rate, supply_demand_ratio
from settlement.mechanisms.sharing_key import sharing_key


class Mechanism(NamedTuple):
    """A way to trade; where it takes no orders, everybody takes part with all that was metered.

    `parameters` are those that it looks at, by their names in rules.
    """

    decide: Callable[[Market, Parameters], Outcome]
    takes_orders: bool = True
    parameters: tuple[str, ...] = ()


MECHANISMS: dict[str, Mechanism] = {
    "sharing_key": Mechanism(sharing_key, takes_orders=False, parameters=("kind", "keys", "price_rule")),
    "mid_market_rate": Mechanism(mid_market_rate),
    "supply_demand_ratio": Mechanism(supply_demand_ratio, parameters=("compensation",)),
    "bill_sharing": Mechanism(bill_sharing, takes_orders=False),
    "uniform_price": Mechanism(uniform_price, parameters=("price_rule",)),
    "pay_as_bid": Mechanism(pay_as_bid, parameters=("split",)),
}

__all__ = ["MECHANISMS", "Mechanism", "Parameters"]
