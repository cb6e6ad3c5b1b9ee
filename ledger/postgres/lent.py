"""The store as settlement needs it, on a connection of the API's pool."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ledger.errors import BadInput
from ledger.postgres.pool import Pool
from ledger.postgres.settlement import SettlementStore


@asynccontextmanager
async def lent_store(pool: Pool) -> AsyncIterator[SettlementStore]:
    """A connection for a block, which leaves neither a turn nor a transaction behind for the next one.

    A turn is a lock of the session. Whoever is interrupted while it is taken or given back, or whom the store
    fails then, cannot know whether it is still held: such a connection is never used again. What does not fit
    (`BadInput`) is told in between, when the turn has been given back.

    Raises `StoreUnavailable`.
    """
    async with pool.connection() as connection:
        try:
            yield SettlementStore(connection)
        except BadInput:
            raise
        except BaseException:
            connection.terminate()
            raise
