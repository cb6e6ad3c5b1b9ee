"""What witnesses have cosigned, as the store keeps it; and who asks them: one process at a time.

Cosignatures are facts like the book's own: they are inserted, and never changed.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from ledger.add_checkpoint import Offer, Recorded
from ledger.cosignature import Cosignature
from ledger.postgres.connection import (
    APP,
    Connection,
    PostgresSettings,
    close,
    connect,
    statement,
    transaction,
)
from ledger.postgres.errors import translated
from ledger.postgres.exporter import StoreSnapshot
from ledger.postgres.pool import Pool
from ledger.tree_reader import TreeReader


class WitnessStanding(NamedTuple):
    """A witness by its verifier key: the newest size that it has cosigned, 0 before the first, and when by
    its own clock; and the log's size."""

    witness: str
    size: int
    seconds: int | None
    log_size: int

    @property
    def name(self) -> str:
        """What the key is called."""
        return self.witness.split("+")[0]

    @property
    def made_at(self) -> datetime | None:
        """When it cosigned last."""
        return None if self.seconds is None else datetime.fromtimestamp(self.seconds, UTC)

    @property
    def lag(self) -> int:
        """Events that it has not witnessed yet."""
        return max(self.log_size - self.size, 0)


async def read_witnesses(pool: Pool, community: str, witnesses: Sequence[str]) -> list[WitnessStanding]:
    """How far each witness is, in the order of their keys. Raises `StoreUnavailable`."""
    if not witnesses:
        return []
    async with pool.connection() as connection:
        return await witnesses_of(connection, community, witnesses)


async def witnesses_of(
    connection: Connection, community: str, witnesses: Sequence[str]
) -> list[WitnessStanding]:
    """The same on a connection."""
    with translated():
        rows = await connection.fetch(statement("log_witness_standing"), community, list(witnesses))
    return [WitnessStanding(*row) for row in rows]


class WitnessStore:
    """One community's, on a connection of its own. All methods raise `StoreUnavailable`."""

    def __init__(self, connection: Connection, community: str) -> None:
        self._connection = connection
        self._community = community
        self._lock = asyncio.Lock()  # several witnesses are asked at once, on the one connection

    async def standing(self, witness: str) -> int:
        """The newest size that a witness has cosigned, 0 before the first."""
        async with self._lock:
            with translated():
                found = await self._connection.fetchval(
                    statement("witness_standing"), self._community, witness
                )
        return int(found)

    async def newest(self) -> Recorded | None:
        """The newest checkpoint; none of a log without entries."""
        async with self._lock:
            with translated():
                row = await self._connection.fetchrow(statement("read_fence"), self._community)
        if row is None or not row["size"]:
            return None
        return Recorded(row["size"], row["checkpoint"], row["recorded_at"])

    async def offer(self, recorded: Recorded, old: int) -> Offer | None:
        """A checkpoint with the proof from the log of `old` on; none where it is not that long."""
        size, checkpoint, recorded_at = recorded
        if size < old:
            return None
        proof: list[bytes] = []
        if 0 < old < size:
            async with self._lock:
                with translated():
                    async with transaction(self._connection, "repeatable_read"):
                        tree = TreeReader(StoreSnapshot(self._connection), self._community, size)
                        proof = await tree.consistency(old)
        return Offer(old, size, proof, checkpoint, recorded_at)

    async def keep(self, offer: Offer, witness: str, made: Cosignature, now: datetime) -> None:
        """Keep a cosignature with the checkpoint that it stands under; once, however often it is told."""
        async with self._lock:
            with translated():
                async with transaction(self._connection):
                    await self._connection.execute(
                        statement("witness_keep_checkpoint"), self._community, offer.size, offer.checkpoint
                    )
                    await self._connection.execute(
                        statement("witness_keep_cosignature"), self._community, offer.size, witness,
                        made.line, made.seconds, now,
                    )  # fmt: skip


@asynccontextmanager
async def leading(settings: PostgresSettings, community: str) -> AsyncIterator[WitnessStore | None]:
    """The store, for the one process that asks a community's witnesses; none while another one does.

    Who leads does so as long as its connection lasts, and works on that alone: who has lost it can neither
    read nor write any more. Raises `StoreUnavailable`.
    """
    connection = await connect(settings, name="witnesses", role=APP)
    try:
        with translated():
            leads = await connection.fetchval(statement("witness_lead"), community)
        yield WitnessStore(connection, community) if leads else None
    finally:
        await close(connection)
