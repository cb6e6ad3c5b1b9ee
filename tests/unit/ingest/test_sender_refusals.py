"""The sender before a ledger that refuses: for good, for now, or because somebody else has written."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from ingest.outbox import Outgoing
from ledger.entry import EMPTY
from ledger.envelope import NewRun
from ledger.events import KeyRevoked, MeterAssigned
from ledger.receipt import Answer
from ledger.registry import Registry
from tests.unit.ingest.site import (
    COMMUNITY,
    GATEWAY,
    GATEWAY_KEY,
    OTHER_KEY,
    QUARTER,
    START,
    STREAMS,
    LedgerDouble,
    enrolled,
    opening,
    read_body,
    sealer,
    tick,
)
from tests.unit.ingest.station import by_stream, future_body, stationed

BAD = b'{"type":"unheard-of/1"}'


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
