"""The store of the API: keys, answers that may be asked for again, and who asked for what."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from ledger.access import AccessKey
from ledger.postgres.connection import statement
from ledger.postgres.pool import Pool


class Answered(NamedTuple):
    """What became of a request: no status while it is being answered, no body if that was too long."""

    request: bytes
    begun_at: datetime
    status: int | None
    media_type: str | None
    body: bytes | None
    location: str | None


class Asked(NamedTuple):
    """One request, as the access log keeps it."""

    at: datetime
    id: str
    prefix: str | None
    role: str | None
    method: str
    path: str
    status: int
    micros: int


def month_of(instant: datetime) -> tuple[int, int]:
    """Year and month of an instant in UTC, by which the access log is kept."""
    at = instant.astimezone(UTC)
    return at.year, at.month


class AccessStore:
    """Reads and writes by connections of a pool. All methods raise `StoreUnavailable`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._months: set[tuple[int, int]] = set()  # of the access log, that were made

    # --- keys --------------------------------------------------------------------------------

    async def add(self, key: AccessKey) -> None:
        """Keep a new key."""
        async with self._pool.connection() as connection:
            await connection.execute(statement("access_add_key"), *key[:-1])

    async def key(self, prefix: str) -> AccessKey | None:
        """The key with a prefix, whether it counts or not."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(statement("access_key"), prefix)
        return AccessKey(*row) if row else None

    async def keys(self, community: str) -> list[AccessKey]:
        """All keys of a community, the oldest first."""
        async with self._pool.connection() as connection:
            return [AccessKey(*row) for row in await connection.fetch(statement("access_keys"), community)]

    async def end(self, community: str, prefix: str, at: datetime) -> bool:
        """Let a key count no longer than to an instant; whether there is such a key."""
        async with self._pool.connection() as connection:
            found = await connection.fetchval(statement("access_end_key"), community, prefix, at)
        return found is not None

    # --- answers ------------------------------------------------------------------------------

    async def begin(
        self, prefix: str, name: str, request: bytes, now: datetime, given_up_before: datetime
    ) -> bool:
        """Be the one to answer a request; whether nobody was before, or only one who began before an
        instant and never came to an end."""
        async with self._pool.connection() as connection:
            await connection.execute(
                statement("access_take_over_answer"), prefix, name, request, given_up_before
            )
            begun = await connection.fetchval(statement("access_begin_answer"), prefix, name, request, now)
        return begun is not None

    async def answered(self, prefix: str, name: str) -> Answered | None:
        """What became of a request; none where it was dropped meanwhile."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(statement("access_answer"), prefix, name)
        return Answered(*row) if row else None

    async def finish(
        self, prefix: str, name: str, begun: datetime, status: int, media_type: str, body: bytes | None,
        location: str | None,
    ) -> None:  # fmt: skip
        """Keep what was answered, as the one who began at an instant; the body is none if it is too long."""
        async with self._pool.connection() as connection:
            await connection.execute(
                statement("access_end_answer"), prefix, name, begun, status, media_type, body, location
            )

    async def drop(self, prefix: str, name: str, begun: datetime) -> None:
        """Forget a request that nothing came of, as the one who began at an instant."""
        async with self._pool.connection() as connection:
            await connection.execute(statement("access_drop_answer"), prefix, name, begun)

    async def forget(self, before: datetime) -> None:
        """Forget answers that were begun before an instant."""
        async with self._pool.connection() as connection:
            await connection.execute(statement("access_forget_answers"), before)

    # --- the access log -----------------------------------------------------------------------

    async def log(self, asked: Sequence[Asked]) -> None:
        """Keep who asked for what, each request in its month, which is made before the first one."""
        months = {month_of(each.at): each.at for each in asked}
        async with self._pool.connection() as connection:
            for month in months.keys() - self._months:
                await connection.execute(statement("access_make_month"), months[month])
                self._months.add(month)
            await connection.copy_records_to_table(
                "requests", schema_name="access", records=asked, columns=Asked._fields
            )

    async def drop_months(self, now: datetime, months: int) -> int:
        """Let go of the access log's months that ended more than so many months before this one; how many."""
        async with self._pool.connection() as connection:
            dropped: int = await connection.fetchval(statement("access_drop_months"), now, months)
        return dropped
