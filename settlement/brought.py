"""What intervals brought a building: its energies, and all that its cost is made of.

Every kind of posting that an interval makes to a building's account has a place here, so the parts that are
shown sum to the cost that is shown. A kind without a place is a mistake of ours, and nothing is told then.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol


class Posted(Protocol):
    """A sum of postings to a building's account: of a kind, in a direction."""

    @property
    def kind(self) -> str:
        """The kind of posting."""

    @property
    def took(self) -> bool:
        """Whether the building took energy by it."""

    @property
    def energy_milliwh(self) -> int:
        """What it received (+) or gave (-)."""

    @property
    def amount_micro(self) -> int:
        """What it got (+) or paid (-)."""


class Brought(NamedTuple):
    """Energies, and amounts before tax: what it paid, but for what it earned and the grid's income.

    `fees_micro` are the ways between feeders, what is lost on them and the operator's fee; `loss_micro` is
    its part of what the main meter shows and no building's does, below zero where that is less.
    """

    grid_import_milliwh: int = 0
    bought_milliwh: int = 0
    sold_milliwh: int = 0
    grid_export_milliwh: int = 0
    grid_cost_micro: int = 0
    paid_micro: int = 0
    earned_micro: int = 0
    grid_income_micro: int = 0
    fees_micro: int = 0
    loss_micro: int = 0

    @property
    def market_micro(self) -> int:
        """What it pays for its energy, on the market and to the grid; below zero it is income."""
        return (
            self.grid_cost_micro + self.paid_micro + self.fees_micro
            - self.earned_micro - self.grid_income_micro
        )  # fmt: skip

    @property
    def cost_micro(self) -> int:
        """What it pays for all of it."""
        return self.market_micro + self.loss_micro


_PAYS, _GETS = -1, 1

_PLACES: Mapping[tuple[str, bool], tuple[str | None, str, int]] = {
    ("grid-import", True): ("grid_import_milliwh", "grid_cost_micro", _PAYS),
    ("trade", True): ("bought_milliwh", "paid_micro", _PAYS),
    ("trade", False): ("sold_milliwh", "earned_micro", _GETS),
    ("grid-export", False): ("grid_export_milliwh", "grid_income_micro", _GETS),
    ("wheeling", False): (None, "fees_micro", _PAYS),
    ("wheeling-loss", False): (None, "fees_micro", _PAYS),
    ("operator-fee", False): (None, "fees_micro", _PAYS),
    ("loss", False): (None, "loss_micro", _PAYS),
}
"""Kind of posting, and whether energy was taken by it -> where its energy and its money count, and the sign
that an account's money has there."""


def brought(rows: Iterable[Posted]) -> Brought:
    """What postings to one building's account come to."""
    found: dict[str, int] = {}
    for row in rows:
        energy, money, sign = _PLACES[row.kind, row.took]
        if energy is not None:
            found[energy] = found.get(energy, 0) + abs(row.energy_milliwh)
        found[money] = found.get(money, 0) + sign * row.amount_micro
    return Brought(**found)


def summed(parts: Iterable[Brought]) -> Brought:
    """Many together."""
    return Brought(*map(sum, zip(*parts, strict=True)))
