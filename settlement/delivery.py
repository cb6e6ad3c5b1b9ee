"""The point of delivery: what the main meter shows, held against what the buildings were settled for.

The utility bills the main meter and knows no buildings. Three things stand between its bill and theirs:

- *loss*: what the main meter shows and no building does. It is named, valued at what a kilowatt-hour more or
  less at the main meter costs, and borne by the buildings in proportion to their import.
- *netting*: where one building gave to the grid and another took from it in the same interval without having
  traded, the energy never passed the main meter. The difference of prices on it is the operator's, by name.
- rounding of amounts, which netting takes along.

With these, the account `grid` is what the utility bills and pays for the interval, in energy and in money.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from settlement.amounts import amount_micro, shares
from settlement.journal import GRID, LOSSES, OPERATOR, Posting, Residual, building_account, transfer
from settlement.market import Band, Trade
from settlement.offers import Metered


class Delivery(NamedTuple):
    """What the main meter showed in an interval."""

    import_milliwh: int
    export_milliwh: int


def reconcile(
    delivery: Delivery,
    band: Band,
    metered: Sequence[Metered],
    trades: Sequence[Trade],
    residuals: Sequence[Residual],
) -> Iterator[Posting]:
    """The postings that lead from the buildings' residuals to the main meter."""
    retail, feed_in = band
    taken = sum(each.import_milliwh - each.export_milliwh for each in residuals)
    lost_on_ways = sum(trade.loss_milliwh for trade in trades)
    loss = delivery.import_milliwh - delivery.export_milliwh - taken - lost_on_ways
    value = amount_micro(abs(loss), retail if delivery.import_milliwh else feed_in)
    sign = 1 if loss >= 0 else -1
    if loss:
        yield from transfer("loss", GRID, LOSSES, loss, 0)
    importers = [each for each in metered if each.import_milliwh] or metered
    parts = shares(value, [each.import_milliwh or 1 for each in importers])
    for each, amount in zip(importers, parts, strict=True):
        if amount:
            yield from transfer("loss", GRID, building_account(each.building), 0, sign * amount)
    due = amount_micro(delivery.import_milliwh, retail) - amount_micro(delivery.export_milliwh, feed_in)
    paid = sum(each.import_micro - each.export_micro for each in residuals)
    paid += sum(trade.loss_micro for trade in trades) + sign * sum(parts)
    if paid != due:
        yield from transfer("netting", OPERATOR, GRID, 0, paid - due)
