"""The writer: the one appender of a community, from the bus to the signed receipt.

    take envelopes -> examine -> record in one transaction -> signed receipts -> acknowledge

Examining the next envelopes goes on while Postgres commits the last ones. An envelope that changes the
registry ends its group, so that what follows is judged by the new state.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec
import structlog

from ledger.admission import Unverified
from ledger.block import block_bytes
from ledger.book import Book, Judged, Read
from ledger.bus import Bus, Delivery
from ledger.clock import Clock
from ledger.entry import is_name
from ledger.errors import Unavailable
from ledger.event import Positive
from ledger.receipt import Answer

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5


class WriterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a writer works. A block is sealed when either limit is reached: so many events that no block seals,
    or so many seconds since the oldest of them was recorded, by whichever writer."""

    seal_seconds: Positive = 900
    seal_events: Positive = 100_000
    batch_envelopes: Positive = 256
    batch_events: Positive = 6_000
    # for envelopes, before it looks at the time again
    wait_seconds: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0


Group = list[tuple[Delivery, Judged]]
"""Envelopes that one transaction can hold."""


class Writer:
    """Appends to one community what comes in over the bus. The book must be open."""

    def __init__(self, book: Book, clock: Clock, settings: WriterSettings | None = None) -> None:
        self.book = book
        self.settings = settings or WriterSettings()
        self._clock = clock

    async def run(self, bus: Bus, stop: asyncio.Event) -> None:
        """Serve the community until `stop` is set; what was taken is answered before it returns."""
        community = self.book.community
        await bus.serve_heads(community, self.book.tell_heads)
        await bus.serve_seal(community, self._seal_on_demand)
        groups: asyncio.Queue[Group | None] = asyncio.Queue(2)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._take(bus, groups, stop))
                tasks.create_task(self._serve(bus, groups))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None  # the first is why the other was cancelled

    async def _take(self, bus: Bus, groups: asyncio.Queue[Group | None], stop: asyncio.Event) -> None:
        """Fetch and examine, in groups that one transaction can hold."""
        intake = bus.intake(self.book.community)
        while not stop.is_set():
            try:
                deliveries = await intake.take(self.settings.batch_envelopes, self.settings.wait_seconds)
            except Unavailable as error:
                log.warning("intake failed", code=error.code, detail=error.what)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._group(deliveries, groups)
        await intake.close()
        await groups.put(None)

    async def _group(self, deliveries: Sequence[Delivery], groups: asyncio.Queue[Group | None]) -> None:
        pending: list[tuple[Delivery, Read]] = []
        events = 0
        for delivery in deliveries:
            read = self.book.read(delivery.device, delivery.data)
            pending.append((delivery, read))
            barrier = isinstance(read.outcome, Unverified) and read.outcome.changes_registry
            events += read.outcome.events if isinstance(read.outcome, Unverified) else 0
            if barrier or events >= self.settings.batch_events:
                await groups.put(await self._examined(pending))
                pending, events = [], 0
            if barrier:
                await groups.join()  # what follows is judged by the registry after it
        await groups.put(await self._examined(pending))

    async def _examined(self, pending: Sequence[tuple[Delivery, Read]]) -> Group:
        items = await self.book.examine_all([read for _, read in pending])
        return [(delivery, item) for (delivery, _), item in zip(pending, items, strict=True)]

    async def _serve(self, bus: Bus, groups: asyncio.Queue[Group | None]) -> None:
        """Record each group and answer it; seal blocks when they are due."""
        while (group := await groups.get()) is not None:
            if group:
                await self._answer(bus, await self.book.record([item for _, item in group]))
                for delivery, _ in group:
                    await delivery.done()
                await self._answer(bus, await self.book.record_parked())
            await self.book.bound_quarantine()
            if self._seal_is_due():
                await self.book.seal()
            groups.task_done()

    async def _answer(self, bus: Bus, answers: list[Answer]) -> None:
        """Sign and send; a receipt that does not arrive is asked for again by sending again."""
        if not answers:
            return
        for answer, receipt in zip(answers, self.book.sign(answers), strict=True):
            if not is_name(answer.device):
                continue  # a subject that no device has: nobody could read the answer
            try:
                await bus.publish_receipt(self.book.community, answer.device, receipt)
            except Unavailable as error:
                log.warning("receipt not sent", code=error.code, device=answer.device)

    def _seal_is_due(self) -> bool:
        since = self.book.unsealed_since
        if since is None:
            return False
        # A clock that was put back says nothing of how long it has been: then it may be too long.
        waited = abs(self._clock.now() - since)
        return waited.total_seconds() >= self.settings.seal_seconds or (
            self.book.unsealed >= self.settings.seal_events
        )

    async def _seal_on_demand(self, device: str) -> bytes:
        """A person asks for a block now; the answer is the newest one's canonical bytes, or nothing."""
        await self.book.seal()
        last = self.book.registry.last_block
        return block_bytes(self.book.community, last) if last else b""
