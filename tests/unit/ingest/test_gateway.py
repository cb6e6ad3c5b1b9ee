"""A whole gateway: simulated meters on real sockets, a real outbox, NATS, writer and Postgres."""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest.courier import SenderSettings
from ingest.gateway import Gateway, Site
from ingest.gateway_service import compose, run_gateway
from ingest.meter_model import load_models
from ingest.outbox_file import OutboxDamaged, OutboxInUse
from ingest.settings import GatewaySettings, gateways_from
from ingest.simulator import GlitchZero, NoAnswer, Registers, SimulatedLine, SimulatedMeter
from ledger.bus import Bus, BusSettings
from ledger.client import BookClient
from ledger.clock import Clock, SystemClock, VirtualClock
from ledger.embedded import EmbeddedNats
from ledger.entry import EMPTY, Head, chain
from ledger.events import (
    AlarmRaised,
    BuildingAdded,
    Event,
    FeederAdded,
    MeterAdded,
    MeterAssigned,
    MeterRead,
    read_bodies,
)
from ledger.keys import SigningKey
from ledger.opening import LedgerKeys, enrolment
from ledger.postgres import PostgresSettings, connect
from ledger.registry import OPERATOR
from ledger.services import open_writer
from ledger.settings import CommunitySettings, DataSettings, Settings
from ledger.writer import WriterSettings

ROOT = Path(__file__).parents[3]
START = datetime(2026, 6, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
MODEL = load_models()["sdm630"]
RATED_W = 69_000
QUICK = SenderSettings(receipt_seconds=0.5, retry_seconds=0.05, hold_seconds=0.2, wait_seconds_max=1.0)

_numbers = itertools.count(1)


class Rising:
    """A meter that imports 4 kW, from its own register on."""

    def __init__(self, first_wh: int) -> None:
        self.first_wh = first_wh

    def registers_at(self, instant: datetime) -> Registers:
        return Registers(self.first_wh + int(instant.timestamp()) * 4_000 // 3_600, 0, 4_000)


class Installation:
    """A community with its writer, some lines of meters, and what it takes to make gateways."""

    def __init__(self, folder: Path, database: str, nats: BusSettings, clock: Clock) -> None:
        self.settings = Settings(
            community=CommunitySettings(id=f"gateway-test-{next(_numbers)}-{os.getpid()}"),
            data=DataSettings(folder=str(folder / "data")),
            postgres=PostgresSettings(url=database),
            nats=nats,
            writer=WriterSettings(wait_seconds=0.1),
        )
        self.community = self.settings.community.id
        self.folder = folder
        self.clock = clock
        self.keys = LedgerKeys.load_or_create(self.settings.keys_folder)
        self.lines: list[SimulatedLine] = []
        self._stop = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    async def start_ledger(self) -> None:
        ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._writing = asyncio.create_task(self._write(ready))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({waiting, self._writing}, return_when=asyncio.FIRST_COMPLETED)
        if self._writing.done():
            self._writing.result()

    async def _write(self, ready: asyncio.Event) -> None:
        async with await Bus.connect(self.settings.nats, "writer") as bus:
            await bus.ensure_stream()
            writer = await open_writer(self.settings, self.keys, self.clock)
            ready.set()
            try:
                await writer.run(bus, self._stop)
            finally:
                await writer.book.close()

    async def stop_ledger(self) -> None:
        self._stop.set()
        if self._writing is not None:
            await self._writing

    async def add_lines(self, *counts: int) -> None:
        """Lines with so many meters each."""
        for count in counts:
            first = sum(len(line.meters) for line in self.lines) + 1
            line = SimulatedLine(
                [
                    SimulatedMeter(unit, MODEL, Rising(1_000 * unit), self.clock, serial=str(first + unit))
                    for unit in range(1, count + 1)
                ]
            )
            await line.start()
            self.lines.append(line)

    def tables(self, *gateways: str) -> Mapping[str, object]:
        """The settings of the gateways, which share the lines in turn."""
        meters = (f"m-{number}" for number in itertools.count(1))
        tables: list[dict[str, object]] = [{"id": name, "lines": []} for name in gateways]
        for number, line in enumerate(self.lines):
            lines = tables[number % len(tables)]["lines"]
            assert isinstance(lines, list)
            lines.append(
                {
                    "host": line.host,
                    "port": line.port,
                    "pause_ms": 0,
                    "timeout_ms": 150,
                    "attempts": 1,
                    "meters": [
                        {
                            "id": next(meters),
                            "unit": unit,
                            "model": "sdm630",
                            "rated_w": RATED_W,
                            "building": "b-1",
                        }
                        for unit in line.meters
                    ],
                }
            )
        return {"gateways": tables}

    def gateways(self, *names: str) -> list[GatewaySettings]:
        return list(gateways_from(self.tables(*names), self.folder / "site.toml"))

    def key_of(self, gateway: str) -> SigningKey:
        return SigningKey.load_or_create(self.settings.keys_folder / f"{gateway}.pem")

    def gateway(self, settings: GatewaySettings) -> Gateway:
        self.key_of(settings.id)
        return compose(settings, self.settings, self.clock, QUICK)

    async def enrol(self, *gateways: GatewaySettings, since: datetime = START) -> None:
        """What the operator tells the book of these gateways and their meters."""
        events: list[Event] = [
            FeederAdded(feeder="f-1", name="Feeder"),
            BuildingAdded(building="b-1", feeder="f-1", name="Building"),
        ]
        for gateway in gateways:
            events.append(enrolment(self.community, gateway.id, "gateway", self.key_of(gateway.id)))
            for meter in gateway.meters:
                events += [
                    MeterAdded(
                        meter=meter.id,
                        role="connection",
                        model="sdm630",
                        rated_w=RATED_W,
                        since=START,
                        building="b-1",
                    ),
                    MeterAssigned(meter=meter.id, device=gateway.id, since=since),
                ]
        async with await Bus.connect(self.settings.nats, "operator") as bus:
            client = BookClient(bus, self.community, OPERATOR, self.keys.operator, self.keys.service.public)
            await client.open()
            await client.append("registry", events)

    async def book(self) -> dict[str, list[bytes]]:
        """The bodies of all streams; every chain is checked."""
        connection = await connect(self.settings.postgres, name="test")
        rows = await connection.fetch(
            "SELECT stream, sequence, entry_hash, body FROM book.events"
            " WHERE community = $1 ORDER BY position",
            self.community,
        )
        await connection.close()
        streams: dict[str, list[bytes]] = {}
        heads: dict[str, Head] = {}
        for row in rows:
            head = heads.get(row["stream"], EMPTY)
            assert row["sequence"] == head.sequence + 1
            (link,) = chain(self.community, row["stream"], head, [row["body"]])
            assert link.entry_hash == row["entry_hash"]
            heads[row["stream"]] = Head(row["sequence"], row["entry_hash"])
            streams.setdefault(row["stream"], []).append(row["body"])
        return streams

    async def readings(self) -> dict[str, list[MeterRead]]:
        return {
            stream.removeprefix("meter/"): [one for one in read_bodies(bodies) if isinstance(one, MeterRead)]
            for stream, bodies in (await self.book()).items()
            if stream.startswith("meter/")
        }

    async def alarms(self, gateway: str) -> list[tuple[str, str | None]]:
        events = read_bodies((await self.book()).get(f"device/{gateway}", []))
        return [(event.alarm, event.meter) for event in events if isinstance(event, AlarmRaised)]

    async def close(self) -> None:
        for line in self.lines:
            await line.close()
        await self.stop_ledger()


def bus_settings(server: EmbeddedNats) -> BusSettings:
    return BusSettings(url=server.url, token_file=str(server.token_file))


@pytest.fixture
async def site(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Installation]:
    installation = Installation(tmp_path, database, bus_settings(nats_server), VirtualClock(START))
    try:
        yield installation
    finally:
        await installation.close()


async def poll(gateway: Gateway, clock: Clock, begin: int, end: int) -> None:
    for quarter in range(begin, end):
        await clock.sleep_until(START + quarter * QUARTER)
        await gateway.poll_once(START + quarter * QUARTER)


async def drained(gateway: Gateway, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        await gateway.drained()


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


def write_file(site: Installation, interval_minutes: int = 15) -> Path:
    """A settings file as it is on a device that only reads meters."""
    lines = [f'[community]\nid = "{site.community}"\ninterval_minutes = {interval_minutes}']
    lines.append(f'[nats]\nurl = "{site.settings.nats.url}"\ntoken_file = "{site.settings.nats.token_file}"')
    lines.append(f'[data]\nfolder = "{site.settings.data.folder}"')
    for line in site.lines:
        lines.append('[[gateways]]\nid = "gw-1"\n[[gateways.lines]]')
        lines.append(f'host = "{line.host}"\nport = {line.port}')
        for unit in line.meters:
            lines.append(f'[[gateways.lines.meters]]\nid = "m-{unit}"\nunit = {unit}\nmodel = "sdm630"')
            lines.append(f'building = "b-1"\nrated_w = {RATED_W}')
    path = site.folder / "site.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
async def real_time(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Installation]:
    installation = Installation(tmp_path, database, bus_settings(nats_server), SystemClock())
    try:
        yield installation
    finally:
        await installation.close()


async def test_the_service_is_composed_from_the_settings_file_alone(real_time: Installation) -> None:
    site = real_time
    await site.add_lines(2)
    await site.start_ledger()
    (settings,) = site.gateways("gw-1")
    await site.enrol(settings)
    stop = asyncio.Event()
    running = asyncio.create_task(run_gateway(write_file(site), {}, None, stop))
    async with asyncio.timeout(20):
        while len(await site.readings()) < 2:
            await asyncio.sleep(0.05)
    stop.set()
    await running
    assert {len(events) for events in (await site.readings()).values()} == {1}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_gateway_process_that_is_ended_keeps_its_outbox(
    real_time: Installation, how: signal.Signals
) -> None:
    site = real_time
    await site.add_lines(2)
    (settings,) = site.gateways("gw-1")
    site.key_of("gw-1")
    program = "from api.cli import main; main()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, "gateway", "--config", str(write_file(site))),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"readings kept" not in await process.stderr.readline():
            assert process.returncode is None
        process.send_signal(how)
        words = await process.stderr.read()
        await process.wait()
    assert process.returncode == (0 if how == signal.SIGTERM else -how)
    assert (b"gateway stopped" in words) == (how == signal.SIGTERM)
    await site.start_ledger()
    await site.enrol(settings)
    async with site.gateway(settings) as gateway:
        assert (await gateway.status()).waiting == 2
        await drained(gateway)
    assert {len(events) for events in (await site.readings()).values()} == {1}


def test_a_site_does_not_show_its_key() -> None:
    key = SigningKey.generate()
    site = Site("campus", 15, key.public, BusSettings(), key, Path("outbox.db"))
    assert key.public.id in repr(site)
