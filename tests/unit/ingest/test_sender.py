"""The sender before a ledger that loses, repeats and delays, over a bus that fails."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.outbox import Outgoing
from ingest.sender import drift
from ledger.canonical import encode
from ledger.clock import VirtualClock
from ledger.entry import EMPTY
from ledger.envelope import NewRun, read_envelope
from ledger.events import KeyRevoked
from ledger.receipt import RECORDED, Answer
from tests.unit.ingest.site import (
    COMMUNITY,
    GATEWAY,
    GATEWAY_KEY,
    METERS,
    OTHER_KEY,
    SERVICE_KEY,
    STREAMS,
    enrolled,
    read_body,
    sealer,
    signed,
    tick,
)
from tests.unit.ingest.station import future_body, stationed

BAD_BODIES = [encode({"type": "unheard-of/1", "number": number}) for number in range(20)]


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


async def test_an_answer_with_another_signature_is_not_the_ledgers(tmp_path: Path) -> None:
    async with stationed(tmp_path) as station:
        station.bus.service_key = OTHER_KEY
        station.keep(tick(0))
        station.start()
        await asyncio.sleep(0.1)
        assert station.bus.published == []
        station.bus.service_key = SERVICE_KEY
        await station.drain()


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
