"""A station for the tests of the sender: an outbox with its sender, and a bus that fails at will."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from random import Random

from ingest.courier import Identity, SenderSettings
from ingest.outbox import Outbox, Outgoing
from ingest.sender import Sender
from ledger.bus import BusUnavailable
from ledger.canonical import encode
from ledger.clock import VirtualClock
from ledger.event import new_salt
from ledger.events import MeterRead
from ledger.receipt import RECORDED, Answer
from tests.unit.ingest.site import (
    COMMUNITY,
    GATEWAY,
    GATEWAY_KEY,
    OTHER_KEY,
    SERVICE_KEY,
    START,
    LedgerDouble,
    signed,
)

QUICK = SenderSettings(receipt_seconds=0.02, retry_seconds=0.005, hold_seconds=0.02, wait_seconds_max=0.04)


class BusDouble:
    """A bus without NATS before a ledger double. `rng` decides what goes wrong; without it nothing does.

    Envelopes reach the ledger one by one from a queue, as from JetStream.
    """

    def __init__(self, ledger: LedgerDouble, rng: Random | None = None) -> None:
        self.ledger = ledger
        self.rng = rng
        self.published: list[bytes] = []
        self.down = False
        self.ledger_down = False
        self.mute = 0  # so many answers are lost
        self.swallow = 0  # so many envelopes are lost after they were taken
        self.service_key = SERVICE_KEY
        self._handle: Callable[[bytes], Awaitable[None]] | None = None
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()

    def goes_wrong(self, chance: float) -> bool:
        return self.rng is not None and self.rng.random() < chance

    async def on_receipts(
        self, community: str, device: str, handle: Callable[[bytes], Awaitable[None]]
    ) -> None:
        if self.down or self.goes_wrong(0.1):
            raise BusUnavailable("down")
        self._handle = handle

    async def ask_heads(self, community: str, device: str) -> bytes:
        await asyncio.sleep(0)
        if self.down or self.ledger_down or self.goes_wrong(0.2):
            raise BusUnavailable("no heads")
        return signed(self.ledger.tell(device), self.service_key)

    async def publish_envelope(self, community: str, device: str, data: bytes) -> None:
        if self.down or self.goes_wrong(0.1):
            raise BusUnavailable("failed")
        self.published.append(data)
        if self.swallow:
            self.swallow -= 1
            return
        self._queue.put_nowait(data)
        if self.goes_wrong(0.1):
            self._queue.put_nowait(data)
        if self.goes_wrong(0.1):
            raise BusUnavailable("failed but done")

    async def deliver(self) -> None:
        """Be JetStream and the writer, until cancelled."""
        while True:
            envelope = await self._queue.get()
            if self.goes_wrong(0.1) and not self._queue.empty():
                self._queue.put_nowait(envelope)  # a redelivery comes out of order
                envelope = self._queue.get_nowait()
            while self.ledger_down:
                await asyncio.sleep(0.001)
            for answer in self.ledger.take(envelope):
                await self.answer(answer)
            await asyncio.sleep(0)

    async def answer(self, answer: Answer) -> None:
        if self.mute or self.goes_wrong(0.2):
            self.mute -= bool(self.mute)
            return
        for _ in range(1 + self.goes_wrong(0.1)):
            await self.hand(signed(answer, self.service_key))
        if self.goes_wrong(0.1):
            forged = Answer(RECORDED, COMMUNITY, GATEWAY, answer.envelope, answer.heads, answer.recorded_at)
            await self.hand(signed(forged, OTHER_KEY))

    async def hand(self, receipt: bytes) -> None:
        if self._handle is not None:
            await self._handle(receipt)


class BellDouble:
    """Hears the alarms."""

    def __init__(self) -> None:
        self.rung: list[str] = []
        self.standing: set[str] = set()

    async def raise_once(self, alarm: str, detail: str) -> None:
        if alarm not in self.standing:
            self.standing.add(alarm)
            self.rung.append(alarm)

    async def announce(self, alarm: str, detail: str) -> None:
        self.rung.append(alarm)

    async def settle(self, alarm: str) -> None:
        self.standing.discard(alarm)


def by_stream(bodies: list[Outgoing]) -> list[Outgoing]:
    """The same bodies, one stream after the other."""
    return sorted(bodies, key=lambda one: one.stream)


class Station:
    """An outbox with its sender, and the ledger that they send to."""

    def __init__(self, folder: Path, rng: Random | None = None, quick: SenderSettings = QUICK) -> None:
        self.path = folder / "gw-1.db"
        self.clock = VirtualClock(START + timedelta(days=60))
        self.ledger = LedgerDouble(self.clock.now)
        self.bus = BusDouble(self.ledger, rng)
        self.bell = BellDouble()
        self.key = GATEWAY_KEY
        self.settings = quick
        self.kept: list[Outgoing] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.open()

    def open(self) -> None:
        self.outbox = Outbox.open(self.path, reserve_bytes=0)
        identity = Identity(COMMUNITY, GATEWAY, self.key, SERVICE_KEY.public)
        self.sender = Sender(self.outbox, self.bus, identity, self.clock, self.bell, self.settings)

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self.sender.run()),
            *([] if self._tasks else [asyncio.create_task(self.bus.deliver())]),
            *self._tasks[1:],
        ]

    async def crash(self) -> None:
        """The gateway is gone, the ledger is not; then the gateway comes again."""
        self._tasks[0].cancel()
        await asyncio.wait(self._tasks[:1])
        self.outbox.close()
        self.open()
        self.start()

    def keep(self, bodies: list[Outgoing]) -> None:
        self.kept += bodies
        self.outbox.append(bodies, START)
        self.sender.wake()

    async def until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                if self._tasks and self._tasks[0].done():
                    self._tasks[0].result()
                await asyncio.sleep(0.002)

    async def drain(self) -> None:
        await self.until(lambda: not self.sender._flights and not self.outbox.standing().waiting)

    @property
    def is_complete(self) -> bool:
        """Whether all that was kept is recorded once, and in its streams' order."""
        return by_stream(self.recorded) == by_stream(self.kept)

    @property
    def recorded(self) -> list[Outgoing]:
        return self.ledger.bodies

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.outbox.close()


@contextlib.asynccontextmanager
async def stationed(folder: Path, rng: Random | None = None, **changes: float) -> AsyncIterator[Station]:
    quick = SenderSettings(**{**{f: getattr(QUICK, f) for f in QUICK.__struct_fields__}, **changes})
    station = Station(folder, rng, quick)
    try:
        yield station
    finally:
        await station.close()


def future_body(days: int) -> bytes:
    return encode(
        MeterRead(
            import_wh=1,
            export_wh=0,
            measured_at=START + timedelta(days=60 + days),
            quality="measured",
            salt=new_salt(),
        )
    )
