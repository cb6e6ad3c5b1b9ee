"""`ingest_batched`, `ingest_single`, `rebuild`: envelopes on NATS to receipts, and projections of the result.

The writer and the projector are the real commands, each a process of its own; the envelopes wait on JetStream
when the writer starts, so that making them is not measured. The clock runs from the first receipt's batch to
the last receipt.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from ledger.bus import Bus
from ledger.bus.users import users_text
from ledger.bus_users import service_keys, service_user
from ledger.client import BookClient
from ledger.embedded import EmbeddedServers
from ledger.embedded.nats import NatsServerSettings
from ledger.errors import Unavailable
from ledger.keys import SigningKey
from ledger.opening import LedgerKeys
from ledger.projector import rebuild
from ledger.services import migrate_store
from ledger.settings import Settings, load_settings
from tests.benchmarks import campus
from tests.benchmarks.rows import Row, row, server_folder, timed

METERS = 100
BATCHED_ENVELOPES = 4_000
BATCHED_EVENTS = 96
SINGLE_ENVELOPES = 20_000
ANSWER_SECONDS_MAX = 120


@dataclass(slots=True)
class Site:
    """Servers, settings and keys of one measured installation."""

    settings: Settings
    config: Path
    keys: LedgerKeys
    gateway: SigningKey
    bus: Bus


@asynccontextmanager
async def site(*, sync_interval: str) -> AsyncIterator[Site]:
    """An installation whose book is open and whose gateway is enrolled; no service runs."""
    with server_folder("ledger-bench-") as folder:
        servers = EmbeddedServers(folder / "servers", nats=NatsServerSettings(sync_interval=sync_interval))
        async with servers:
            config = campus.write_settings(
                folder, servers.postgres.dsn, servers.nats.url, servers.nats.monitor_url,
                relaxed=sync_interval != "always",
            )  # fmt: skip
            settings = load_settings(config, {})
            await servers.nats.admit(users_text(campus.COMMUNITY, service_keys(settings), {}))
            await migrate_store(settings.postgres)
            keys, gateway = LedgerKeys.load_or_create(settings.keys_folder), SigningKey.generate()
            async with await Bus.connect(settings.nats, "bench", service_user(settings, "api")) as bus:
                found = Site(settings, config, keys, gateway, bus)
                with Service("writer", config):
                    await _enrol(found)
                yield found


async def _enrol(site: Site) -> None:
    client = BookClient(site.bus, campus.COMMUNITY, "operator", site.keys.operator, site.keys.service.public)
    await opened(client)
    await client.append("registry", campus.registry_events(site.gateway, METERS))


async def opened(client: BookClient) -> None:
    """Return when the client knows the book's heads. Raises `Unavailable` if it never does."""
    for _ in range(100):
        try:
            await client.open()
            return
        except Unavailable:  # the writer is starting
            await asyncio.sleep(0.1)
    await client.open()


class Service:
    """A service of the ledger as a process of its own, ended with the block."""

    def __init__(self, name: str, config: Path) -> None:
        command = [sys.executable, "-m", "api", name, "--config", str(config)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)


async def _load(site: Site, data: Sequence[bytes]) -> tuple[float, float]:
    """Seconds from the start of taking to the last receipt, and to the last projected event."""
    answered, done = 0, asyncio.Event()
    first = 0.0

    async def count(_: bytes) -> None:
        nonlocal answered, first
        first = first or time.perf_counter()
        answered += 1
        if answered == len(data):
            done.set()

    await site.bus.on_receipts(campus.COMMUNITY, campus.GATEWAY, count)
    gate = asyncio.Semaphore(128)

    async def publish(envelope: bytes) -> None:
        async with gate:
            await site.bus.publish_envelope(campus.COMMUNITY, campus.GATEWAY, envelope)

    await asyncio.gather(*(publish(envelope) for envelope in data))
    with Service("projector", site.config), Service("writer", site.config):
        await asyncio.wait_for(done.wait(), ANSWER_SECONDS_MAX)
        end = time.perf_counter()
        # The first batch's own time is not seen from here: count only what came after it.
        return end - first, await until_projected(site.settings)


async def until_projected(settings: Settings) -> float:
    """Seconds until the projections have all that is in the book."""
    begin = time.perf_counter()
    connection = await asyncpg.connect(settings.postgres.url)
    try:
        while True:
            try:
                behind = await connection.fetchval(
                    "SELECT size - coalesce((SELECT position FROM projection.positions), 0)"
                    " FROM book.communities"
                )
            except asyncpg.UndefinedTableError:
                behind = None  # the projector is starting
            if behind == 0:
                return time.perf_counter() - begin
            await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def _copy_reference(site: Site) -> float:
    """Events a second of a bare COPY of the book's rows into an equal table, in the writer's batch size."""
    connection = await asyncpg.connect(site.settings.postgres.url)
    try:
        rows = [
            tuple(found) for found in await connection.fetch("SELECT * FROM book.events ORDER BY position")
        ]
        await connection.execute("CREATE TABLE bare (LIKE book.events INCLUDING ALL)")
        with timed() as watch:
            for begin in range(0, len(rows), site.settings.writer.batch_events):
                await connection.copy_records_to_table(
                    "bare", records=rows[begin : begin + site.settings.writer.batch_events]
                )
        await connection.execute("DROP TABLE bare")
        return len(rows) / watch.seconds
    finally:
        await connection.close()


def _signature_reference(key: SigningKey) -> float:
    """Ed25519 verifications a second on one core."""
    message, count = b"x" * 200, 3_000
    signature = key.sign(message)
    with timed() as watch:
        for _ in range(count):
            key.public.verifies(signature, message)
    return count / watch.seconds


async def _rebuild(site: Site) -> Row:
    """Rebuild the projections, against a bare SELECT of the events and COPY of the result."""
    with timed() as watch:
        counts = await rebuild(site.settings.postgres)
    applied = sum(counts.values())
    connection = await asyncpg.connect(site.settings.postgres.url)
    try:
        await connection.execute("CREATE TABLE bare (LIKE projection.meter_intervals INCLUDING ALL)")
        result = [
            tuple(found) for found in await connection.fetch("SELECT * FROM projection.meter_intervals")
        ]
        with timed() as bare:
            for begin in range(0, applied, 10_000):
                await connection.fetch(
                    "SELECT position, stream, sequence, body FROM book.events"
                    " WHERE position >= $1 AND position < $2 ORDER BY position",
                    begin,
                    begin + 10_000,
                )
                await connection.copy_records_to_table("bare", records=result[begin : begin + 10_000])
        await connection.execute("DROP TABLE bare")
    finally:
        await connection.close()
    return row(
        "rebuild", applied / watch.seconds, "events/s", applied / bare.seconds,
        target=">= 80,000 and >= 0.3", what="bare SELECT of the events and COPY of the result",
    )  # fmt: skip


async def rows() -> list[Row]:
    """The rows of this file."""
    async with site(sync_interval="always") as batched:
        data = list(campus.envelopes(batched.gateway, METERS, BATCHED_ENVELOPES, BATCHED_EVENTS))
        seconds, behind = await _load(batched, data)
        events = len(data) * BATCHED_EVENTS
        found = [
            row(
                "ingest_batched", events / seconds, "events/s", await _copy_reference(batched),
                target=">= 60,000 and >= 0.25", what="bare COPY of the same rows",
            ),
            row("projection_behind", behind, "s", target="", what="after the last receipt"),
            await _rebuild(batched),
        ]  # fmt: skip
    async with site(sync_interval="2m") as single:
        data = list(campus.envelopes(single.gateway, METERS, SINGLE_ENVELOPES, 1))
        seconds, _ = await _load(single, data)
        verifications = _signature_reference(single.gateway)
        found += [
            row(
                "ingest_single", len(data) / seconds, "events/s", verifications,
                target=">= 4,000 and >= 0.5", what="Ed25519 verifications on one core",
            ),
        ]  # fmt: skip
    return found
