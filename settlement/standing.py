"""How the buildings fare under the rules of a market, against having none."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from settlement.amounts import PPM, amount_micro, divided
from settlement.interval import Settled
from settlement.market import Band
from settlement.offers import Metered


class Standing(NamedTuple):
    """A building over a period. Fractions are parts a million, none where there is nothing to divide by."""

    building: str
    import_milliwh: int
    export_milliwh: int
    bought_milliwh: int
    sold_milliwh: int
    grid_import_milliwh: int
    grid_export_milliwh: int
    paid_micro: int  # to neighbours
    earned_micro: int  # from neighbours
    fees_micro: int  # wheeling, its losses and the operator's fee
    grid_cost_micro: int
    grid_income_micro: int
    cost_micro: int  # all of it together; below zero is income
    cost_without_market_micro: int
    saving_micro: int
    self_sufficiency_ppm: int | None  # how much of its import came from neighbours
    local_coverage_ppm: int | None  # how much of its export went to neighbours
    fairness_ppm: int | None  # its saving a traded kWh, against the community's


class Tally:
    """What adds up for one building."""

    __slots__ = (
        "bought", "earned", "export", "fees", "grid_cost", "grid_export", "grid_import", "grid_income",
        "import_", "paid", "sold", "without",
    )  # fmt: skip

    def __init__(self) -> None:
        self.import_ = self.export = self.bought = self.sold = 0
        self.grid_import = self.grid_export = 0
        self.paid = self.earned = self.fees = 0
        self.grid_cost = self.grid_income = self.without = 0

    @property
    def cost(self) -> int:
        """What the building pays on the whole."""
        return self.paid - self.earned + self.fees + self.grid_cost - self.grid_income

    @property
    def traded(self) -> int:
        """What it bought and sold."""
        return self.bought + self.sold

    def add(self, other: "Tally") -> None:
        """Count another's in."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Standings:
    """Adds up settled intervals."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}

    def add(self, band: Band, metered: Iterable[Metered], settled: Settled) -> None:
        """Count in one interval."""
        tallies = self._tallies
        retail, feed_in = band
        for building, imported, exported in metered:
            tally = tallies.get(building)
            if tally is None:
                tally = tallies[building] = Tally()
            if imported:
                tally.import_ += imported
                tally.without += amount_micro(imported, retail)
            if exported:
                tally.export += exported
                tally.without -= amount_micro(exported, feed_in)
        for trade in settled.trades:
            seller, buyer = tallies[trade.seller], tallies[trade.buyer]
            seller.sold += trade.energy_milliwh
            seller.earned += trade.amount_micro
            buyer.bought += trade.energy_milliwh
            buyer.paid += trade.amount_micro
            buyer.fees += trade.wheeling_micro + trade.loss_micro + trade.operator_micro
        for building, grid_import, cost, grid_export, income in settled.residuals:
            tally = tallies[building]
            tally.grid_import += grid_import
            tally.grid_cost += cost
            tally.grid_export += grid_export
            tally.grid_income += income

    def merge(self, later: "Standings") -> None:
        """Count in what others have added up."""
        for building, tally in later._tallies.items():
            self._tallies.setdefault(building, Tally()).add(tally)

    def rows(self) -> Iterator[Standing]:
        """Every building in order of names."""
        whole = self._whole()
        for building in sorted(self._tallies):
            yield _standing(building, self._tallies[building], whole)

    def total(self) -> Standing:
        """The community as if it were one building."""
        whole = self._whole()
        return _standing("", whole, whole)

    def _whole(self) -> Tally:
        whole = Tally()
        for tally in self._tallies.values():
            whole.add(tally)
        return whole


def _standing(building: str, tally: Tally, whole: Tally) -> Standing:
    saving, all_saved = tally.without - tally.cost, whole.without - whole.cost
    return Standing(
        building, tally.import_, tally.export, tally.bought, tally.sold, tally.grid_import, tally.grid_export,
        tally.paid, tally.earned, tally.fees, tally.grid_cost, tally.grid_income,
        tally.cost, tally.without, saving,
        _ppm(tally.bought, tally.import_),
        _ppm(tally.sold, tally.export),
        _ppm(saving * whole.traded, all_saved * tally.traded),
    )  # fmt: skip


def _ppm(part: int, whole: int) -> int | None:
    if whole <= 0:
        return None
    return divided(part * PPM, whole) if part >= 0 else -divided(-part * PPM, whole)
