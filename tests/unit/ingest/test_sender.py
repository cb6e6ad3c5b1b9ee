"""The sender against a ledger that loses, repeats, delays and refuses, over a bus that fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.courier import Identity, SenderSettings, backoff
from ingest.outbox import Outbox, Outgoing
from ingest.sender import Sender, drift
from ledger.bus import BusUnavailable
from ledger.canonical import encode
from ledger.clock import VirtualClock
from ledger.entry import EMPTY
from ledger.envelope import NewRun, read_envelope
from ledger.events import KeyRevoked, MeterAssigned, MeterRead, new_salt
from ledger.receipt import RECORDED, Answer
from ledger.registry import Registry
from tests.unit.ingest.site import (
    COMMUNITY,
    GATEWAY,
    GATEWAY_KEY,
    METERS,
    OTHER_KEY,
    QUARTER,
    SERVICE_KEY,
    START,
    STREAMS,
    LedgerDouble,
    enrolled,
    opening,
    read_body,
    sealer,
    signed,
    tick,
)

QUICK = SenderSettings(receipt_seconds=0.02, retry_seconds=0.005, hold_seconds=0.02, wait_seconds_max=0.04)
BAD = b'{"type":"unheard-of/1"}'
BAD_BODIES = [encode({"type": "unheard-of/1", "number": number}) for number in range(20)]


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


async def test_what_is_kept_is_recorded_in_order_and_let_go(tmp_path: Path) -> None:
    async with stationed(tmp_path) as station:
        for quarter in range(40):
            station.keep(tick(quarter))
        station.start()
        await station.drain()
        for quarter in range(40, 45):
            station.keep(tick(quarter))
            await station.drain()
        assert station.is_complete
        assert station.sender.counters.recorded == len(station.kept)
        assert station.sender.counters.last_receipt_at == station.clock.now()


async def test_a_lost_receipt_has_the_same_bytes_sent_again(tmp_path: Path) -> None:
    async with stationed(tmp_path) as station:
        station.bus.mute = 2
        station.keep(tick(0))
        station.start()
        await station.until(lambda: bool(station.bus.published))
        station.keep(tick(1))
        await station.drain()
        assert station.bus.published.count(station.bus.published[0]) >= 2
        assert station.is_complete
        assert station.sender.counters.resent >= 1


async def test_nothing_is_sent_again_to_a_ledger_that_does_not_answer(tmp_path: Path) -> None:
    async with stationed(tmp_path) as station:
        station.start()
        await station.until(lambda: station.sender._told)
        station.bus.ledger_down = True
        station.keep(tick(0))
        await asyncio.sleep(0.2)
        assert len(station.bus.published) == 1
        station.bus.ledger_down = False
        await station.drain()
        assert station.is_complete


async def test_envelopes_in_flight_are_chained_and_never_more_than_allowed(tmp_path: Path) -> None:
    async with stationed(tmp_path, in_flight=3, receipt_seconds=5.0, wait_seconds_max=5.0) as station:
        station.start()
        await station.until(lambda: station.sender._told)
        station.bus.ledger_down = True
        for quarter in range(6):
            station.keep(tick(quarter))
            await station.until(lambda: len(station.bus.published) >= min(quarter + 1, 3))  # noqa: B023 - at once
        await asyncio.sleep(0.05)
        assert [read_envelope(data).runs[0].first for data in station.bus.published] == [1, 2, 3]
        station.bus.ledger_down = False
        await station.drain()
        assert station.is_complete
        assert len(station.bus.published) == 4


async def test_a_bus_that_is_away_ends_nothing(tmp_path: Path) -> None:
    async with stationed(tmp_path) as station:
        station.bus.down = True
        station.start()
        station.keep(tick(0))
        await asyncio.sleep(0.05)
        station.bus.down = False
        await station.drain()
        station.bus.down = True
        station.keep(tick(1))
        await asyncio.sleep(0.05)
        station.bus.down = False
        await station.drain()
        assert station.is_complete


async def test_receipts_that_are_forged_late_or_for_others_change_nothing(tmp_path: Path) -> None:
    async with stationed(tmp_path, receipt_seconds=5.0, wait_seconds_max=5.0) as station:
        station.start()
        await station.until(lambda: station.sender._told)
        station.bus.ledger_down = True
        station.keep(tick(0))
        await station.until(lambda: bool(station.outbox.cuts()))
        (made,) = station.outbox.cuts()
        true = Answer(RECORDED, COMMUNITY, GATEWAY, made.digest, [], station.clock.now())
        other = Answer(RECORDED, COMMUNITY, GATEWAY, "ab" * 32, [], station.clock.now())
        for receipt in (signed(true, OTHER_KEY), signed(other), b"{}", signed(true)[:-2], b"\xff"):
            await station.bus.hand(receipt)
        await asyncio.sleep(0.05)
        assert station.outbox.standing().waiting == 3
        assert station.sender.counters.ignored == 5
        await station.bus.hand(signed(true))
        await station.drain()


async def test_a_body_that_is_refused_for_good_is_kept_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with stationed(tmp_path) as station:
        bad = [Outgoing(STREAMS[0], BAD), Outgoing(STREAMS[1], future_body(1)), Outgoing(STREAMS[2], BAD)]
        good = [*tick(0), *tick(1), *tick(2)]
        station.keep([*good[:3], bad[0], *good[3:6], bad[1], bad[2], *good[6:]])
        station.start()
        await station.drain()
        assert sorted(station.recorded) == sorted(good)
        assert [(one.stream, one.body, one.code) for one in station.outbox.refusals()] == [
            (*bad[0], "malformed"),
            (*bad[1], "clock-skew"),
            (*bad[2], "malformed"),
        ]


async def test_only_the_readings_of_a_time_that_is_not_ours_are_refused(tmp_path: Path) -> None:
    """The ledger names the first event of a run whose rights are wrong, not the one that is meant."""
    async with stationed(tmp_path) as station:
        station.ledger.registry.apply(enrolled("gw-2", OTHER_KEY))
        ours_until = START + 70 * QUARTER
        station.ledger.registry.apply(MeterAssigned(meter="m-1", device="gw-2", since=ours_until))
        for quarter in range(75):
            station.keep(tick(quarter))
        station.start()
        await station.drain()
        mine = [one for one in station.kept if one.stream == STREAMS[0]]
        assert [one for one in station.recorded if one.stream == STREAMS[0]] == mine[:70]
        assert [one.body for one in station.outbox.refusals()] == [one.body for one in mine[70:]]
        assert len(station.recorded) == 70 + 75 + 75


async def test_readings_of_a_meter_that_is_not_assigned_yet_wait_for_it(tmp_path: Path) -> None:
    async with stationed(tmp_path) as station:
        registry = Registry(COMMUNITY)
        registry.apply(opening())
        registry.apply(enrolled(GATEWAY, GATEWAY_KEY))
        full, station.ledger.registry = station.ledger.registry, registry
        station.keep(tick(0))
        station.start()
        await station.until(lambda: bool(station.sender._untold))
        station.ledger.registry = full
        await station.drain()
        assert station.is_complete


@pytest.mark.parametrize("revoked", [False, True])
async def test_a_gateway_that_is_refused_keeps_everything_until_it_is_enrolled(
    tmp_path: Path, revoked: bool
) -> None:
    async with stationed(tmp_path) as station:
        station.start()
        await station.until(lambda: station.sender._told)
        known = station.ledger.registry.copy()
        if revoked:
            station.ledger.registry.apply(
                KeyRevoked(device=GATEWAY, key=GATEWAY_KEY.public.id, reason="lost")
            )
        else:
            station.ledger.registry = Registry(COMMUNITY)
            station.ledger.registry.apply(opening())
        station.keep(tick(0))
        await station.until(lambda: bool(station.ledger.answers))
        await asyncio.sleep(0.1)
        assert station.ledger.answers[0].code == ("key-revoked" if revoked else "unknown-device")
        assert station.outbox.standing().waiting == 3
        station.ledger.registry = known
        await station.drain()
        assert station.is_complete


async def test_a_gateway_that_was_never_enrolled_sends_nothing(tmp_path: Path) -> None:
    async with stationed(tmp_path) as station:
        known, station.ledger.registry = station.ledger.registry, Registry(COMMUNITY)
        station.ledger.registry.apply(opening())
        station.keep(tick(0))
        station.start()
        await asyncio.sleep(0.1)
        assert station.bus.published == []
        station.ledger.registry = known
        await station.drain()
        assert station.is_complete


async def test_an_answer_with_another_signature_is_not_the_ledgers(tmp_path: Path) -> None:
    async with stationed(tmp_path) as station:
        station.bus.service_key = OTHER_KEY
        station.keep(tick(0))
        station.start()
        await asyncio.sleep(0.1)
        assert station.bus.published == []
        station.bus.service_key = SERVICE_KEY
        await station.drain()


async def test_a_takeover_continues_the_chain_that_the_ledger_tells(tmp_path: Path) -> None:
    async with stationed(tmp_path) as station:
        others = [read_body(quarter) for quarter in range(5)]
        station.ledger.take(sealer()([NewRun(STREAMS[0], EMPTY, others)])[0])
        station.keep(tick(5))
        station.start()
        await station.drain()
        assert by_stream(station.recorded[5:]) == by_stream(station.kept)
        assert station.sender.counters.forks == 0
        assert station.bell.rung == []


async def test_a_fork_raises_an_alarm_and_what_was_not_recorded_is_chained_anew(tmp_path: Path) -> None:
    async with stationed(tmp_path) as station:
        station.start()
        await station.until(lambda: station.sender._told)
        theirs = read_body(0)
        station.ledger.take(sealer()([NewRun(STREAMS[0], EMPTY, [theirs])])[0])
        station.keep(tick(1))
        await station.drain()
        assert by_stream(station.recorded) == by_stream([Outgoing(STREAMS[0], theirs), *station.kept])
        assert station.sender.counters.forks == 1
        assert station.bell.rung == ["fork"]


async def test_an_envelope_that_the_bus_lost_is_sent_again_before_what_was_chained_to_it(
    tmp_path: Path,
) -> None:
    async with stationed(tmp_path, receipt_seconds=5.0, wait_seconds_max=5.0) as station:
        station.start()
        await station.until(lambda: station.sender._told)
        station.bus.swallow = 1
        station.keep(tick(0))
        await station.until(lambda: len(station.bus.published) == 1)
        station.keep(tick(1))
        await station.drain()
        assert station.is_complete
        first, _, *again = station.bus.published
        assert again == [first]
        assert [answer.code for answer in station.ledger.answers] == ["sequence-gap", "recorded", "recorded"]


async def test_a_refusal_that_turns_out_otherwise_for_a_second_copy_records_nothing_twice(
    tmp_path: Path,
) -> None:
    class Wavering(LedgerDouble):
        def take(self, envelope: bytes) -> list[Answer]:
            (answer,) = super().take(envelope)
            if answer.code == "clock-skew":
                station.clock.advance(timedelta(days=2))
                super().take(envelope)
            return [answer]

    async with stationed(tmp_path) as station:
        station.ledger = station.bus.ledger = Wavering(station.clock.now)
        station.keep([*tick(0), Outgoing(STREAMS[0], future_body(1)), *tick(1)])
        station.start()
        await station.drain()
        assert station.is_complete
        assert station.bell.rung == []


async def test_a_key_changed_before_a_lost_receipt_came_records_nothing_twice(tmp_path: Path) -> None:
    async with stationed(tmp_path, receipt_seconds=5.0, wait_seconds_max=5.0) as station:
        station.start()
        station.bus.mute = 10**6
        station.keep(tick(0))
        await station.until(lambda: len(station.recorded) == 3)
        station.ledger.registry.apply(KeyRevoked(device=GATEWAY, key=GATEWAY_KEY.public.id, reason="old"))
        station.ledger.registry.apply(enrolled(GATEWAY, OTHER_KEY))
        station.key = OTHER_KEY
        station.bus.mute = 0
        await station.crash()
        station.keep(tick(1))
        await station.drain()
        assert station.is_complete


async def test_a_clock_that_is_off_raises_an_alarm_once(tmp_path: Path) -> None:
    async with stationed(tmp_path) as station:
        ahead = VirtualClock(station.clock.now())
        station.ledger._now = ahead.now
        station.start()
        station.keep(tick(0))
        await station.drain()
        assert station.bell.rung == []
        ahead.advance(timedelta(seconds=90))
        for quarter in (1, 2):
            station.keep(tick(quarter))
            await station.drain()
        assert station.bell.rung == ["clock-drift"]
        ahead.advance(timedelta(seconds=-90))
        station.keep(tick(3))
        await station.drain()
        assert station.bell.standing == set()


async def test_a_crash_between_sending_and_the_receipt_sends_the_same_bytes(tmp_path: Path) -> None:
    async with stationed(tmp_path, receipt_seconds=5.0, wait_seconds_max=5.0) as station:
        station.bus.mute = 1
        station.start()
        station.keep(tick(0))
        await station.until(lambda: len(station.recorded) == 3)
        station.keep(tick(1))
        await station.crash()
        await station.drain()
        first = station.bus.published[0]
        assert station.bus.published.count(first) == 2
        assert station.is_complete


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
async def test_every_body_is_recorded_once_or_refused_whatever_goes_wrong(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    rng = Random(seed)
    async with stationed(tmp_path_factory.mktemp("chaos"), rng) as station:
        ledger, theirs, bad, early = station.ledger, [], set(), set()
        station.start()
        for quarter in range(rng.randint(3, 12)):
            bodies = tick(quarter)
            if rng.random() < 0.2:
                bodies.insert(rng.randint(0, 3), Outgoing(rng.choice(STREAMS), BAD_BODIES[len(bad)]))
                bad.update(one for one in bodies if one.body in BAD_BODIES)
            if rng.random() < 0.2:
                bodies.append(Outgoing(rng.choice(STREAMS), future_body(rng.randint(0, 3))))
                early.add(bodies[-1])
            station.keep(bodies)
            if rng.random() < 0.3:
                station.clock.advance(timedelta(hours=rng.randint(1, 40)))
            if rng.random() < 0.2:
                stream = rng.choice(STREAMS)
                theirs.append(Outgoing(stream, read_body(1_000 + quarter)))
                ledger.take(sealer()([NewRun(stream, ledger.heads.get(stream, EMPTY), [theirs[-1].body])])[0])
            await asyncio.sleep(rng.choice([0, 0.001, 0.02]))
            if rng.random() < 0.3:
                await station.crash()
        station.bus.rng = None
        await station.drain()
        refused = {(one.stream, one.body) for one in station.outbox.refusals()}
        ours = [one for one in ledger.bodies if one not in theirs]
        assert len(set(ours)) == len(ours), "a body was recorded twice"
        assert bad <= refused <= bad | early
        assert set(station.kept) - bad - early <= set(ours)
        assert set(station.kept) <= refused | set(ours)
        for stream in STREAMS:
            sent = [one for one in station.kept if one.stream == stream and one in set(ours)]
            assert [one for one in ours if one.stream == stream] == sent


@given(st.floats(0.001, 60), st.integers(0, 10_000), st.floats(0.001, 600))
def test_waits_double_up_to_a_limit_and_are_never_nothing(seconds: float, times: int, most: float) -> None:
    wait = backoff(seconds, times, most)
    assert 0 < wait <= most
    assert wait >= min(most, seconds) / 2


INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1))


@given(INSTANTS, INSTANTS, INSTANTS)
def test_clocks_agree_when_the_ledgers_instant_lies_between_sending_and_receiving(
    one: datetime, two: datetime, three: datetime
) -> None:
    sent, middle, received = sorted([one, two, three])
    assert drift(sent, middle, received) == timedelta()
    assert drift(middle, sent, received) == middle - sent
    assert drift(sent, received, middle) == received - middle


def test_the_site_has_a_stream_for_every_meter() -> None:
    assert [f"meter/{meter}" for meter in METERS] == list(STREAMS)
