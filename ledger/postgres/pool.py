"""Connections that many requests share: some see everything, others the rows of one building."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

import asyncpg

from ledger.errors import Unavailable
from ledger.postgres.connection import APP, BUILDING, Connection, PostgresSettings, connect, statement
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


class Owner(NamedTuple):
    """A building for which somebody reads."""

    community: str
    building: str


_owner: ContextVar[Owner | None] = ContextVar("owner", default=None)
BOUND_MAX = 1_000


def read_for(community: str, building: str) -> None:
    """From here on, this task and those that it starts read for one building: connections of a pool show them
    its rows and no others, whatever they ask for."""
    _owner.set(Owner(community, building))


class Pool:
    """At most so many connections for everything and as many for buildings, made when they are needed."""

    def __init__(self, pool: AsyncpgPool, buildings: "_BuildingsPool | None" = None) -> None:
        self._pool = pool
        self._buildings = buildings

    @classmethod
    async def open(cls, settings: PostgresSettings, most: int) -> Self:
        """A pool with one connection made: a store that cannot be reached is told at once.

        Raises `StoreUnavailable`.
        """
        with translated():
            pool = await _pool(partial(connect, settings, name="api", role=APP, search_path=LIVE), 1, most)
            return cls(pool, await _BuildingsPool.open(settings, most))

    async def close(self) -> None:
        """Leave, when those who are at work are done, or soon."""
        for pool in (self._pool, *([self._buildings.pool] if self._buildings else ())):
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await pool.close()
            except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                pool.terminate()

    @property
    def whole(self) -> "Pool":
        """The same connections for what serves everybody, also within a request that reads for one building:
        keys, the log's proofs, the order book. It shows all rows to whoever asks."""
        return Pool(self._pool)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One connection for a block. Raises `StoreUnavailable` when none comes free in time, `NotReady`."""
        owner = _owner.get()
        try:
            with translated():
                if owner is None or self._buildings is None:
                    async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
                        yield cast(Connection, connection)  # the pool's proxy of one
                else:
                    async with self._buildings.connection(owner) as connection:
                        yield connection
        except StoreRefused as error:
            if isinstance(error.__cause__, asyncpg.UndefinedTableError):
                raise NotReady(
                    "the store lacks a table that this needs", hint="is the projector running?"
                ) from error
            raise


class _BuildingsPool:
    """Connections under the role that sees one building's rows. Each remembers for which it was used last, so
    that a building that asks again costs no further round trip."""

    def __init__(self, pool: AsyncpgPool, owners: dict[int, Owner]) -> None:
        self.pool = pool
        self._owners = owners  # by the server's process

    @classmethod
    async def open(cls, settings: PostgresSettings, most: int) -> Self:
        """A pool without a connection yet."""
        owners: dict[int, Owner] = {}

        async def made() -> Connection:
            connection = await connect(settings, name="api building", role=BUILDING, search_path=LIVE)
            owners.pop(connection.get_server_pid(), None)  # another one's, which had the same number
            return connection

        return cls(await _pool(made, 0, most), owners)

    @asynccontextmanager
    async def connection(self, owner: Owner) -> AsyncIterator[Connection]:
        """One that reads for a building."""
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as acquired:
            connection = cast(Connection, acquired)  # the pool's proxy of one
            process = connection.get_server_pid()
            if self._owners.get(process) != owner:
                self._owners.pop(process, None)  # whoever is interrupted here leaves one of nobody
                await connection.execute(statement("read_for_building"), *owner)
                if len(self._owners) >= BOUND_MAX:
                    self._owners.clear()
                self._owners[process] = owner
            yield connection


async def _pool(connected: Callable[[], Awaitable[Connection]], least: int, most: int) -> AsyncpgPool:
    async def made(*_: Any, **__: Any) -> Connection:
        return await connected()

    return await asyncpg.create_pool(
        min_size=least, max_size=most, connect=made, reset=_as_it_was, max_inactive_connection_lifetime=60
    )


async def _as_it_was(connection: Connection) -> None:
    """Nobody sets anything on a session but whom it reads for, which is remembered: there is nothing to undo,
    and no round trip for it."""
