"""A writer at work between a real NATS and a real Postgres, and the gateways that talk to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

from ledger.bus import Bus, BusSettings, BusUnavailable
from ledger.embedded import EmbeddedNats
from ledger.keys import PublicKey
from ledger.receipt import Answer, read_receipt
from ledger.registry import SERVICE
from ledger.writer import Writer
from tests.support.campus import Campus
from tests.support.nats import everything

ANSWER_SECONDS = 20


class Site:
    """Everything that sends envelopes to one community, and the receipts that come back."""

    def __init__(self, bus: Bus, writer: Writer, service: PublicKey) -> None:
        self.bus = bus
        self.writer = writer
        self.community = writer.book.community
        self.received: list[Answer] = []
        self._service = service
        self._came = asyncio.Event()

    async def listen(self) -> None:
        """Take the receipts of all devices; one that the ledger did not sign ends the test."""
        await self.bus.on_receipts(self.community, "*", self._take)

    async def _take(self, data: bytes) -> None:
        self.received.append(read_receipt(data, self.community, self._service))
        self._came.set()

    async def until_served(self) -> None:
        """Return once the writer answers."""
        while True:
            try:
                await self.bus.ask_heads(self.community, SERVICE)
                return
            except BusUnavailable:
                await asyncio.sleep(0.01)

    async def send(self, device: str, data: bytes) -> Answer:
        """Publish an envelope and wait for its next receipt."""
        (answer,) = await self.send_all([(device, data)])
        return answer

    async def send_all(self, envelopes: list[tuple[str, bytes]]) -> list[Answer]:
        """Publish envelopes in this order and wait for the next receipt of each."""
        begin = len(self.received)
        for device, data in envelopes:
            await self.bus.publish_envelope(self.community, device, data)
        return [await self.answer(data, begin) for _, data in envelopes]

    async def answer(self, data: bytes, begin: int = 0) -> Answer:
        """The first receipt of an envelope among those received from `begin` on."""
        digest = sha256(data).hexdigest()
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                self._came.clear()
                for answer in self.received[begin:]:
                    if answer.envelope == digest:
                        return answer
                await self._came.wait()


def bus_settings(nats: EmbeddedNats) -> BusSettings:
    """How to reach an embedded NATS."""
    return everything(nats)


@asynccontextmanager
async def running(campus: Campus, writer: Writer, nats: EmbeddedNats) -> AsyncIterator[Site]:
    """`writer`, which is open, serving its community until the end of the block."""
    settings = bus_settings(nats)
    stop = asyncio.Event()
    async with await Bus.connect(settings, "writer") as bus, await Bus.connect(settings, "site") as outside:
        await bus.ensure_stream()
        site = Site(outside, writer, campus.keys[SERVICE].public)
        await site.listen()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(writer.run(bus, stop))
            try:
                await site.until_served()
                yield site
            finally:
                stop.set()
    await writer.book.close()
