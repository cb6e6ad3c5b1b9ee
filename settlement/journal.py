"""The journal: every posting has its counter-posting, in energy and in money.

An account's energy is what it received (+) or gave (-), and so is its money. Whoever gives energy gets money,
except for what is a mere service. So each transfer, each interval and the whole journal sum to zero in both.

    building/<id>   a building
    grid            the utility behind the main meter
    losses          energy that no meter of a building shows
    wheeling        who owns the lines between the feeders
    operator        who runs the community
    tax             the state
    rounding        what is lost or won where a bill has fewer decimals than the journal
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from settlement.market import Trade

GRID = "grid"
LOSSES = "losses"
WHEELING = "wheeling"
OPERATOR = "operator"


def building_account(building: str) -> str:
    """The account of a building."""
    return f"building/{building}"


class Posting(NamedTuple):
    """One side of a transfer."""

    kind: str
    account: str
    energy_milliwh: int
    amount_micro: int


class Residual(NamedTuple):
    """What the grid gave a building and took from it besides the trades, and the money for each."""

    building: str
    import_milliwh: int
    import_micro: int
    export_milliwh: int
    export_micro: int


def postings(trades: Iterable[Trade], residuals: Iterable[Residual]) -> Iterator[Posting]:
    """The postings of an interval."""
    for each in trades:
        seller, buyer = building_account(each.seller), building_account(each.buyer)
        yield from transfer("trade", seller, buyer, each.energy_milliwh, each.amount_micro)
        if each.wheeling_micro:
            yield from transfer("wheeling", WHEELING, buyer, 0, each.wheeling_micro)
        if each.loss_milliwh or each.loss_micro:
            # The energy is lost on the way; the buyer pays for it.
            yield Posting("wheeling-loss", GRID, -each.loss_milliwh, each.loss_micro)
            yield Posting("wheeling-loss", LOSSES, each.loss_milliwh, 0)
            yield Posting("wheeling-loss", buyer, 0, -each.loss_micro)
        if each.operator_micro:
            yield from transfer("operator-fee", OPERATOR, buyer, 0, each.operator_micro)
    for one in residuals:
        account = building_account(one.building)
        if one.import_milliwh:
            yield from transfer("grid-import", GRID, account, one.import_milliwh, one.import_micro)
        if one.export_milliwh:
            yield from transfer("grid-export", account, GRID, one.export_milliwh, one.export_micro)


def transfer(
    kind: str, giver: str, taker: str, energy_milliwh: int, amount_micro: int
) -> tuple[Posting, Posting]:
    """Energy from giver to taker, and money the other way."""
    return (
        Posting(kind, giver, -energy_milliwh, amount_micro),
        Posting(kind, taker, energy_milliwh, -amount_micro),
    )
