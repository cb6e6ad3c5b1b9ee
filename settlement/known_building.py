"""A building by its name, as the book has it."""

from collections.abc import Collection

from ledger.errors import BadInput
from ledger.words import did_you_mean


class UnknownBuilding(BadInput):
    """A building that the book, or another file, does not name."""

    code = "unknown-building"

    def __init__(self, what: str, building: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what, where=where, hint=hint)
        self.building = building


def check_building(building: str, known: Collection[str], *, where: str = "") -> None:
    """Return if the book has the building; `where` is the place that names it. Raises `UnknownBuilding`."""
    if building not in known:
        raise UnknownBuilding(
            f"the book has no building {building}",
            building,
            where=where or building,
            hint=f"{did_you_mean(building, known)}buildings: {', '.join(sorted(known))}",
        )
