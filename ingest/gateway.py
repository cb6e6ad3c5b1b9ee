"""A gateway: lines, poller, validation, recorder, outbox and sender as one thing that runs until stopped.

    lines -> poller -> recorder (validation, alarms) -> outbox -> sender -> bus

Meters are read whether or not the ledger can be reached, and the outbox is emptied whether or not a meter
answers.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import structlog
from msgspec import Struct

from ingest.alarms import Alarms
from ingest.courier import Identity, SenderSettings, backoff
from ingest.modbus import Line
from ingest.observation import Observation
from ingest.outbox import Outbox
from ingest.poller import PolledLine, PolledMeter, Poller
from ingest.recorder import Recorder
from ingest.sender import SendCounters, Sender
from ingest.settings import GatewaySettings
from ingest.validation import ALARMS_MEMORY, Validation
from ledger.bus import Bus, BusSettings, BusUnavailable, User
from ledger.clock import Clock, rfc3339
from ledger.grid import Grid
from ledger.keys import PublicKey, SigningKey

log = structlog.get_logger(__name__)

RECONNECT_SECONDS = 1.0
RECONNECT_SECONDS_MAX = 60.0
CANCEL_SECONDS = 0.5
DRAIN_LOOK_SECONDS = 0.02


class Site(Struct, frozen=True):
    """What a gateway must know of the installation that it belongs to."""

    community: str
    interval_minutes: int
    service: PublicKey
    bus: BusSettings
    key: SigningKey
    outbox: Path
    zone: str = "UTC"  # the community's: intervals begin on its local hour


class GatewayStatus(Struct, frozen=True):
    """How a gateway does: counts since its start, and what its outbox holds."""

    slots: int
    slots_missed: int
    readings: int
    failures: int
    waiting: int
    oldest_at: datetime | None
    refused: int
    unsaved: int
    lost: int
    recorded: int
    resent: int
    forks: int
    last_receipt_at: datetime | None


class Gateway:
    """Use as `async with`: it sends from then on; `run` polls until stopped, `poll_once` a single slot.

    Entering raises what `Outbox.open` raises, and `UnknownZone`; `run` raises `OutboxDamaged`.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        site: Site,
        clock: Clock,
        sender_settings: SenderSettings | None = None,
    ) -> None:
        self.id = settings.id
        self._settings = settings
        self._site = site
        self._clock = clock
        self._sender_settings = sender_settings or SenderSettings()
        self._counters = SendCounters()
        self._sender: Sender | None = None
        self._outbox: Outbox
        self._recorder: Recorder
        self._poller: Poller
        self._sending: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._outbox = await asyncio.to_thread(Outbox.open, self._site.outbox)
        try:
            memory = await asyncio.to_thread(self._outbox.recall)
            alarms = Alarms(self.id, memory.get(ALARMS_MEMORY, b"[]"))
            rated_w = {meter.id: meter.rated_w for meter in self._settings.meters}
            validation = Validation(rated_w, alarms, memory)
            self._recorder = Recorder(self._outbox, validation, alarms, self._clock, self._wake)
            grid = Grid(self._site.interval_minutes, self._site.zone)
            self._poller = Poller(
                self._lines(),
                self._clock,
                self._site.interval_minutes,
                self._keep,
                validation.is_suspicious,
                offset_seconds=grid.offset,
            )
        except BaseException:
            await asyncio.to_thread(self._outbox.close)
            raise
        self._sending = asyncio.create_task(self._send())
        log.info(
            "gateway started", gateway=self.id, meters=len(rated_w), waiting=(await self.status()).waiting
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await _end(self._sending)
        await self._poller.close()
        await asyncio.to_thread(self._outbox.close)
        log.info("gateway stopped", gateway=self.id)

    async def run(self, stop: asyncio.Event) -> None:
        """Poll until `stop` is set; then finish the readings in progress and keep them.

        Raises `OutboxDamaged` when the outbox cannot be used any more.
        """
        polling = asyncio.create_task(self._poller.run())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({polling, stopping, self._sending}, return_when=asyncio.FIRST_COMPLETED)
            self._poller.stop()
            await polling
            await self._recorder.flush()
            if self._sending.done():
                self._sending.result()
        finally:
            await _end(polling)
            await _end(stopping)

    async def poll_once(self, instant: datetime) -> None:
        """Read every meter for the slot at `instant`; the readings are in the outbox then."""
        await self._poller.poll_once(instant)

    async def drained(self) -> None:
        """Wait until a receipt covers everything that was kept, as long as it takes.

        Raises `OutboxDamaged` when that will not happen.
        """
        while (await asyncio.to_thread(self._outbox.standing)).waiting:
            if self._sending.done():
                self._sending.result()
            await asyncio.sleep(DRAIN_LOOK_SECONDS)

    async def status(self) -> GatewayStatus:
        """How the gateway does."""
        standing = await asyncio.to_thread(self._outbox.standing)
        polled, sent = self._poller.counters, self._counters
        return GatewayStatus(
            slots=polled.slots,
            slots_missed=polled.slots_missed,
            readings=polled.readings,
            failures=polled.failures,
            waiting=standing.waiting,
            oldest_at=standing.oldest_at,
            refused=standing.refused,
            unsaved=self._recorder.unsaved,
            lost=self._recorder.lost,
            recorded=sent.recorded,
            resent=sent.resent,
            forks=sent.forks,
            last_receipt_at=sent.last_receipt_at,
        )

    def _lines(self) -> list[PolledLine]:
        models = self._settings.known_models()
        return [
            PolledLine(
                Line(line, self._clock),
                [PolledMeter(meter.id, self._settings.on_line(meter, models)) for meter in line.meters],
            )
            for line in self._settings.lines
        ]

    async def _keep(self, seen: Sequence[Observation]) -> None:
        await self._recorder.observe(seen)
        status = await self.status()
        log.info(
            "readings kept",
            gateway=self.id,
            readings=sum(one.reading is not None for one in seen),
            failures=sum(one.reading is None for one in seen),
            waiting=status.waiting,
            oldest_at=rfc3339(status.oldest_at) if status.oldest_at else None,
            last_receipt_at=rfc3339(status.last_receipt_at) if status.last_receipt_at else None,
        )

    def _wake(self) -> None:
        if self._sender is not None:
            self._sender.wake()

    async def _send(self) -> None:
        """Connect and send for as long as the gateway lives; a bus that is away is waited for without end."""
        site, failures = self._site, 0
        identity = Identity(site.community, self.id, site.key, site.service)
        user = User(site.community, "device", self.id, site.key)
        while True:
            try:
                async with await Bus.connect(site.bus, f"gateway {self.id}", user) as bus:
                    self._sender = Sender(
                        self._outbox,
                        bus,
                        identity,
                        self._clock,
                        self._recorder,
                        self._sender_settings,
                        self._counters,
                    )
                    await self._sender.run()
            except BusUnavailable as error:
                pause = backoff(RECONNECT_SECONDS, failures, RECONNECT_SECONDS_MAX)
                failures += 1
                log.warning(
                    "bus away", code=error.code, detail=error.what, where=error.where, hint=error.hint
                )
                await asyncio.sleep(pause)


async def _end(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it ends.

    Before Python 3.12 `asyncio.wait_for` can swallow a cancellation that comes together with what it waits
    for, and the libraries below use it.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_SECONDS)
