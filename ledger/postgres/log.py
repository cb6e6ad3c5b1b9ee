"""The log as others ask for it: checkpoint, tiles, bundles, proofs, blocks. Each answer is of one state.

Checkpoint and proofs are of the published checkpoint (`ledger.postgres.exporter`): the newest one or, where
that takes a quorum of witnesses, the newest that has it.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple

from ledger.entry import NO_HASH, entry_bytes
from ledger.export import Published
from ledger.note import InclusionProof
from ledger.postgres.connection import Connection, statement, transaction
from ledger.postgres.exporter import StoreSnapshot
from ledger.postgres.pool import Pool
from ledger.tiles import WIDTH, Tile, tile_width
from ledger.tree_reader import TreeReader
from ledger.witness_settings import LogSettings


class BlockRow(NamedTuple):
    """A sealed block as the projections have it."""

    number: int
    previous: str
    root: str
    size: int
    sealed_at: datetime
    hash: str


class LogStore:
    """One community's log. All methods raise `StoreUnavailable`."""

    def __init__(self, pool: Pool, community: str, settings: LogSettings) -> None:
        self._pool = pool
        self._community = community
        self._settings = settings

    async def checkpoint(self) -> str | None:
        """The published one, signed and cosigned; none where nothing was recorded or cosigned yet."""
        async with self._snapshot() as (connection, _):
            published = await self._published(connection)
        return published.checkpoint if published else None

    async def tile(self, tile: Tile) -> bytes:
        """Its hashes side by side; nothing where the log does not reach so far."""
        async with self._snapshot() as (connection, size):
            if tile_width(tile.level, tile.index, size) < tile.width:
                return b""
            hashes = await TreeReader(StoreSnapshot(connection), self._community, size).tile(
                tile.level, tile.index
            )
        return hashes[: 32 * tile.width]

    async def bundle(self, tile: Tile) -> bytes:
        """Its entries, each behind its length as two bytes; nothing where the log does not reach so far."""
        begin = tile.index * WIDTH
        async with self._snapshot() as (connection, size):
            if tile_width(0, tile.index, size) < tile.width:
                return b""
            rows = await connection.fetch(
                statement("log_entries"), self._community, begin, begin + tile.width
            )
        entries = [
            entry_bytes(
                self._community, row["stream"], row["sequence"], row["previous"] or NO_HASH, row["body_hash"]
            )
            for row in rows
        ]
        return b"".join(len(entry).to_bytes(2) + entry for entry in entries)

    async def inclusion(self, stream: str, sequence: int) -> InclusionProof | None:
        """That an event is in the log of the published checkpoint; none where it is not."""
        async with self._snapshot() as (connection, _):
            place = await connection.fetchrow(statement("log_place"), self._community, stream, sequence)
            published = await self._published(connection)
            if place is None or published is None or place["position"] >= published.size:
                return None
            tree = TreeReader(StoreSnapshot(connection), self._community, published.size)
            await tree.load([place["position"]])
            return InclusionProof(place["position"], tree.proof(place["position"]), published.checkpoint)

    async def consistency(self, first: int) -> tuple[int, list[bytes], str] | None:
        """That the log only grew since it had `first` events: its size, the proof, the checkpoint.

        None where nothing was recorded or cosigned yet. Raises `ProofError` where it is not that long.
        """
        async with self._snapshot() as (connection, _):
            published = await self._published(connection)
            if published is None:
                return None
            tree = TreeReader(StoreSnapshot(connection), self._community, published.size)
            return published.size, await tree.consistency(first), published.checkpoint

    async def _published(self, connection: Connection) -> Published | None:
        return await StoreSnapshot(connection).published(self._community, self._settings)

    async def blocks(self, after: Sequence[int], limit: int) -> list[BlockRow]:
        """Blocks with a higher number, in their order."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(statement("log_blocks"), self._community, after[0], limit)
        return [BlockRow(*row) for row in rows]

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[tuple[Connection, int]]:
        """A connection that sees one state, and the size of the log in it."""
        async with self._pool.connection() as connection, transaction(connection, "repeatable_read"):
            fence = await StoreSnapshot(connection).fence(self._community)
            yield connection, fence.size if fence else 0
