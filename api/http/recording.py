"""Documents on their way into the book, signed by the ledger's service."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from ledger.bus import Bus
from ledger.errors import Contradiction
from ledger.keys import SigningKey
from ledger.market_events import InvoiceIssued
from ledger.postgres.issued import IssuedStore
from settlement.billing.biller import Record
from settlement.settlement_stream import SettlementStream

T = TypeVar("T")


class IssuedMeanwhile(Contradiction):
    """Documents that were drafted have been issued before they could be recorded."""

    code = "issued-meanwhile"


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

    async def record(self, issued: IssuedStore) -> Record:
        """What appends documents; within a turn only. Raises `BusUnavailable`.

        An issue whose receipt did not come in time is on its way, and may come into the book while the next
        one drafts the same documents: so their first number is looked for again.
        """
        if not self._is_open:
            await self._stream.open()
            self._is_open = True

        async def record(events: Sequence[InvoiceIssued]) -> None:
            async def check() -> None:
                if events and await issued.document(events[0].number) is not None:
                    raise IssuedMeanwhile(
                        "an issue that was under way has come into the book meanwhile",
                        where=events[0].number,
                        hint="look at what was issued; then issue what is left",
                    )

            await self._stream.append(events, check)

        return record
