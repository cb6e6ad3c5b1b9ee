"""A whole gateway: simulated meters on real sockets, a real outbox, NATS, writer and Postgres."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingest.outbox_file import OutboxDamaged, OutboxInUse
from ingest.simulator import GlitchZero, NoAnswer
from ledger.clock import VirtualClock
from ledger.embedded import EmbeddedNats
from tests.unit.ingest.installation import QUARTER, START, Installation, bus_settings, drained, poll


@pytest.fixture
async def site(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Installation]:
    installation = Installation(tmp_path, database, bus_settings(nats_server), VirtualClock(START))
    try:
        yield installation
    finally:
        await installation.close()


async def test_readings_of_all_meters_are_in_the_book_and_nothing_waits(site: Installation) -> None:
    await site.add_lines(2, 3, 1)
    await site.start_ledger()
    (settings,) = site.gateways("gw-1")
    await site.enrol(settings)
    async with site.gateway(settings) as gateway:
        await poll(gateway, site.clock, 0, 8)
        await drained(gateway)
        status = await gateway.status()
    assert (status.slots, status.readings, status.failures, status.recorded) == (8, 48, 0, 48)
    assert (status.waiting, status.refused, status.lost, status.forks) == (0, 0, 0, 0)
    assert status.last_receipt_at is not None
    readings = await site.readings()
    assert sorted(readings) == [f"m-{number}" for number in range(1, 7)]
    for events in readings.values():
        assert [event.measured_at for event in events] == [START + quarter * QUARTER for quarter in range(8)]
        assert {event.import_wh - events[0].import_wh for event in events} == set(range(0, 8_000, 1_000))
        assert [event.serial is not None for event in events] == [True] + [False] * 7
        assert {event.quality for event in events} == {"measured"}
    assert await site.alarms("gw-1") == []


async def test_it_runs_until_it_is_stopped(site: Installation) -> None:
    await site.add_lines(1)
    await site.start_ledger()
    (settings,) = site.gateways("gw-1")
    await site.enrol(settings)
    stop = asyncio.Event()
    async with site.gateway(settings) as gateway:
        running = asyncio.create_task(gateway.run(stop))
        while (await gateway.status()).slots < 20:
            await asyncio.sleep(0.01)
        stop.set()
        await running
        await drained(gateway)
        status = await gateway.status()
    (events,) = (await site.readings()).values()
    assert len(events) == status.readings >= 20
    assert len({event.measured_at for event in events}) == len(events)


async def test_what_was_read_while_the_ledger_was_away_is_recorded_when_it_is_back(
    site: Installation,
) -> None:
    await site.add_lines(2)
    await site.start_ledger()
    (settings,) = site.gateways("gw-1")
    await site.enrol(settings)
    async with site.gateway(settings) as gateway:
        await poll(gateway, site.clock, 0, 3)
        await drained(gateway)
        await site.stop_ledger()
        await poll(gateway, site.clock, 3, 400)
        assert (await gateway.status()).waiting > 0
        await site.start_ledger()
        await drained(gateway)
        assert (await gateway.status()).forks == 0
    for events in (await site.readings()).values():
        assert [event.measured_at for event in events] == [
            START + quarter * QUARTER for quarter in range(400)
        ]


async def test_a_gateway_goes_on_where_it_was_ended(site: Installation) -> None:
    await site.add_lines(2)
    await site.start_ledger()
    (settings,) = site.gateways("gw-1")
    await site.enrol(settings)
    for begin in range(0, 20, 4):
        async with site.gateway(settings) as gateway:
            await poll(gateway, site.clock, begin, begin + 4)
            if begin % 8:
                await drained(gateway)
    async with site.gateway(settings) as gateway:
        await drained(gateway)
    for events in (await site.readings()).values():
        assert [event.measured_at for event in events] == [START + quarter * QUARTER for quarter in range(20)]


async def test_nats_may_restart_in_the_middle(database: str, server_folder: Path, tmp_path: Path) -> None:
    async with EmbeddedNats(server_folder) as server:
        site = Installation(tmp_path, database, bus_settings(server), VirtualClock(START))
        try:
            await site.add_lines(2)
            await site.start_ledger()
            (settings,) = site.gateways("gw-1")
            await site.enrol(settings)
            async with site.gateway(settings) as gateway:
                await poll(gateway, site.clock, 0, 10)
                await server.kill()
                await poll(gateway, site.clock, 10, 20)
                await server.start()
                await poll(gateway, site.clock, 20, 30)
                await drained(gateway, 60)
            for events in (await site.readings()).values():
                assert [event.measured_at for event in events] == [START + n * QUARTER for n in range(30)]
        finally:
            await site.close()


async def test_alarms_reach_the_book_beside_unedited_readings(site: Installation) -> None:
    await site.add_lines(2)
    await site.start_ledger()
    (settings,) = site.gateways("gw-1")
    await site.enrol(settings)
    first, second = site.lines[0].meters.values()
    async with site.gateway(settings) as gateway:
        await poll(gateway, site.clock, 0, 2)
        first.fault(GlitchZero())
        second.fault(NoAnswer())
        await poll(gateway, site.clock, 2, 4)
        first.clear()
        second.clear()
        await poll(gateway, site.clock, 4, 6)
        await drained(gateway)
    readings = await site.readings()
    assert [event.quality[0] for event in readings["m-1"]] == ["m", "m", "s", "s", "m", "m"]
    assert [event.import_wh for event in readings["m-1"]][2:4] == [0, 0]
    assert [event.serial is not None for event in readings["m-1"]] == [True, False, True, True, True, False]
    assert len(readings["m-2"]) == 4
    assert await site.alarms("gw-1") == [
        ("glitch-zero", "m-1"),
        ("meter-offline", "m-2"),
        ("meter-online", "m-2"),
    ]


async def test_another_gateway_takes_over_a_meter_and_continues_its_chain(site: Installation) -> None:
    await site.add_lines(1)
    await site.start_ledger()
    (first,) = site.gateways("gw-1")
    (second,) = site.gateways("gw-2")
    await site.enrol(first)
    async with site.gateway(first) as gateway:
        await poll(gateway, site.clock, 0, 5)
        await drained(gateway)
    await site.enrol(second, since=START + 5 * QUARTER)
    async with site.gateway(second) as gateway:
        await poll(gateway, site.clock, 5, 10)
        await drained(gateway)
        assert (await gateway.status()).forks == 0
    (events,) = (await site.readings()).values()
    assert [event.measured_at for event in events] == [START + quarter * QUARTER for quarter in range(10)]


async def test_a_gateway_polls_before_it_is_enrolled_and_sends_after(site: Installation) -> None:
    await site.add_lines(1)
    await site.start_ledger()
    (settings,) = site.gateways("gw-1")
    async with site.gateway(settings) as gateway:
        await poll(gateway, site.clock, 0, 3)
        await site.enrol(settings)
        await drained(gateway)
    (events,) = (await site.readings()).values()
    assert len(events) == 3


async def test_a_backlog_goes_at_thousands_of_events_a_second(site: Installation) -> None:
    await site.add_lines(6)
    (settings,) = site.gateways("gw-1")
    await site.start_ledger()
    await site.enrol(settings)
    await site.stop_ledger()
    async with site.gateway(settings) as gateway:
        await poll(gateway, site.clock, 0, 500)
        assert (await gateway.status()).waiting == 3_000
        await site.start_ledger()
        began = asyncio.get_running_loop().time()
        await drained(gateway)
        took = asyncio.get_running_loop().time() - began
    assert sum(map(len, (await site.readings()).values())) == 3_000
    assert took < 10


async def test_the_same_outbox_is_not_opened_twice_and_a_damaged_one_not_at_all(site: Installation) -> None:
    await site.add_lines(1)
    (settings,) = site.gateways("gw-1")
    path = site.settings.data_folder / "outbox" / "gw-1.db"
    async with site.gateway(settings) as gateway:
        await poll(gateway, site.clock, 0, 1)
        with pytest.raises(OutboxInUse):
            await site.gateway(settings).__aenter__()
    path.write_bytes(b"scrambled" * 1_000)
    with pytest.raises(OutboxDamaged):
        await site.gateway(settings).__aenter__()
    assert path.read_bytes() == b"scrambled" * 1_000
