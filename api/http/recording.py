"""Documents on their way into the book, signed by the ledger's service."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ledger.bus import Bus
from ledger.keys import SigningKey
from settlement.billing.biller import Record
from settlement.settlement_stream import SettlementStream

T = TypeVar("T")


class Recorder:
    """One a process: it listens for receipts once, when it is asked for first.

    `turn` is had by one request at a time, and before it takes a connection: those that wait keep none from
    others. Between processes, the store's own turn decides.
    """

    def __init__(self, bus: Bus, community: str, key: SigningKey) -> None:
        self.turn = asyncio.Lock()
        self._stream = SettlementStream(bus, community, key)
        self._is_open = False
        self._at_work: set[asyncio.Task[Any]] = set()

    async def unbroken(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` gives. It goes on to its end when who waits for it is gone: numbers that are on their
        way into the book must be there before anybody reads which one is the last."""
        task = asyncio.ensure_future(work)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        return await asyncio.shield(task)

    async def record(self) -> Record:
        """What appends documents; within a turn only. Raises `BusUnavailable`."""
        if not self._is_open:
            await self._stream.open()
            self._is_open = True
        return self._stream.append
