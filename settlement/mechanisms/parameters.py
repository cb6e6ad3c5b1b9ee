"""What a mechanism can be told. Fractions are parts a million."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from settlement.amounts import PPM
from settlement.clearing import PriceRule

KeyKind = Literal["static", "proportional", "equal", "cascading"]


class Parameters(NamedTuple):
    """Each mechanism looks at its own and leaves the others."""

    compensation_ppm: int = 0
    """`supply_demand_ratio`: how far towards the retail price surplus is lifted."""
    split_ppm: int = PPM // 2
    """`pay_as_bid`: the seller's part of what lies between its own limit and its buyer's."""
    price_rule: PriceRule = "midpoint"
    """`uniform_price`, `sharing_key`: which end of the possible prices."""
    kind: KeyKind = "proportional"
    """`sharing_key`: by which key."""
    keys: Mapping[str, int] = MappingProxyType({})
    """`sharing_key`: weights of buildings; those without one have none."""
