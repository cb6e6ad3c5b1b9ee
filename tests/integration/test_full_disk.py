"""NATS on a disk that is full, or small, or has become so: nothing acknowledged is lost, and all goes on."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from nats.js.api import StreamConfig

from ledger.bus import Bus, BusUnavailable
from ledger.bus.stream import BYTES_MAX, BYTES_MIN
from ledger.embedded import EmbeddedNats, EmbeddedServers
from ledger.embedded.mending import Mender
from ledger.errors import Unavailable
from tests.support.nats import everything
from tests.support.small_disk import MIB, SmallDisk, small_disk

ENVELOPE = b"x" * 200_000
COMMUNITY, DEVICE = "campus", "gw-1"


@pytest.fixture
def disk(server_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallDisk]:
    monkeypatch.setattr("ledger.bus.connection.PUBLISH_SECONDS", 1)
    monkeypatch.setattr("ledger.embedded.mending.LOOK_SECONDS", 0)
    with small_disk(server_folder, 100) as found:
        yield found


@asynccontextmanager
async def on_disk(disk: SmallDisk) -> AsyncIterator[tuple[EmbeddedNats, Bus]]:
    """A server on that disk, and a connection to it."""
    async with (
        EmbeddedNats(disk.folder / "nats") as nats,
        await Bus.connect(everything(nats), "test") as bus,
    ):
        await bus.ensure_stream()
        yield nats, bus


async def publish(bus: Bus) -> None:
    await bus.publish_envelope(COMMUNITY, DEVICE, ENVELOPE)


async def until_stored(bus: Bus) -> None:
    """Send again until it is stored, as whoever has an outbox does."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await publish(bus)
            except BusUnavailable:
                await asyncio.sleep(0.1)


async def until_refused(bus: Bus) -> None:
    """Send until one is not stored, and raise why."""
    for _ in range(200):
        await publish(bus)


async def stored(bus: Bus) -> int:
    return int((await bus._jetstream.stream_info("ENVELOPES")).state.messages)


async def test_a_full_disk_is_told_and_once_it_has_room_nats_stores_again_by_itself(disk: SmallDisk) -> None:
    async with on_disk(disk) as (nats, bus):
        await publish(bus)
        await bus.check_stores()
        mender = Mender(nats)
        disk.fill()
        with pytest.raises(BusUnavailable, match="the envelope was not stored: JetStream does not answer"):
            await publish(bus)
        with pytest.raises(BusUnavailable, match="JetStream stores nothing: ") as said:
            await bus.check_stores()
        assert "make room" in said.value.hint
        pid = nats.pid
        for _ in range(3):
            await mender.look()
        assert nats.pid == pid  # there is no room to start in
        disk.make_room()
        with pytest.raises(BusUnavailable, match="was not stored"):
            await publish(bus)  # without the mender it would stay so
        await mender.look()
        assert nats.pid != pid
        await until_stored(bus)
        await bus.check_stores()
        assert await stored(bus) >= 2  # what was not answered may be stored after all


class Well:
    """A server that runs."""

    running = True


async def test_a_server_that_ended_waits_for_room_to_start_in(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers, stop = EmbeddedServers(disk.folder), asyncio.Event()
    monkeypatch.setattr(servers, "postgres", Well())
    async with servers.nats as nats:
        await nats.kill()
        disk.fill()
        keeping = asyncio.ensure_future(servers.keep(stop))
        await asyncio.sleep(2)
        assert not keeping.done()
        assert not nats.running
        disk.make_room()
        async with asyncio.timeout(30):
            while not nats.running:
                await asyncio.sleep(0.05)
        stop.set()
        await keeping


async def test_whoever_sends_nothing_is_told_of_a_full_disk_by_the_server(disk: SmallDisk) -> None:
    async with on_disk(disk) as (nats, bus), await Bus.connect(everything(nats), "doctor") as other:
        disk.fill()
        with pytest.raises(BusUnavailable):
            await publish(bus)
        with pytest.raises(BusUnavailable, match=r"JetStream stores nothing: .* no space left on device"):
            await other.check_stores()


async def test_restarts_that_do_not_help_come_further_and_further_apart(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 1_000.0
    restarts: list[float] = []

    async def unwell() -> str:
        return "a write failed"

    async def restart() -> None:
        restarts.append(seconds)

    nats = EmbeddedNats(disk.folder)
    monkeypatch.setattr(nats, "unwell", unwell)
    monkeypatch.setattr(nats, "restart", restart)
    monkeypatch.setattr("ledger.embedded.mending.monotonic_seconds", lambda: seconds)
    mender = Mender(nats)
    for _ in range(1_500):
        await mender.look()
        seconds += 1
    assert restarts[0] == 1_001  # at the second look
    gaps = [after - before for before, after in pairwise(restarts)]
    assert gaps == [10, 20, 40, 80, 160, 300, 300, 300]


async def test_a_small_disk_gets_a_smaller_stream_that_leaves_most_of_it_to_others(disk: SmallDisk) -> None:
    async with on_disk(disk) as (_, bus):
        size = (await bus._jetstream.stream_info("ENVELOPES")).config.max_bytes
        assert size is not None
        assert BYTES_MIN <= size <= disk.size_mib * MIB // 3
        await publish(bus)


async def test_a_full_stream_refuses_in_the_servers_own_words_and_takes_again_what_it_has_room_for(
    disk: SmallDisk,
) -> None:
    async with on_disk(disk) as (_, bus):
        with pytest.raises(BusUnavailable, match="was not stored: maximum bytes exceeded") as full:
            await until_refused(bus)
        assert "is the writer running?" in full.value.hint
        intake = bus.intake(COMMUNITY)
        while deliveries := await intake.take(50, 1):
            for delivery in deliveries:
                await delivery.done()
        await intake.close()
        await until_stored(bus)


async def test_a_stream_that_exists_is_had_on_a_disk_that_has_filled_since(disk: SmallDisk) -> None:
    disk.make_room(500)
    async with on_disk(disk) as (_, bus):
        await publish(bus)
    disk.make_room(60)
    async with on_disk(disk) as (_, bus):
        promised = (await bus._jetstream.stream_info("ENVELOPES")).config.max_bytes
        assert promised is not None
        assert promised > 60 * MIB
        assert await stored(bus) == 1
        await publish(bus)


async def test_no_room_for_any_stream_is_said_as_jetstream_says_it(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.embedded.nats.STORE_BYTES_MIN", MIB)
    disk.make_room(20)
    with pytest.raises(BusUnavailable, match="cannot be had: insufficient storage resources") as said:
        async with on_disk(disk):
            raise AssertionError
    assert "make room" in said.value.hint


async def test_who_takes_envelopes_is_told_what_jetstream_says(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.embedded.nats.STORE_BYTES_MIN", MIB)
    disk.make_room(20)
    async with (
        EmbeddedNats(disk.folder / "nats") as nats,
        await Bus.connect(everything(nats), "test") as bus,
    ):
        with pytest.raises(Unavailable, match=r"cannot be read: .*insufficient storage resources") as said:
            await bus.intake(COMMUNITY).take(1, 1)
        assert said.value.code == "intake-unavailable"


@pytest.mark.parametrize("replicas", [1, 3])
async def test_one_unwell_server_of_several_stops_nobody_and_is_told(disk: SmallDisk, replicas: int) -> None:
    async with on_disk(disk) as (nats, bus):
        settings = msgspec.structs.replace(everything(nats), replicas=replicas)
        disk.fill()
        with pytest.raises(BusUnavailable):
            await publish(bus)
        async with await Bus.connect(settings, "doctor") as other:
            assert "no space left on device" in await other.unwell()
            if replicas == 1:
                with pytest.raises(BusUnavailable):
                    await other.check_stores()
            else:
                await other.check_stores()


@pytest.fixture
async def nats(server_folder: Path) -> AsyncIterator[EmbeddedNats]:
    async with EmbeddedNats(server_folder) as found:
        yield found


async def test_a_stream_that_works_in_another_way_is_named(nats: EmbeddedNats) -> None:
    async with await Bus.connect(everything(nats), "test") as bus:
        await bus._jetstream.add_stream(StreamConfig(name="ENVELOPES", subjects=["ledger.*.envelopes.*"]))
        with pytest.raises(BusUnavailable, match="exists with other settings: retention is"):
            await bus.ensure_stream()


async def test_a_large_disk_gets_a_stream_of_eight_gib(nats: EmbeddedNats) -> None:
    async with await Bus.connect(everything(nats), "test") as bus:
        await bus.ensure_stream()
        assert (await bus._jetstream.stream_info("ENVELOPES")).config.max_bytes == BYTES_MAX
