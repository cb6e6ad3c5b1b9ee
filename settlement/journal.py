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

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from settlement.making import maker
from settlement.market import Trade

GRID = "grid"
LOSSES = "losses"
WHEELING = "wheeling"
OPERATOR = "operator"


@lru_cache(100_000)
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


_posting = maker(Posting)


def postings(trades: Iterable[Trade], residuals: Iterable[Residual]) -> list[Posting]:
    """The postings of an interval."""
    found: list[Posting] = []
    for name, partner, energy, _, amount, wheeling, loss_milliwh, loss_micro, fee in trades:
        seller, buyer = building_account(name), building_account(partner)
        found.append(_posting(("trade", seller, -energy, amount)))
        found.append(_posting(("trade", buyer, energy, -amount)))
        if wheeling:
            found += transfer("wheeling", WHEELING, buyer, 0, wheeling)
        if loss_milliwh or loss_micro:
            # The energy is lost on the way; the buyer pays for it.
            found.append(Posting("wheeling-loss", GRID, -loss_milliwh, loss_micro))
            found.append(Posting("wheeling-loss", LOSSES, loss_milliwh, 0))
            found.append(Posting("wheeling-loss", buyer, 0, -loss_micro))
        if fee:
            found += transfer("operator-fee", OPERATOR, buyer, 0, fee)
    for building, import_milliwh, import_micro, export_milliwh, export_micro in residuals:
        if import_milliwh:
            account = building_account(building)
            found.append(_posting(("grid-import", GRID, -import_milliwh, import_micro)))
            found.append(_posting(("grid-import", account, import_milliwh, -import_micro)))
        if export_milliwh:
            account = building_account(building)
            found.append(_posting(("grid-export", account, -export_milliwh, export_micro)))
            found.append(_posting(("grid-export", GRID, export_milliwh, -export_micro)))
    return found


def transfer(
    kind: str, giver: str, taker: str, energy_milliwh: int, amount_micro: int
) -> tuple[Posting, Posting]:
    """Energy from giver to taker, and money the other way."""
    return (
        _posting((kind, giver, -energy_milliwh, amount_micro)),
        _posting((kind, taker, energy_milliwh, -amount_micro)),
    )
