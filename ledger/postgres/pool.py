"""Connections that many requests share: some see everything, others the rows of one building."""

import asyncio
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

import asyncpg

from ledger.errors import LedgerError, Unavailable
from ledger.postgres.connection import APP, BUILDING, Connection, PostgresSettings, connect, statement
from ledger.postgres.errors import StoreRefused, translated
from ledger.postgres.lending import Connections, Lent
from ledger.postgres.projection import LIVE

LOCK_SECONDS = 10
"""Somebody waits for the answer; a migration may hold a table for longer."""


class NotReady(Unavailable):
    """The projections were not made yet, or the migrations not run."""

    code = "store-not-ready"


class Owner(NamedTuple):
    """A building for which somebody reads."""

    community: str
    building: str


_owner: ContextVar[Owner | None] = ContextVar("owner", default=None)


def read_for(community: str, building: str) -> None:
    """From here on, this task and those that it starts read for one building: connections of a pool show them
    its rows and no others, whatever they ask for."""
    _owner.set(Owner(community, building))


class Pool:
    """At most so many connections for everything and as many for buildings, made when they are needed."""

    def __init__(self, everything: Connections, buildings: Connections | None = None) -> None:
        self._everything = everything
        self._buildings = buildings

    @classmethod
    async def open(cls, settings: PostgresSettings, most: int) -> Self:
        """A pool with one connection made: a store that cannot be reached is told at once.

        Raises `StoreUnavailable`.
        """
        everything, buildings = (
            Connections(
                partial(connect, settings, name=name, role=role, search_path=LIVE, lock_seconds=LOCK_SECONDS),
                most,
            )
            for name, role in (("api", APP), ("api building", BUILDING))
        )
        everything.give_back(await everything.lend())
        return cls(everything, buildings)

    async def close(self) -> None:
        """Leave, when those who are at work are done, or soon."""
        both = (self._everything, self._buildings)
        await asyncio.gather(*(each.close() for each in both if each is not None))

    @property
    def whole(self) -> "Pool":
        """The same connections for what serves everybody, also within a request that reads for one building:
        keys, the log's proofs, the order book. It shows all rows to whoever asks."""
        return Pool(self._everything)

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """One connection for a block. Raises `StoreUnavailable` when none comes free in time, `NotReady`, and
        the library's errors as the ledger's."""
        owner = _owner.get()
        if owner is None or self._buildings is None:
            return _Block(self._everything, None)
        return _Block(self._buildings, owner)


class _Block(AbstractAsyncContextManager[Connection]):
    """A connection is lent when it begins, and given back when it ends."""

    __slots__ = ("_connections", "_lent", "_owner")

    def __init__(self, connections: Connections, owner: Owner | None) -> None:
        self._connections = connections
        self._owner = owner

    async def __aenter__(self) -> Connection:
        self._lent = lent = await self._connections.lend(self._owner)
        if self._owner is not None and lent.owner != self._owner:
            await self._show(lent, self._owner)
        return lent.connection

    async def _show(self, lent: Lent, owner: Owner) -> None:
        """Have it show the rows of one building, and of no other."""
        lent.owner = None
        try:
            with translated():
                await lent.connection.execute(statement("read_for_building"), *owner)
        except BaseException:
            self._connections.give_back(lent, is_sound=False)
            raise
        lent.owner = owner

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._connections.give_back(self._lent, is_sound=_is_sound(error))
        if error is not None:
            _raise(error)


def _is_sound(error: BaseException | None) -> bool:
    """Whether a connection is as it was when its block ended with this: nothing is under way on it."""
    if isinstance(error, LedgerError):
        return not isinstance(error, Unavailable)
    return error is None or isinstance(error, asyncpg.PostgresError)


def _raise(error: BaseException) -> None:
    """The library's error as one of the ledger's; others go on as they are."""
    try:
        with translated():
            raise error
    except StoreRefused as refused:
        if isinstance(refused.__cause__, asyncpg.UndefinedTableError):
            raise NotReady(
                "the store lacks a table that this needs", hint="is the projector running?"
            ) from refused
        raise
