"""What one building's month came to, against having had the grid alone.

What it paid and got is what was posted to its account. What the grid alone would have asked is its whole
energy of each interval at the grid's prices of that interval. Left out is what the market does not change:
the campus's demand and fixed charges, taxes, and the building's part of losses, which is told beside: with it
the cost is that of the building's statement.
"""

from collections.abc import Callable, Iterable
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from ledger.postgres.buildings import SettledRow, settled_rows
from ledger.postgres.settlement import SettlementStore
from settlement.amounts import amount_micro
from settlement.book_state import BookState
from settlement.brought import Brought, brought, summed
from settlement.journal import building_account
from settlement.market import Band
from settlement.month import month_of


class Savings(NamedTuple):
    """A building's settled intervals added up; `without_micro` is what the grid alone would have asked."""

    intervals: int
    brought: Brought
    without_micro: int

    @property
    def saving_micro(self) -> int:
        """What the market has saved it."""
        return self.without_micro - self.brought.market_micro


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
    found, without = [], 0
    for start, of_interval in groupby(rows, attrgetter("start")):
        found.append(of := brought(of_interval))
        retail, feed_in = band(start)
        without += amount_micro(of.bought_milliwh + of.grid_import_milliwh, retail)
        without -= amount_micro(of.sold_milliwh + of.grid_export_milliwh, feed_in)
    return Savings(len(found), summed(found), without)
