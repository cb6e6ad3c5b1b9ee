"""The recorder: puts what was seen into the outbox, and holds on to it while the disk does not take it."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import structlog

from ingest.alarms import Alarms
from ingest.observation import Observation
from ingest.outbox import Outbox, Outgoing
from ingest.outbox_file import OutboxFull, OutboxUnavailable
from ingest.validation import ALARMS_MEMORY, Validation
from ledger.clock import Clock

log = structlog.get_logger(__name__)

UNSAVED_MAX = 20_000
"""Bodies that wait in memory while the disk is full: a week of thirty meters, some megabytes."""


class Recorder:
    """One gateway's way into its outbox. `wake` is called when there is something new to send."""

    def __init__(
        self,
        outbox: Outbox,
        validation: Validation,
        alarms: Alarms,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        self.lost = 0
        self._outbox = outbox
        self._validation = validation
        self._alarms = alarms
        self._clock = clock
        self._wake = wake
        self._unsaved: deque[Outgoing] = deque(maxlen=UNSAVED_MAX)
        self._memory: dict[str, bytes] = {}
        self._lock = asyncio.Lock()

    @property
    def unsaved(self) -> int:
        """How many bodies are in memory only."""
        return len(self._unsaved)

    async def observe(self, seen: Sequence[Observation]) -> None:
        """Keep what was seen, with one sync. Raises `OutboxDamaged`."""
        outgoing, memory = self._validation.take(seen)
        await self._keep(outgoing, memory)

    async def raise_once(self, alarm: str, detail: str) -> None:
        """Raise an alarm that is about no meter, unless it stands already."""
        await self._keep_alarm(self._alarms.raise_once(alarm, self._clock.now(), detail))

    async def announce(self, alarm: str, detail: str) -> None:
        """Tell of something that happened."""
        await self._keep_alarm(self._alarms.announce(alarm, self._clock.now(), detail))

    async def settle(self, alarm: str) -> None:
        """The matter of an alarm is right again."""
        if self._alarms.settle(alarm):
            await self._keep_alarm([])

    async def flush(self) -> None:
        """Try once more to keep what is in memory only."""
        if self._unsaved:
            await self._keep([], {})

    async def _keep_alarm(self, outgoing: list[Outgoing]) -> None:
        await self._keep(outgoing, {ALARMS_MEMORY: self._alarms.remembered()})

    async def _keep(self, outgoing: Sequence[Outgoing], memory: Mapping[str, bytes]) -> None:
        async with self._lock:
            self._hold(outgoing)
            self._memory.update(memory)
            now = self._clock.now()
            try:
                await asyncio.to_thread(self._outbox.append, list(self._unsaved), now, self._memory)
            except OutboxUnavailable as error:
                log.error("readings wait in memory", code=error.code, detail=error.what, hint=error.hint)
                self._hold(self._alarms.raise_once(error.code, now, error.what))
                self._memory[ALARMS_MEMORY] = self._alarms.remembered()
                return
            self._unsaved.clear()
            self._memory.clear()
            for alarm in (OutboxFull.code, OutboxUnavailable.code):
                if self._alarms.settle(alarm):
                    self._memory[ALARMS_MEMORY] = self._alarms.remembered()
        self._wake()

    def _hold(self, outgoing: Sequence[Outgoing]) -> None:
        """Add to what waits in memory; the oldest is dropped for it in the end."""
        self.lost += max(0, len(self._unsaved) + len(outgoing) - UNSAVED_MAX)
        self._unsaved.extend(outgoing)
