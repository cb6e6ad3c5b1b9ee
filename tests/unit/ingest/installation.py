"""A community with a writer on a real NATS, meters on real sockets, and the gateways that read them."""

import asyncio
import itertools
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ingest.courier import SenderSettings
from ingest.gateway import Gateway
from ingest.gateway_service import compose
from ingest.meter_model import load_models
from ingest.settings import GatewaySettings, gateways_from
from ingest.simulator import Registers, SimulatedLine, SimulatedMeter
from ledger.bus import Bus, BusSettings
from ledger.client import BookClient
from ledger.clock import Clock
from ledger.embedded import EmbeddedNats
from ledger.entry import EMPTY, Head, chain
from ledger.event import Event
from ledger.events import (
    AlarmRaised,
    BuildingAdded,
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
from tests.support.nats import seed_file

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
                    "timeout_ms": 1_000,
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
    return BusSettings(url=server.url, nkey_seed_file=str(seed_file(server)))


async def poll(gateway: Gateway, clock: Clock, begin: int, end: int) -> None:
    for quarter in range(begin, end):
        await clock.sleep_until(START + quarter * QUARTER)
        await gateway.poll_once(START + quarter * QUARTER)


async def drained(gateway: Gateway, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        await gateway.drained()
