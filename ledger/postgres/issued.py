"""What was settled and issued, as the API shows it: runs and documents, a page at a time."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import msgspec

from ledger.market_events import InvoiceIssued
from ledger.postgres.connection import statement
from ledger.postgres.pool import Pool
from ledger.settlement_rows import RunRow

ALL = 2**31 - 1


class IssuedRow(NamedTuple):
    """A document, and its event's sequence in the stream."""

    sequence: int
    event: InvoiceIssued


class IssuedStore:
    """One community's. All methods raise `StoreUnavailable`."""

    def __init__(self, pool: Pool, community: str) -> None:
        self._pool = pool
        self._community = community

    async def runs(self, after: Sequence[int], limit: int) -> list[RunRow]:
        """Runs with a higher number, in their order."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(statement("runs_page"), self._community, after[0], limit)
        return [RunRow(*row) for row in rows]

    async def run(self, number: int) -> RunRow | None:
        """The run of a number."""
        rows = await self.runs((number - 1,), 1)
        return rows[0] if rows and rows[0].number == number else None

    async def documents(self, after: Sequence[int], limit: int, month: date | None) -> list[IssuedRow]:
        """Documents with a higher sequence, in their order; those of one month only, if it is told."""
        return await self._holding(after[0], limit, _month_in_document(month) if month else b"")

    async def document(self, number: str) -> InvoiceIssued | None:
        """The document of a number."""
        found = await self._holding(0, 1, f'"number":{msgspec.json.encode(number).decode()}'.encode())
        return found[0].event if found else None

    async def _holding(self, after: int, limit: int, text: bytes) -> list[IssuedRow]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch(statement("documents_page"), self._community, after, limit, text)
        return [
            IssuedRow(row["sequence"], msgspec.json.decode(row["body"], type=InvoiceIssued)) for row in rows
        ]


def _month_in_document(month: date) -> bytes:
    """How the month stands in a document, which is itself a string of JSON in its event."""
    return msgspec.json.encode(f'"period_begin":"{month.replace(day=1)}"')[1:-1]
