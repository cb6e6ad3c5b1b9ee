"""The poller: asks every meter on the quarter, and tells what it saw.

Lines are polled side by side, the meters of a line in turn, so a dead line holds up nothing but itself, and
only until the slot is over. What failed and may succeed is asked once more when the others have been asked.
What was missed, because the program slept or the clock was set forward, is not made up: the next reading
carries the instant at which it was read.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog

from ingest.meter_reading import RegisterUnusable
from ingest.modbus import Line, MeterOnLine
from ingest.observation import Observation
from ledger.clock import Clock
from ledger.errors import LedgerError, Unavailable

log = structlog.get_logger(__name__)

BATCH_SECONDS = 10.0
"""Lines that are done within this time have their readings kept together, with one sync."""

READING_APART = timedelta(seconds=1)
"""Instants have whole seconds, and two readings of a meter must not share one."""

STOP_SECONDS = 2.0
"""How long a reading in progress is waited for when the poller is to stop."""

Sink = Callable[[Sequence[Observation]], Awaitable[None]]
IsSuspicious = Callable[[Observation], bool]


class SlotOver(Unavailable):
    """The line was too slow: the slot ended before the meter could be read."""

    code = "slot-over"


class PolledMeter(NamedTuple):
    """A meter and how it is asked."""

    id: str
    on_line: MeterOnLine


@dataclass(slots=True)
class PolledLine:
    """A line and its meters; remembers at which connection each serial number was last asked for."""

    line: Line
    meters: Sequence[PolledMeter]
    serial_asked: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Where it is, for people."""
        return f"{self.line.settings.host}:{self.line.settings.port}"


@dataclass(slots=True)
class PollCounters:
    """What happened since the poller was made."""

    slots: int = 0
    slots_missed: int = 0
    readings: int = 0
    failures: int = 0


def next_slot(now: datetime, interval: timedelta, last: datetime | None, offset_seconds: int = 0) -> datetime:
    """The first boundary after `now` that is not `last`: a clock set back a little does not repeat a slot.

    Boundaries are whole multiples of `interval` since 1970 in UTC, `offset_seconds` later.
    """
    step = int(interval.total_seconds())
    begun = (int(now.timestamp()) - offset_seconds) // step
    slot = datetime.fromtimestamp((begun + 1) * step + offset_seconds, UTC)
    return slot + interval if slot == last else slot


class Poller:
    """Polls some lines. `sink` takes what was seen; `is_suspicious` says when a serial number is wanted."""

    def __init__(
        self,
        lines: Sequence[PolledLine],
        clock: Clock,
        interval_minutes: int,
        sink: Sink,
        is_suspicious: IsSuspicious,
        batch_seconds: float = BATCH_SECONDS,
        offset_seconds: int = 0,
    ) -> None:
        self.counters = PollCounters()
        self._lines = lines
        self._clock = clock
        self._interval = timedelta(minutes=interval_minutes)
        self._offset_seconds = offset_seconds
        self._sink = sink
        self._is_suspicious = is_suspicious
        self._batch_seconds = batch_seconds
        self._stop = asyncio.Event()
        self._limits: set[asyncio.Timeout] = set()

    def stop(self) -> None:
        """Finish the reading in progress on each line, if it takes no more than a moment, and no more."""
        self._stop.set()
        soon = asyncio.get_running_loop().time() + STOP_SECONDS
        for limit in self._limits:
            limit.reschedule(min(limit.when() or soon, soon))

    async def run(self) -> None:
        """Poll at once, then on every boundary, until stopped."""
        last: datetime | None = None
        await self.poll_once(self._clock.now())
        while not self._stop.is_set():
            slot = next_slot(self._clock.now(), self._interval, last, self._offset_seconds)
            if not await self._reach(max(slot, self._clock.now() + READING_APART)):
                break
            missed = (self._clock.now() - slot) // self._interval
            if missed > 0:
                self.counters.slots_missed += missed
                log.warning("slots missed", slots=missed, first=slot.isoformat())
                slot += missed * self._interval
            await self.poll_once(slot)
            last = slot

    async def poll_once(self, instant: datetime) -> None:
        """Read every meter once, for the slot that begins at `instant`; what was seen is with the sink then.

        Takes as long as the meters do, at most until the slot is over.
        """
        self.counters.slots += 1
        # Half a slot at least, also when the program was started just before a boundary.
        over = next_slot(instant + self._interval / 2, self._interval, None, self._offset_seconds)
        seconds = (over - self._clock.now()).total_seconds()
        tasks = {asyncio.create_task(self._poll_line(line, seconds)) for line in self._lines}
        patience: float | None = self._batch_seconds
        try:
            while tasks:
                done, tasks = await asyncio.wait(
                    tasks,
                    timeout=patience,
                    return_when=asyncio.ALL_COMPLETED if patience else asyncio.FIRST_COMPLETED,
                )
                patience = None
                await self._take([seen for task in done for seen in task.result()])
        finally:
            for task in tasks:
                task.cancel()

    async def close(self) -> None:
        """Hang up on every line."""
        for line in self._lines:
            await line.line.close()

    async def _take(self, seen: Sequence[Observation]) -> None:
        failed = sum(observation.reading is None for observation in seen)
        self.counters.readings += len(seen) - failed
        self.counters.failures += failed
        if seen:
            await self._sink(seen)

    async def _poll_line(self, line: PolledLine, seconds: float) -> list[Observation]:
        """The line's meters in the order of the settings, as far as they were reached."""
        seen: dict[str, Observation] = {}
        try:
            async with asyncio.timeout(seconds) as limit:
                self._limits.add(limit)
                await self._ask_all(line, line.meters, seen)
                again = [meter for meter in line.meters if _may_succeed(seen.get(meter.id))]
                await self._ask_all(line, again, seen)
        except TimeoutError:
            if self._stop.is_set():
                return list(seen.values())
            log.warning("slot over before the line was read", line=line.name, read=len(seen))
            error = SlotOver("the slot ended before the meter could be read", where=line.name)
            for meter in line.meters:
                seen.setdefault(meter.id, Observation(meter.id, self._now(), error=error))
        finally:
            self._limits.discard(limit)
        return list(seen.values())

    async def _ask_all(
        self, line: PolledLine, meters: Sequence[PolledMeter], seen: dict[str, Observation]
    ) -> None:
        for meter in meters:
            if self._stop.is_set():
                return
            seen[meter.id] = await self._ask(line, meter)

    async def _ask(self, line: PolledLine, meter: PolledMeter) -> Observation:
        try:
            reading = await line.line.read(meter.on_line)
        except LedgerError as error:
            log.info("meter not read", meter=meter.id, code=error.code, detail=error.what, where=error.where)
            return Observation(meter.id, self._now(), error=error)
        at = (reading.read_at or self._now()).replace(microsecond=0)
        seen = Observation(meter.id, at, reading)
        connection = line.line.counters.connects
        if line.serial_asked.get(meter.id) == connection and not self._is_suspicious(seen):
            return seen
        return Observation(meter.id, at, reading, await self._ask_serial(line, meter))

    async def _ask_serial(self, line: PolledLine, meter: PolledMeter) -> str | None:
        """The serial number, if the meter tells it: without one the reading is as good."""
        try:
            serial = await line.line.read_serial(meter.on_line)
        except Unavailable as error:
            log.info("serial number not read", meter=meter.id, code=error.code)
            return None
        except LedgerError as error:
            # Refused for good: asked again on the next connection only.
            log.info("serial number refused", meter=meter.id, code=error.code)
            serial = None
        line.serial_asked[meter.id] = line.line.counters.connects
        return serial

    async def _reach(self, instant: datetime) -> bool:
        """Wait for `instant`; False when stopped before."""
        sleep = asyncio.create_task(self._clock.sleep_until(instant))
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({sleep, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sleep, stop):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        return not self._stop.is_set()

    def _now(self) -> datetime:
        return self._clock.now().replace(microsecond=0)


def _may_succeed(seen: Observation | None) -> bool:
    """Whether a meter that could not be read is worth asking once more."""
    return seen is not None and isinstance(seen.error, Unavailable | RegisterUnusable)
