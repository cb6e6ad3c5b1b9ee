"""The store as billing needs it: what was posted to an account, and which documents were issued."""

from datetime import datetime
from typing import NamedTuple

from ledger.events import read_recorded
from ledger.market_events import InvoiceIssued
from ledger.postgres.connection import statement
from ledger.postgres.errors import translated
from ledger.postgres.settlement import SettlementStore


class PostedRow(NamedTuple):
    """A sum of postings to one account: of a kind, in a direction, with the newest run among them."""

    kind: str
    took: bool
    energy_milliwh: int
    amount_micro: int
    run: int


class BillingStore:
    """Reads what was settled and issued, on the connection of a settlement store and in its transactions."""

    def __init__(self, settlement: SettlementStore) -> None:
        self._connection = settlement.connection

    async def posted(
        self, community: str, account: str, begin: datetime, until: datetime, after_run: int = 0
    ) -> list[PostedRow]:
        """What was posted to an account for the intervals that start in [begin, until), by runs after one."""
        with translated():
            rows = await self._connection.fetch(
                statement("billing_lines"), community, account, begin, until, after_run
            )
        return [PostedRow(*row) for row in rows]

    async def journal(
        self, community: str, begin: datetime, until: datetime
    ) -> list[tuple[str, str, int, int, int]]:
        """kind, account, energy_milliwh, amount_micro and newest run of what was posted in [begin, until)."""
        with translated():
            rows = await self._connection.fetch(statement("billing_journal"), community, begin, until)
        return [tuple(row) for row in rows]

    async def issued(self, community: str) -> list[InvoiceIssued]:
        """The documents that were issued, in their order."""
        with translated():
            rows = await self._connection.fetch(statement("billing_documents"), community)
        events = read_recorded([row["body"] for row in rows])
        return [event for event in events if isinstance(event, InvoiceIssued)]
