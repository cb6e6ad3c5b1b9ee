"""Turns: of all who would do the same thing at once, in whatever process, one after the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ledger.errors import Unavailable
from ledger.postgres.connection import Connection, statement, transaction

TURN_SECONDS_MAX = 20


class NoTurn(Unavailable):
    """Others were at it for too long."""

    code = "no-turn"


@asynccontextmanager
async def turn(connection: Connection, name: str) -> AsyncIterator[None]:
    """A transaction that nobody else is in under this `name`. It ends with the block or with the connection,
    so nobody has to give a turn back. Raises `NoTurn` when none comes in time, and `StoreUnavailable`.
    """
    async with transaction(connection):
        try:
            async with asyncio.timeout(TURN_SECONDS_MAX):
                await connection.execute(statement("take_turn"), name)
        except TimeoutError as error:
            raise NoTurn(
                "others write there for too long", where=name, hint="try again in a moment"
            ) from error
        yield
