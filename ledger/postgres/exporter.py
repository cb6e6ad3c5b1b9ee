"""The book as it stands at one instant: every answer comes from the same snapshot, however long it takes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from ledger.batch import Fence
from ledger.export import EnvelopeRow, EventRow, Published
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
from ledger.postgres.pool import Pool
from ledger.witness_settings import LogSettings

PAGE_ROWS = 5_000


@asynccontextmanager
async def open_snapshot(settings: PostgresSettings) -> AsyncIterator["StoreSnapshot"]:
    """Connect and take the snapshot. Raises `StoreUnavailable`."""
    connection = await connect(settings, name="export", role=APP)
    try:
        with translated():
            await connection.transaction(isolation="repeatable_read", readonly=True).start()
        yield StoreSnapshot(connection)
    finally:
        await close(connection)  # which ends the transaction: there is nothing to commit


@asynccontextmanager
async def snapshot_of(pool: Pool) -> AsyncIterator["StoreSnapshot"]:
    """The snapshot by a connection of a pool. Raises `StoreUnavailable`."""
    async with pool.connection() as connection, transaction(connection, "repeatable_read"):
        yield StoreSnapshot(connection)


class StoreSnapshot:
    """One connection in one read-only transaction. Rows come in pages through server-side cursors, so that a
    book of any size takes the same memory here and there."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def fence(self, community: str) -> Fence | None:
        """The newest state of the log; None where there is no such book."""
        rows = await self._rows("read_fence", community)
        if not rows:
            return None
        return Fence(rows[0]["size"], rows[0]["peaks"], rows[0]["root"], rows[0]["checkpoint"])

    async def published(self, community: str, settings: LogSettings) -> Published | None:
        """The checkpoint that others are given, with what these witnesses have put under it: the newest or,
        with a quorum, the newest that has it. None where there is none."""
        if settings.quorum:
            rows = await self._rows("log_witnessed", community, settings.keys, settings.quorum)
        else:
            rows = await self._rows("read_fence", community)
        if not rows or not rows[0]["size"]:
            return None
        size, checkpoint = rows[0]["size"], rows[0]["checkpoint"]
        if settings.keys:
            lines = await self._rows("log_cosignatures", community, size, settings.keys)
            checkpoint += "".join(row["line"] for row in lines)
        return Published(size, checkpoint)

    def events(self, community: str, size: int) -> AsyncIterator[list[EventRow]]:
        return self._event_pages("export_events", community, size)

    def registry(self, community: str, size: int) -> AsyncIterator[list[EventRow]]:
        return self._event_pages("export_registry", community, size)

    def stream(self, community: str, size: int, stream: str) -> AsyncIterator[list[EventRow]]:
        return self._event_pages("export_stream", community, size, stream)

    async def envelopes(self, community: str, size: int) -> AsyncIterator[list[EnvelopeRow]]:
        async for page in self._pages("export_envelopes", community, size):
            yield [EnvelopeRow(*row.values()) for row in page]

    async def envelopes_at(self, community: str, positions: Sequence[int]) -> list[EnvelopeRow]:
        rows = await self._rows("export_envelopes_at", community, positions)
        return [EnvelopeRow(*row.values()) for row in rows]

    async def bodies(self, community: str, stream: str, first: int, last: int) -> list[bytes]:
        return [row["body"] for row in await self._rows("export_bodies", community, stream, first, last)]

    async def count(self, community: str, size: int, streams: Sequence[str]) -> int:
        return int((await self._rows("export_count", community, size, streams))[0]["events"])

    async def signers(self, community: str, size: int, stream: str) -> list[str]:
        return [row["device"] for row in await self._rows("export_signers", community, size, stream)]

    async def recorded(
        self, community: str, places: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], bytes]:
        streams, sequences = [stream for stream, _ in places], [sequence for _, sequence in places]
        rows = await self._rows("read_recorded", community, streams, sequences)
        return {(row["stream"], row["sequence"]): row["entry_hash"] for row in rows}

    async def full_tiles(
        self, community: str, places: Sequence[tuple[int, int]]
    ) -> Mapping[tuple[int, int], bytes]:
        levels, indexes = [level for level, _ in places], [index for _, index in places]
        rows = await self._rows("export_tiles", community, levels, indexes)
        return {(row["level"], row["index"]): row["hashes"] for row in rows}

    async def leaves(self, community: str, begin: int, end: int) -> list[bytes]:
        return [row["entry_hash"] for row in await self._rows("read_leaves", community, begin, end)]

    async def tile_roots(self, community: str, level: int, begin: int, end: int) -> list[bytes]:
        return [row["root"] for row in await self._rows("read_tile_roots", community, level, begin, end)]

    async def _event_pages(self, name: str, *values: Any) -> AsyncIterator[list[EventRow]]:
        async for page in self._pages(name, *values):
            yield [EventRow(*row.values()) for row in page]

    async def _rows(self, name: str, *values: Any) -> list[asyncpg.Record]:
        with translated():
            return await self._connection.fetch(statement(name), *values)

    async def _pages(self, name: str, *values: Any) -> AsyncIterator[list[asyncpg.Record]]:
        with translated():
            cursor = await self._connection.cursor(statement(name), *values)
        while True:
            with translated():
                page = await cursor.fetch(PAGE_ROWS)
            if not page:
                return
            yield page
