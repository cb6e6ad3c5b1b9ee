"""Connections that many requests share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, cast

import asyncpg

from ledger.errors import Unavailable
from ledger.postgres.connection import APP, Connection, PostgresSettings, connect
from ledger.postgres.errors import StoreRefused, translated
from ledger.postgres.projection import LIVE

if TYPE_CHECKING:
    AsyncpgPool = asyncpg.Pool[asyncpg.Record]
else:
    AsyncpgPool = asyncpg.Pool

ACQUIRE_SECONDS = 5.0
CLOSE_SECONDS = 5.0


class NotReady(Unavailable):
    """The projections were not made yet, or the migrations not run."""

    code = "store-not-ready"


class Pool:
    """At most so many connections, made when they are needed."""

    def __init__(self, pool: AsyncpgPool) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, settings: PostgresSettings, most: int) -> Self:
        """A pool with one connection made: a store that cannot be reached is told at once.

        Raises `StoreUnavailable`.
        """

        async def made(*_: Any, **__: Any) -> Connection:
            return await connect(settings, name="api", role=APP, search_path=LIVE)

        with translated():
            pool = await asyncpg.create_pool(
                min_size=1, max_size=most, connect=made, reset=_as_it_was, max_inactive_connection_lifetime=60
            )
        return cls(pool)

    async def close(self) -> None:
        """Leave, when those who are at work are done, or soon."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._pool.close()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One connection for a block. Raises `StoreUnavailable` when none comes free in time, `NotReady`."""
        try:
            with translated():
                async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
                    yield cast(Connection, connection)  # the pool's proxy of one
        except StoreRefused as error:
            if isinstance(error.__cause__, asyncpg.UndefinedTableError):
                raise NotReady(
                    "the store lacks a table that this needs", hint="is the projector running?"
                ) from error
            raise


async def _as_it_was(connection: Connection) -> None:
    """Nobody sets anything on a session here, so there is nothing to undo, and no round trip for it."""
