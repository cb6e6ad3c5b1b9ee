"""What one building's month came to, against having had the grid alone.

What it paid and got is what was posted to its account. What the grid alone would have asked is its whole
energy of each interval at the grid's prices of that interval. Left out is what the market does not change:
losses on the campus, its demand and fixed charges, taxes.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import NamedTuple

from ledger.postgres.buildings import SettledRow, settled_rows
from ledger.postgres.settlement import SettlementStore
from settlement.amounts import amount_micro
from settlement.book_state import BookState
from settlement.journal import building_account
from settlement.market import Band
from settlement.month import month_of
from settlement.standing import Tally

_COUNTED: Mapping[tuple[str, bool], tuple[str, str, int]] = {
    ("trade", True): ("bought", "paid", 1),
    ("trade", False): ("sold", "earned", -1),
    ("grid-import", True): ("grid_import", "grid_cost", 1),
    ("grid-export", False): ("grid_export", "grid_income", -1),
}
"""Kind of posting, and whether energy was taken by it -> where its energy and money count, and the sign that
makes the energy positive; the money has the other."""

FEES = frozenset({"wheeling", "wheeling-loss", "operator-fee"})


class Savings(NamedTuple):
    """A building's settled intervals added up."""

    intervals: int
    tally: Tally

    @property
    def saving_micro(self) -> int:
        """What the market has saved it."""
        return self.tally.without - self.tally.cost


async def month_savings(store: SettlementStore, book: BookState, building: str, day: date) -> Savings:
    """The month that a local day lies in, as far as it is settled; `book` says by what rules.

    Raises `StoreUnavailable`, `NotOpen`, and `NoPrice` where a tariff that was settled by cannot be read any
    more.
    """
    month, account = month_of(day, book.grid.zone), building_account(building)
    async with store.transaction(book.community):
        rows = await settled_rows(store, book.community, account, month.begin, month.until)
    rules = book.rules()

    def band(start: datetime) -> Band:
        in_force = rules.at(start)
        assert in_force is not None  # noqa: S101 - it was settled, so there were rules
        return in_force.tariff.band(int(start.timestamp()))

    return savings(rows, band)


def savings(rows: Iterable[SettledRow], band: Callable[[datetime], Band]) -> Savings:
    """Rows of one account in order of time, with the grid's prices by an interval's start."""
    by_start: dict[datetime, list[SettledRow]] = {}
    for row in rows:
        by_start.setdefault(row.start, []).append(row)
    whole = Tally()
    for start, of_interval in by_start.items():
        whole.add(_interval(of_interval, band(start)))
    return Savings(len(by_start), whole)


def _interval(rows: Iterable[SettledRow], band: Band) -> Tally:
    tally = Tally()
    for row in rows:
        if (counted := _COUNTED.get((row.kind, row.took))) is not None:
            energy, money, sign = counted
            setattr(tally, energy, getattr(tally, energy) + sign * row.energy_milliwh)
            setattr(tally, money, getattr(tally, money) - sign * row.amount_micro)
        elif row.kind in FEES:
            tally.fees -= row.amount_micro
    retail, feed_in = band
    tally.import_ = tally.bought + tally.grid_import
    tally.export = tally.sold + tally.grid_export
    tally.without = amount_micro(tally.import_, retail) - amount_micro(tally.export, feed_in)
    return tally
