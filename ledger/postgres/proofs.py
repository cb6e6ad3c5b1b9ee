"""The store as proofs of invoices need it, on a settlement store's connection and in its transactions."""

from collections.abc import Sequence
from datetime import datetime

from ledger.export import EventRow
from ledger.postgres.connection import statement
from ledger.postgres.errors import translated
from ledger.postgres.exporter import StoreSnapshot
from ledger.postgres.settlement import SettlementStore

IntervalRow = tuple[datetime, int, int]
"""start, energy_milliwh, amount_micro"""


class ProofStore(StoreSnapshot):
    """Reads documents, the postings behind a line and the readings behind those."""

    def __init__(self, settlement: SettlementStore) -> None:
        super().__init__(settlement.connection)

    async def documents(self, community: str) -> list[EventRow]:
        """The events of the settlement's stream."""
        return await self._events("proof_documents", community)

    async def readings(
        self, community: str, meters: Sequence[str], begin: datetime, until: datetime
    ) -> list[EventRow]:
        """The readings out of which the meters' energies of [begin, until) follow."""
        return await self._events("proof_readings", community, meters, begin, until)

    async def postings(
        self, community: str, account: str, kind: str, took: bool, begin: datetime, until: datetime, run: int
    ) -> list[IntervalRow]:
        """What a line sums up, by interval."""
        with translated():
            rows = await self._connection.fetch(
                statement("proof_postings"), community, account, kind, took, begin, until, run
            )
        return [tuple(row) for row in rows]

    async def _events(self, name: str, *values: object) -> list[EventRow]:
        with translated():
            return [EventRow(*row) for row in await self._connection.fetch(statement(name), *values)]
