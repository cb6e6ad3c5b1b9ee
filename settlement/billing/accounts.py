"""What stands in the accounts: a month's journal, the balances of all, and a building's month day by day.

All of it is a view of what runs have posted and what documents add to it, taken from one state of the store
when it is asked for; nothing is kept that could differ.
"""

from datetime import UTC, date, datetime
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from ledger.postgres.billing import BillingStore
from ledger.postgres.settlement import SettlementStore, Standing
from settlement.billing.as_json import read_document
from settlement.billing.documents import issued_documents
from settlement.billing.drafting import Drafting, uncancelled
from settlement.billing.invoice import Invoice
from settlement.billing.postings import billed
from settlement.billing.tables import Day, Entry, summed
from settlement.book_state import BookState
from settlement.brought import Brought, brought
from settlement.brought import summed as together
from settlement.journal import Posting, building_account
from settlement.known_building import check_building
from settlement.month import Month, month_of
from settlement.shared_bill import CHARGES

RUNS_MAX = 2**62
EPOCH = datetime.fromtimestamp(0, UTC)


class Balance(NamedTuple):
    """What an account got (+) and gave (-) on the whole."""

    account: str
    energy_milliwh: int
    amount_micro: int


class Statement(NamedTuple):
    """A building's month: its days, its parts of the campus's bill, and its documents.

    `charges_micro` is none until the month is closed. `unbilled_micro` is what documents which stand have not
    billed of the month yet.
    """

    building: str
    currency: str
    month: date
    settled_until: datetime | None
    days: list[Day]
    charges_micro: int | None
    documents: list[Invoice]
    unbilled_micro: int

    @property
    def total(self) -> Brought:
        """All days together."""
        return together(each.brought for each in self.days)


class Accounts:
    """The accounts of one community. `book` is what is known of it; without one it is read each time."""

    def __init__(self, community: str, settlement: SettlementStore, book: BookState | None = None) -> None:
        self._community = community
        self._settlement = settlement
        self._known = book
        self._billing = BillingStore(settlement)

    async def journal(self, day: date | None = None) -> list[Entry]:
        """What was posted for a month, or ever, summed by kind, account and side, with what documents add.

        What a correction changes after a month was closed belongs to the month that is open then, and so do
        documents by their date of issue: the journal of a month that is closed and over never changes.
        """
        async with self._settlement.transaction(self._community) as size:
            book = await self._book(size)
            standing = await self._settlement.standing(self._community)
            begin, until = _span(book, standing, day)
            runs = await self._runs(book, begin, until) if day is not None else (0, RUNS_MAX)
            rows = await self._billing.journal(self._community, begin, until, runs)
            issued = await issued_documents(self._billing, self._community)
        entries = []
        for row in rows:
            span = (row.begin, begin) if row.corrects else (begin, until)
            posting = Posting(row.kind, row.account, row.energy_milliwh, row.amount_micro)
            entries.append(Entry(*span, row.run, posting))
        documents = (
            each.invoice
            for each in issued
            if day is None or each.invoice.issued_on.replace(day=1) == day.replace(day=1)
        )
        added = [posting for document in documents for posting in billed(document)]
        return [*entries, *summed(begin, until, None, added)]

    async def _runs(self, book: BookState, begin: datetime, until: datetime) -> tuple[int, int]:
        """The runs that closed the month before and this one; `RUNS_MAX` for one that is open."""
        first = book.rules().begin
        before = await self._billing.closed_by(self._community, begin)
        if before is None:  # where the market begins with this month, nothing came before it
            before = 0 if first is None or first >= begin else RUNS_MAX
        own = await self._billing.closed_by(self._community, until)
        return before, RUNS_MAX if own is None else own

    async def balances(self, day: date | None = None) -> list[Balance]:
        """What every account comes to in a month, or ever; together they come to nothing."""
        sums: dict[str, tuple[int, int]] = {}
        for entry in await self.journal(day):
            _, account, energy, amount = entry.posting
            before = sums.get(account, (0, 0))
            sums[account] = (before[0] + energy, before[1] + amount)
        return [Balance(account, *sums[account]) for account in sorted(sums)]

    async def statement(self, building: str, day: date) -> Statement:
        """A building's month. Raises `UnknownBuilding`."""
        async with self._settlement.transaction(self._community) as size:
            book = await self._book(size)
            check_building(building, book.registry.buildings)
            month = month_of(day, book.grid.zone)
            standing = await self._settlement.standing(self._community)
            issued = await self._billing.issued_to(self._community, building, size)
            own = [read_document(each.document) for each in issued]
            drafting = Drafting(self._billing, book, month, standing.number or 0, uncancelled(own), ())
            account = building_account(building)
            days = await self._days(account, month, book.grid.zone.key)
            charges = await self._charges(account, month, standing.number or 0)
            unbilled = await drafting.unbilled_micro(building)
        opened = book.registry.opened
        assert opened is not None  # noqa: S101 - its buildings come after it
        documents = [each for each in own if each.period_begin == month.first]
        return Statement(
            building, opened.currency, month.first, standing.settled_until, days,
            charges if standing.is_closed(month.until) else None, documents, unbilled,
        )  # fmt: skip

    async def _book(self, size: int) -> BookState:
        if self._known is not None:
            return self._known
        book = BookState(self._community, self._settlement)
        await book.follow(size)
        return book

    async def _days(self, account: str, month: Month, zone: str) -> list[Day]:
        rows = await self._billing.days(self._community, account, month.begin, month.until, zone)
        return [Day(day, brought(of_day)) for day, of_day in groupby(rows, attrgetter("day"))]

    async def _charges(self, account: str, month: Month, run: int) -> int:
        rows = await self._billing.posted(self._community, account, month.begin, month.until, run)
        return -sum(row.amount_micro for row in rows if row.kind in CHARGES)


def _span(book: BookState, standing: Standing, day: date | None) -> tuple[datetime, datetime]:
    """A month, or all that was settled."""
    if day is not None:
        month = month_of(day, book.grid.zone)
        return month.begin, month.until
    return EPOCH, standing.settled_until or EPOCH
