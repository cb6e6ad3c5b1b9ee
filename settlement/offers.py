"""From what was metered and what was ordered to what is offered in an interval.

Trading is cleared on metered energy, after the fact: an order limits price and volume, and no more than was
metered is ever traded. A building's most eager orders come first until its metered energy is used up. What it
did not order stays with the grid; a building without orders for a side is a price taker there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from settlement.making import maker
from settlement.market import Offer

Side = Literal["sell", "buy"]


class Metered(NamedTuple):
    """What a building took from the grid and gave to it in an interval."""

    building: str
    import_milliwh: int
    export_milliwh: int


class Order(NamedTuple):
    """A limit on price and volume; without an energy it stands for all that was metered."""

    side: Side
    energy_milliwh: int | None
    limit_micro_per_kwh: int
    feeder: str = ""  # where the building's own does not count


def offers(
    metered: Sequence[Metered], orders: Mapping[str, Sequence[Order]], feeder_of: Callable[[str], str]
) -> tuple[list[Offer], list[Offer]]:
    """What is offered for sale and what is wanted; `orders` are by building."""
    sells: list[Offer] = []
    buys: list[Offer] = []
    for building, imported, exported in metered:
        own = orders.get(building)
        if not own:
            feeder = feeder_of(building)
            if exported:
                sells.append(_offer((building, feeder, exported, None)))
            if imported:
                buys.append(_offer((building, feeder, imported, None)))
            continue
        if exported:
            sells += _offered(building, exported, [o for o in own if o.side == "sell"], 1, feeder_of)
        if imported:
            buys += _offered(building, imported, [o for o in own if o.side == "buy"], -1, feeder_of)
    return sells, buys


_offer = maker(Offer)


def _offered(
    building: str, metered: int, orders: Sequence[Order], sign: int, feeder_of: Callable[[str], str]
) -> list[Offer]:
    if not orders:
        return [Offer(building, feeder_of(building), metered)]
    found = []
    left = metered
    for order in sorted(orders, key=lambda each: (sign * each.limit_micro_per_kwh, each.feeder)):
        energy = left if order.energy_milliwh is None else min(order.energy_milliwh, left)
        if energy:
            found.append(
                Offer(building, order.feeder or feeder_of(building), energy, order.limit_micro_per_kwh)
            )
            left -= energy
    return found
