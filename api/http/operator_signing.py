"""What the API appends in the operator's name: one stream's turn at a time, over all processes.

Who waits for a turn waits by stream: a building that asks for many turns at once is one of those who wait,
and another's order comes after one of its own at most.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from api.http.fair_lock import FairLock
from api.http.waiting import held
from ledger.bus import Bus
from ledger.client import BookClient, Refused
from ledger.errors import Unavailable
from ledger.event import Event
from ledger.opening import LedgerKeys
from ledger.postgres.connection import Connection
from ledger.postgres.pool import Pool
from ledger.postgres.turns import turn
from ledger.registry import OPERATOR

BEHIND = frozenset({"fork", "chain-broken", "sequence-gap"})
"""Refusals of what does not go on from the stream's head: somebody else was faster."""


class OthersWrite(Unavailable):
    """Somebody else, who takes no turns, wrote to the stream in the same moment."""

    code = "others-write"


@contextmanager
def others_told(stream: str) -> Iterator[None]:
    """Tell who was behind somebody else that this is why nothing was written. Raises `OthersWrite`."""
    try:
        yield
    except Refused as error:
        if error.code in BEHIND:
            raise OthersWrite(
                "somebody else wrote in the same moment", where=stream,
                hint="nothing was written: send it again",
            ) from error  # fmt: skip
        raise


class Operator:
    """Signs with the operator's key. Two appends at once would be a fork, so each takes its turn."""

    def __init__(self, pool: Pool, bus: Bus, community: str, keys: LedgerKeys) -> None:
        self._pool = pool
        self._bus = bus
        self._community = community
        self._client = BookClient(bus, community, OPERATOR, keys.operator, keys.service.public)
        self._is_open = False
        self._lock = FairLock()  # of this process' requests only one waits with a connection in hand

    @asynccontextmanager
    async def turn(self, stream: str) -> AsyncIterator["Turn"]:
        """Be the only one to append to a stream, for the length of the block and of its transaction.

        Raises `Busy`, `NoTurn`, `StoreUnavailable`, `BusUnavailable`.
        """
        async with (
            held(self._lock.of(stream), "the operator's appending"),
            self._pool.connection() as connection,
            turn(connection, f"{self._community} {stream}"),
        ):
            yield Turn(self, stream, connection)

    async def client(self) -> BookClient:
        """The one client, which knows where the chains go on now. Raises `BusUnavailable`."""
        if self._is_open:
            await self._client.ask_heads()
        else:
            await self._client.open()
            self._is_open = True
        return self._client


class Turn:
    """A turn at a stream; `connection` is in a transaction that ends with it."""

    def __init__(self, operator: Operator, stream: str, connection: Connection) -> None:
        self.connection = connection
        self._operator = operator
        self._stream = stream

    async def append(self, *events: Event) -> None:
        """Append events. Raises `OthersWrite`, `Refused`, `NoReceipt`, `BusUnavailable`."""
        client = await self._operator.client()
        with others_told(self._stream):
            await client.append(self._stream, list(events))
