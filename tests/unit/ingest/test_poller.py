"""The poller against simulated meters on real sockets; time is virtual unless a test is about waiting."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.meter_model import load_models
from ingest.modbus import Line, LineSettings, MeterOnLine, ReadRequest, Reply
from ingest.observation import Observation
from ingest.poller import PolledLine, PolledMeter, Poller, next_slot
from ingest.simulator import (
    ExceptionAnswer,
    GlitchZero,
    LateAnswer,
    NoAnswer,
    Registers,
    SimulatedLine,
    SimulatedMeter,
)
from ledger.clock import VirtualClock, monotonic_seconds

START = datetime(2026, 6, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
MODEL = load_models()["sdm630"]


class Rising:
    """A meter that imports 4 kW."""

    def registers_at(self, instant: datetime) -> Registers:
        return Registers(int((instant - START).total_seconds()) * 4_000 // 3_600 + 5_000, 0, 4_000)


class Watched:
    """A poller over lines of simulated meters, and what it saw, one list a call of its sink."""

    def __init__(self, clock: VirtualClock, lines: Sequence[SimulatedLine], **timing: int) -> None:
        self.batches: list[Sequence[Observation]] = []
        self.suspicious: set[str] = set()
        self.stop_after = 0
        self.lines = [
            PolledLine(
                Line(
                    LineSettings(
                        host=line.host,
                        port=line.port,
                        pause_ms=0,
                        attempts=1,
                        timeout_ms=timing.get("timeout_ms", 2_000),
                    ),
                    clock,
                ),
                [PolledMeter(f"m-{port}-{unit}", MeterOnLine(unit, MODEL)) for unit in line.meters],
            )
            for port, line in enumerate(lines, 1)
        ]
        self.poller = Poller(
            self.lines, clock, 15, self._sink, lambda seen: seen.meter in self.suspicious,
            batch_seconds=timing.get("batch_ms", 5_000) / 1_000,
        )  # fmt: skip

    async def _sink(self, seen: Sequence[Observation]) -> None:
        self.batches.append(seen)
        if len(self.batches) == self.stop_after:
            self.poller.stop()

    @property
    def seen(self) -> list[Observation]:
        return [one for batch in self.batches for one in batch]

    def readings(self, meter: str) -> list[datetime]:
        return [one.at for one in self.seen if one.meter == meter and one.reading is not None]


@asynccontextmanager
async def watched(
    clock: VirtualClock, *units: Sequence[int], **timing: int
) -> AsyncIterator[tuple[Watched, list[SimulatedLine]]]:
    lines = [
        SimulatedLine([SimulatedMeter(unit, MODEL, Rising(), clock, serial=f"10{unit}") for unit in on_line])
        for on_line in units
    ]
    for line in lines:
        await line.start()
    watch = Watched(clock, lines, **timing)
    try:
        yield watch, lines
    finally:
        await watch.poller.close()
        for line in lines:
            await line.close()


async def test_it_reads_at_once_and_then_on_every_quarter() -> None:
    clock = VirtualClock(START + timedelta(minutes=3, seconds=7))
    async with watched(clock, [1, 2], [1]) as (watch, _):
        watch.stop_after = 4
        await watch.poller.run()
    wanted = [START + timedelta(minutes=3, seconds=7), *(START + n * QUARTER for n in (1, 2, 3))]
    for meter in ("m-1-1", "m-1-2", "m-2-1"):
        assert watch.readings(meter) == wanted
    assert [len(batch) for batch in watch.batches] == [3, 3, 3, 3]
    assert (watch.poller.counters.slots, watch.poller.counters.readings) == (4, 12)


async def test_a_slot_can_be_polled_on_its_own() -> None:
    clock = VirtualClock(START)
    async with watched(clock, [1]) as (watch, _):
        for slot in range(3):
            await clock.sleep_until(START + slot * QUARTER)
            await watch.poller.poll_once(START + slot * QUARTER)
    assert watch.readings("m-1-1") == [START, START + QUARTER, START + 2 * QUARTER]
    assert [one.reading.import_wh for one in watch.seen if one.reading] == [5_000, 6_000, 7_000]


async def test_a_dead_line_holds_up_no_other() -> None:
    async with watched(VirtualClock(START), [1], [1, 2], timeout_ms=1_500, batch_ms=200) as (watch, lines):
        for meter in lines[1].meters.values():
            meter.fault(NoAnswer())
        began = monotonic_seconds()
        task = asyncio.create_task(watch.poller.poll_once(START))
        while not watch.batches:
            await asyncio.sleep(0.01)
        assert monotonic_seconds() - began < 1.4
        assert [one.meter for one in watch.seen] == ["m-1-1"]
        await task
    assert [one.error.code for one in watch.seen if one.error] == ["modbus-timeout"] * 2
    assert watch.poller.counters.failures == 2


async def test_what_may_succeed_is_asked_once_more_after_the_others() -> None:
    async with watched(VirtualClock(START), [1, 2], timeout_ms=400) as (watch, lines):
        lines[0].meters[1].fault(NoAnswer(), times=1)
        lines[0].meters[2].fault(NoAnswer(), times=2)
        await watch.poller.poll_once(START)
    assert watch.readings("m-1-1") == [START]
    assert watch.readings("m-1-2") == []


async def test_a_meter_that_refuses_for_good_is_not_asked_again() -> None:
    async with watched(VirtualClock(START), [1]) as (watch, lines):
        lines[0].meters[1].fault(ExceptionAnswer(2), times=1)
        await watch.poller.poll_once(START)
        assert [one.error.code for one in watch.seen if one.error] == ["modbus-exception"]


async def test_a_line_that_is_too_slow_is_left_when_the_slot_is_over() -> None:
    clock = VirtualClock(START + QUARTER - timedelta(seconds=0.4))
    async with watched(clock, [1, 2, 3], timeout_ms=5_000) as (watch, lines):
        lines[0].meters[2].fault(NoAnswer())
        began = monotonic_seconds()
        await watch.poller.poll_once(START)
        assert monotonic_seconds() - began < 2
    errors = {one.meter: one.error.code if one.error else "" for one in watch.seen}
    assert errors == {"m-1-1": "", "m-1-2": "slot-over", "m-1-3": "slot-over"}


async def test_serial_numbers_are_read_at_the_start_after_a_reconnection_and_when_in_doubt() -> None:
    clock = VirtualClock(START)
    async with watched(clock, [1, 2]) as (watch, lines):

        async def serials() -> dict[str, str | None]:
            clock.advance(QUARTER)
            await watch.poller.poll_once(clock.now())
            return {one.meter[-1]: one.serial for one in watch.batches[-1]}

        assert await serials() == {"1": "101", "2": "102"}
        assert await serials() == {"1": None, "2": None}
        watch.suspicious = {"m-1-2"}
        assert await serials() == {"1": None, "2": "102"}
        watch.suspicious = set()
        await watch.lines[0].line.close()
        assert await serials() == {"1": "101", "2": "102"}
        lines[0].meters[1].replace("777")
        await watch.lines[0].line.close()
        assert await serials() == {"1": "777", "2": "102"}


async def test_a_reading_is_not_lost_because_its_serial_number_is() -> None:
    class NoSerial(SimulatedMeter):
        def reply(self, request: ReadRequest) -> Reply | None:
            if request.address == 0xFC00:
                return ExceptionAnswer(2).on_wire(request, super().reply(request))
            return super().reply(request)

    clock = VirtualClock(START)
    line = SimulatedLine([NoSerial(1, MODEL, Rising(), clock)])
    await line.start()
    watch = Watched(clock, [line])
    for _ in range(2):
        clock.advance(QUARTER)
        await watch.poller.poll_once(clock.now())
    await watch.poller.close()
    await line.close()
    assert len(watch.readings("m-1-1")) == 2
    assert watch.lines[0].serial_asked == {"m-1-1": 1}


class LeapingClock(VirtualClock):
    """A machine that is suspended: it wakes up later than it was asked to, once."""

    leap = timedelta(hours=1, minutes=7)

    async def sleep_until(self, instant: datetime) -> None:
        await super().sleep_until(instant + self.leap)
        self.leap = timedelta()


async def test_quarters_that_were_slept_through_are_not_made_up() -> None:
    clock = LeapingClock(START)
    async with watched(clock, [1]) as (watch, _):
        watch.stop_after = 3
        await watch.poller.run()
    woken = START + QUARTER + LeapingClock.leap
    assert watch.readings("m-1-1") == [START, woken, START + 6 * QUARTER]
    assert watch.poller.counters.slots_missed == 4


class SteppingBackClock(VirtualClock):
    """A clock that is set back by a few seconds after each sleep."""

    async def sleep_until(self, instant: datetime) -> None:
        await super().sleep_until(instant)
        if instant == START + QUARTER:
            self.advance(timedelta(seconds=-20))


async def test_a_clock_set_back_a_little_does_not_repeat_a_slot() -> None:
    async with watched(SteppingBackClock(START), [1]) as (watch, _):
        watch.stop_after = 3
        await watch.poller.run()
    assert watch.readings("m-1-1") == [
        START,
        START + QUARTER - timedelta(seconds=20),
        START + 2 * QUARTER,
    ]


async def test_no_two_readings_share_a_second() -> None:
    clock = VirtualClock(START - timedelta(milliseconds=300))
    async with watched(clock, [1]) as (watch, _):
        watch.stop_after = 3
        await watch.poller.run()
    instants = watch.readings("m-1-1")
    assert len(set(instants)) == 3
    assert all(instant.microsecond == 0 for instant in instants)


async def test_stopping_finishes_the_reading_in_progress_and_begins_no_other() -> None:
    async with watched(VirtualClock(START), [1, 2], timeout_ms=2_000) as (watch, lines):
        lines[0].meters[1].fault(LateAnswer(200))
        task = asyncio.create_task(watch.poller.run())
        await asyncio.sleep(0.1)
        watch.poller.stop()
        await task
        assert [(one.meter, one.reading is not None) for one in watch.seen] == [("m-1-1", True)]


async def test_a_glitch_is_passed_on_as_it_was_read() -> None:
    async with watched(VirtualClock(START), [1]) as (watch, lines):
        lines[0].meters[1].fault(GlitchZero())
        await watch.poller.poll_once(START)
        (seen,) = watch.seen
        assert seen.reading is not None
        assert seen.reading.import_wh == 0


async def test_a_failing_sink_ends_the_poll() -> None:
    clock = VirtualClock(START)
    async with watched(clock, [1]) as (watch, _):

        async def sink(_: Sequence[Observation]) -> None:
            raise RuntimeError("the disk is damaged")

        poller = Poller(watch.lines, clock, 15, sink, lambda _: False)
        with pytest.raises(RuntimeError, match="damaged"):
            await poller.run()


INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
INTERVALS = st.sampled_from([5, 10, 15, 30, 60]).map(lambda minutes: timedelta(minutes=minutes))


@given(INSTANTS, INTERVALS)
def test_the_next_slot_is_the_first_boundary_after_now(now: datetime, interval: timedelta) -> None:
    slot = next_slot(now, interval, None)
    assert now < slot <= now + interval
    assert slot.timestamp() % interval.total_seconds() == 0
    assert next_slot(now, interval, slot) == slot + interval
    assert next_slot(now, interval, slot + 9 * interval) == slot
