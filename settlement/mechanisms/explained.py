"""The mechanisms for whoever has to choose one: what the price is, who pays it, what can be set."""

from typing import NamedTuple


class Setting(NamedTuple):
    """A parameter: its names under `[parameters]` of rules and under `[market]`, and what it may be."""

    name: str
    market: str
    values: str


class Explained(NamedTuple):
    """A mechanism in plain words, each a clause without a stop."""

    price: str
    pays: str
    settings: tuple[Setting, ...] = ()


PRICE_RULE = Setting(
    "price_rule",
    "price_rule",
    "midpoint, seller or buyer: the middle, the lowest or the highest possible price",
)

EXPLAINED: dict[str, Explained] = {
    "mid_market_rate": Explained(
        "(retail + feed-in) / 2, for all",
        "buyers pay it to sellers; who has an order with a limit beyond it stays out",
    ),
    "supply_demand_ratio": Explained(
        "retail * low / ((retail - low) * surplus / demand + low), and low from surplus = demand on;"
        " low = feed-in + compensation * (retail - feed-in)",
        "buyers pay it to sellers: the more surplus, the cheaper; who has a limit beyond it stays out",
        (Setting("compensation", "compensation_ppm", "0 to 1, 0 unless told (0 to 1_000_000 a million)"),),
    ),
    "bill_sharing": Explained(
        "0 among neighbours: the grid's bill is shared by demand, its income by surplus",
        "sellers give neighbours for nothing, so some may pay more than before; orders do not count",
    ),
    "uniform_price": Explained(
        "where the limits of orders cross, one for all (one a feeder where ways have a price)",
        "buyers with limits from it up pay it to sellers with limits up to it; who has no order takes any",
        (PRICE_RULE,),
    ),
    "pay_as_bid": Explained(
        "of every pair its own: the seller's limit + split * (what the buyer's leaves after fee and way)",
        "the best buyer pays it to the cheapest seller, then the next; who has no order takes any",
        (Setting("split", "split_ppm", "0 to 1, 0.5 unless told (0 to 1_000_000 a million)"),),
    ),
    "sharing_key": Explained(
        "between feed-in and retail, by price_rule",
        "buyers pay it for their share of the surplus, as far as they need it; orders do not count",
        (
            Setting(
                "kind",
                "key_kind",
                "static, proportional (to demand), equal, or cascading (static, then what is left by demand)",
            ),
            Setting(
                "keys", "keys", "of a static or cascading kind, by building: each counts as its part of all"
            ),
            PRICE_RULE,
        ),
    ),
}
"""By name, the plain ones first."""

GROUND = (
    "In every interval neighbours trade what some give and others take; the rest is the grid's. retail is"
    " what the grid asks for a kWh then, feed-in what it gives. A buyer also pays the operator's fee and the"
    " way (wheeling, losses), and nobody trades where that makes it dearer than the grid."
)
