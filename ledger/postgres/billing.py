"""The store as billing needs it: what was posted to an account, and which documents were issued."""

from datetime import date, datetime
from typing import NamedTuple

from ledger.events import read_recorded
from ledger.market_events import InvoiceIssued
from ledger.postgres.connection import statement
from ledger.postgres.errors import translated
from ledger.postgres.settlement import SettlementStore
from ledger.settlement_rows import PostedRow


class JournalRow(NamedTuple):
    """A sum of postings: of a month, or corrections of what came before it, the first of which is `begin`."""

    corrects: bool
    begin: datetime
    kind: str
    account: str
    energy_milliwh: int
    amount_micro: int
    run: int  # the newest


class DayRow(NamedTuple):
    """A sum of postings to one account on a local day: of a kind, in a direction."""

    day: date
    kind: str
    took: bool
    energy_milliwh: int
    amount_micro: int


class BillingStore:
    """Reads what was settled and issued, on the connection of a settlement store and in its transactions."""

    def __init__(self, settlement: SettlementStore) -> None:
        self._connection = settlement.connection

    async def posted(
        self, community: str, account: str, begin: datetime, until: datetime, run: int
    ) -> list[PostedRow]:
        """What runs up to `run` posted to an account for the intervals and months that start in
        [begin, until)."""
        with translated():
            rows = await self._connection.fetch(
                statement("billing_lines"), community, account, begin, until, run
            )
        return [PostedRow(*row) for row in rows]

    async def charged(self, community: str, begin: datetime, until: datetime, run: int) -> dict[str, int]:
        """What all buildings together were charged for the months that begin in [begin, until), by kind."""
        with translated():
            rows = await self._connection.fetch(statement("billing_charged"), community, begin, until, run)
        return {row[0]: row[1] for row in rows}

    async def corrected(self, community: str, run: int) -> list[tuple[datetime, datetime]]:
        """The spans of the runs up to `run` that corrected months which had been closed."""
        with translated():
            rows = await self._connection.fetch(statement("billing_corrected"), community, run)
        return [tuple(row) for row in rows]

    async def days(
        self, community: str, account: str, begin: datetime, until: datetime, zone: str
    ) -> list[DayRow]:
        """What was posted to an account for the intervals that start in [begin, until), in order of days."""
        with translated():
            rows = await self._connection.fetch(
                statement("billing_days"), community, account, begin, until, zone
            )
        return [DayRow(*row) for row in rows]

    async def journal(
        self, community: str, begin: datetime, until: datetime, runs: tuple[int, int]
    ) -> list[JournalRow]:
        """What belongs to [begin, until) by runs up to the second of `runs`, and what runs after the first
        corrected of the time before; summed by kind, account and side.
        """
        with translated():
            rows = await self._connection.fetch(statement("billing_journal"), community, begin, until, *runs)
        return [JournalRow(*row) for row in rows]

    async def closed_by(self, community: str, until: datetime) -> int | None:
        """The run that closed the month that ends at an instant; none while it is open."""
        with translated():
            number: int | None = await self._connection.fetchval(
                statement("billing_closed"), community, until
            )
        return number

    async def issued(self, community: str) -> list[InvoiceIssued]:
        """The documents that were issued, in their order."""
        with translated():
            rows = await self._connection.fetch(statement("billing_documents"), community)
        events = read_recorded([row["body"] for row in rows])
        return [event for event in events if isinstance(event, InvoiceIssued)]

    async def issued_to(self, community: str, building: str, size: int) -> list[InvoiceIssued]:
        """A building's documents in their order; the projections have come to position `size`."""
        with translated():
            rows = await self._connection.fetch(statement("billing_documents_of"), community, building, size)
        events = read_recorded([row["body"] for row in rows])
        return [event for event in events if isinstance(event, InvoiceIssued) and event.building == building]
