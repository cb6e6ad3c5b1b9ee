"""What waits in quarantine, and what a person decides about it."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from ledger.postgres.connection import statement
from ledger.postgres.pool import Pool

Resolution = Literal["released", "rejected"]
Send = Callable[[str, bytes], Awaitable[None]]
"""Hands a device's message to JetStream."""


class RefusedRow(NamedTuple):
    """A message that was refused, by one code. The writer itself resolved what has no `resolution`.

    `refused_as` is the newest code that it was refused with after that one, unless it was recorded then.
    """

    digest: bytes
    code: str
    device: str
    stream: str | None
    sequence: int | None
    what: str
    first_at: datetime
    last_at: datetime
    times: int
    resolved_at: datetime | None
    resolution: Resolution | None
    resolved_by: str | None
    refused_as: str | None


class QuarantineStore:
    """One community's. All methods raise `StoreUnavailable`."""

    def __init__(self, pool: Pool, community: str) -> None:
        self._pool = pool
        self._community = community

    async def page(self, after: Sequence[Any], limit: int, code: str) -> list[RefusedRow]:
        """What was refused, newest first, behind (last_at, digest, code); of one code, if it is told."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(statement("quarantine_page"), self._community, *after, code, limit)
        return [RefusedRow(*row) for row in rows]

    async def message(self, digest: bytes) -> tuple[list[RefusedRow], bytes]:
        """What a message was refused for, and the message; no rows where there is none."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(statement("quarantine_message"), self._community, digest)
        return [RefusedRow(*row[:-1]) for row in rows], rows[0]["message"] if rows else b""

    async def reject(self, digest: bytes, by: str, now: datetime) -> bool:
        """Let a message wait no longer; whether it did."""
        return await self._claim(digest, "rejected", by, now) is not None

    async def release(self, digest: bytes, by: str, now: datetime, send: Send) -> bool:
        """Send a message again that waits; whether it did.

        It is decided first and sent afterwards, with nothing locked in between: a writer that refuses the
        message anew lets it wait again, and does not wait for that. Raises what `send` does; then the message
        waits as before.
        """
        claimed = await self._claim(digest, "released", by, now)
        if claimed is None:
            return False
        try:
            await send(*claimed)
        except BaseException:
            await self._give_back(digest, "released", by, now)
            raise
        return True

    async def _claim(
        self, digest: bytes, resolution: Resolution, by: str, now: datetime
    ) -> tuple[str, bytes] | None:
        """Decide on a message that waits: its device and itself; none where it does not wait."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                statement("quarantine_resolve"), self._community, digest, now, resolution, by
            )
        return (rows[0]["device"], rows[0]["message"]) if rows else None

    async def _give_back(self, digest: bytes, resolution: Resolution, by: str, now: datetime) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(
                statement("quarantine_give_back"), self._community, digest, now, resolution, by
            )
