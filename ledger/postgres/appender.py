"""The store as the writer needs it: state of a community, and one transaction a batch."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Self

from ledger.batch import Batch, Fence
from ledger.entry import Head
from ledger.postgres.connection import (
    APP,
    Connection,
    PostgresSettings,
    close,
    connect,
    statement,
    storable,
    transaction,
)
from ledger.postgres.errors import Conflict, translated
from ledger.postgres.health import check_role
from ledger.postgres.recorded import recorded_hashes
from ledger.strangers import DROPPED_AT_ONCE, Bounds

_EVENT_COLUMNS = (
    "community", "position", "stream", "sequence", "body_hash", "entry_hash", "body", "envelope",
)  # fmt: skip
_ENVELOPE_COLUMNS = ("community", "position", "device", "key", "signature", "runs", "recorded_at")
_TILE_COLUMNS = ("community", "level", "index", "hashes", "root")


class Parked(NamedTuple):
    """An envelope that came before its predecessors."""

    digest: bytes
    device: str
    message: bytes


class Appender:
    """One connection that may insert into the book and do nothing else to it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, settings: PostgresSettings, name: str = "writer") -> Self:
        """Connect as the application's role. Raises `StoreUnavailable`."""
        return cls(await connect(settings, name=name, role=APP))

    async def close(self) -> None:
        """Leave."""
        await close(self._connection)

    async def state(self, community: str, empty_root: bytes, now: datetime) -> Fence:
        """The newest state of a community's log, made empty first when there is none. Raises `RoleBound`."""
        await check_role(self._connection)
        with translated():
            await self._connection.execute(statement("create_community"), community, empty_root, now)
            row = await self._connection.fetchrow(statement("read_fence"), community)
        if row is None:
            raise Conflict("the community's row vanished", where=community)
        return Fence(row["size"], row["peaks"], row["root"], row["checkpoint"])

    async def registry_bodies(self, community: str) -> list[bytes]:
        """The bodies of all registry and device events in order of the book."""
        with translated():
            rows = await self._connection.fetch(statement("read_registry"), community)
        return [row["body"] for row in rows]

    async def leaves(self, community: str, begin: int, end: int) -> list[bytes]:
        """Entry hashes of the positions [begin, end)."""
        with translated():
            rows = await self._connection.fetch(statement("read_leaves"), community, begin, end)
        return [row["entry_hash"] for row in rows]

    async def tile_roots(self, community: str, level: int, begin: int, end: int) -> list[bytes]:
        """Roots of the full tiles [begin, end) of a level."""
        with translated():
            rows = await self._connection.fetch(statement("read_tile_roots"), community, level, begin, end)
        return [row["root"] for row in rows]

    async def heads(self, community: str, streams: Sequence[str]) -> dict[str, Head]:
        """The heads of those `streams` that have events."""
        with translated():
            rows = await self._connection.fetch(statement("read_heads"), community, streams)
        return {row["stream"]: Head(row["sequence"], row["hash"]) for row in rows}

    async def recorded(
        self, community: str, places: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], bytes]:
        """The entry hashes at (stream, sequence)."""
        with translated():
            return await recorded_hashes(self._connection, community, places)

    async def recorded_at(self, community: str, position: int) -> datetime | None:
        """When the event at a position was recorded; none where there is no event yet."""
        with translated():
            at: datetime | None = await self._connection.fetchval(
                statement("read_recorded_at"), community, position
            )
        return at

    async def parked_streams(self, community: str) -> set[str]:
        """The streams that have envelopes waiting for missing events."""
        with translated():
            rows = await self._connection.fetch(statement("read_parked_streams"), community)
        return {row["stream"] for row in rows}

    async def parked(self, community: str, streams: Sequence[str]) -> list[Parked]:
        """The envelopes that wait for missing events of `streams`."""
        with translated():
            rows = await self._connection.fetch(statement("read_parked"), community, streams)
        return [Parked(row["digest"], row["device"], row["message"]) for row in rows]

    async def resolve_parked(
        self, community: str, digests: Sequence[bytes], recorded: Sequence[bytes], now: datetime
    ) -> None:
        """These envelopes no longer wait: those `recorded` are in the book, the others were refused."""
        with translated():
            await self._connection.execute(statement("resolve_parked"), community, digests, recorded, now)

    async def bound_quarantine(self, community: str, now: datetime, bounds: Bounds) -> int:
        """Let go of the oldest that strangers left, where it is too much; how many messages went, which are
        no more than `DROPPED_AT_ONCE`."""
        age, *most = bounds
        with translated():
            return (
                await self._connection.fetchval(
                    statement("quarantine_bound"), community, now, now - age, *most, DROPPED_AT_ONCE
                )
                or 0
            )

    async def append(self, batch: Batch) -> None:
        """Write the whole batch or nothing of it.

        Raises `Conflict` when somebody else appended, `StoreUnavailable` when the server went away: then the
        batch may be in the book or not, and reading the state again tells which. All rows are complete lists
        before COPY begins, because a COPY whose generator raises can hang.
        """
        connection = self._connection
        with translated():
            async with transaction(connection):
                if batch.events:
                    await self._append_events(batch)
                elif batch.quarantine:
                    await self._check_fence(batch)
                if batch.quarantine:
                    rows = [storable(row) for row in batch.quarantine]
                    await connection.executemany(statement("quarantine"), rows)

    async def _check_fence(self, batch: Batch) -> None:
        """A refusal, too, is only true of the newest state."""
        row = await self._connection.fetchrow(statement("read_fence"), batch.community)
        if row is None or row["size"] != batch.before:
            raise Conflict("another writer appended to this community", where=batch.community)

    async def _append_events(self, batch: Batch) -> None:
        connection, after = self._connection, batch.after
        fence = await connection.fetchval(
            statement("take_fence"),
            batch.community,
            batch.before,
            after.size,
            after.peaks,
            after.root,
            after.checkpoint,
            batch.now,
        )
        if fence is None:
            raise Conflict("another writer appended to this community", where=batch.community)
        await connection.copy_records_to_table(
            "events", schema_name="book", records=batch.events, columns=_EVENT_COLUMNS
        )
        await connection.copy_records_to_table(
            "envelopes", schema_name="book", records=batch.envelopes, columns=_ENVELOPE_COLUMNS
        )
        if batch.tiles:
            await connection.copy_records_to_table(
                "tiles", schema_name="book", records=batch.tiles, columns=_TILE_COLUMNS
            )
        await connection.execute(
            statement("move_heads"),
            batch.community,
            list(batch.heads),
            [head.sequence for head in batch.heads.values()],
            [head.hash for head in batch.heads.values()],
        )
