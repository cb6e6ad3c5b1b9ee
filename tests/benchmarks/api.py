"""`api_reads`: a building's day over HTTP, against the same handler returning a constant.

The server is `energy-ledger serve`, with one worker and with two. The load is a process of its own:
connections that stay open and ask again when they are answered. Server and constant are asked by turns.
Latency is taken at half of the target, or of what a machine comes to that cannot do that. The server's CPU
time for each request says more than the rate where others work at the same time.
"""

import asyncio
import json
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import uvicorn
import uvloop
from litestar import Litestar, Request, Response, get

from api.http.caching import PRIVATE, answered
from ledger.access import AccessKey, new_key
from ledger.bus import Bus
from ledger.bus.users import users_text
from ledger.bus_users import service_keys, service_user
from ledger.client import BookClient
from ledger.clock import SystemClock
from ledger.embedded import EmbeddedServers
from ledger.embedded.nats import NatsServerSettings
from ledger.garbage import no_search_for_cycles
from ledger.keys import SigningKey
from ledger.opening import LedgerKeys
from ledger.postgres.access import AccessStore
from ledger.postgres.pool import Pool
from ledger.services import migrate_store
from ledger.settings import FOREIGN_TABLES, Settings, load_settings
from tests.benchmarks import campus
from tests.benchmarks.ingest import Service, opened, until_projected
from tests.benchmarks.rows import Row, row, server_folder

CONNECTIONS = 32
SECONDS = 5.0
TURNS = 3
TARGET = 1_500
WAIT_SECONDS = 30.0
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
DAY = "/v1/communities/bench/buildings/b/intervals?begin=2024-01-05T00:00:00Z&until=2024-01-06T00:00:00Z"


class _Client(asyncio.Protocol):
    """One connection that stays open. It costs little: the server has to share the machine with it."""

    _transport: asyncio.Transport

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = b""
        self._left = 0  # of the body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    async def ask(self) -> float:
        """Seconds for one answer, which has to be a good one."""
        begin = time.perf_counter()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        await self._answer
        return time.perf_counter() - begin

    def data_received(self, data: bytes) -> None:
        if not self._left:
            head, end, data = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            self._head = b""
            if not head.startswith(b"HTTP/1.1 200"):
                self._answer.set_exception(RuntimeError(head.decode()))
                return
            self._left = int(_LENGTH.search(head)[1])  # type: ignore[index]  # one that lacks it fails
        self._left -= len(data)
        if not self._left:
            self._answer.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the server closed a connection"))

    def close(self) -> None:
        self._transport.close()


async def _load(address: str, path: str, token: str, rate: float | None) -> tuple[float, list[float]]:
    """Answers a second of all connections, and what each took; `rate` bounds how many are sent a second."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    made = partial(asyncio.get_running_loop().create_connection, partial(_Client, request), host, int(port))
    clients = [client for _, client in await asyncio.gather(*(made() for _ in range(CONNECTIONS)))]
    begin = time.perf_counter()
    end, took = begin + SECONDS, []
    pause = CONNECTIONS / rate if rate else 0.0

    async def ask(client: _Client, number: int) -> None:
        due = begin + number * pause / CONNECTIONS
        while (now := time.perf_counter()) < end:
            if pause and due > now:
                await asyncio.sleep(due - now)
            took.append(await client.ask())
            due += pause

    await asyncio.gather(*(ask(client, number) for number, client in enumerate(clients)))
    seconds = time.perf_counter() - begin
    for client in clients:
        client.close()
    return len(took) / seconds, sorted(took)


async def _loaded(
    address: str, path: str, token: str, rate: float | None = None
) -> tuple[float, Sequence[float]]:
    """The same from a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.api", address, path, token, str(rate or 0),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told, _ = await process.communicate()
    found = json.loads(told)
    return found["rate"], found["took"]


class _Served:
    """`energy-ledger serve` and what it works with: real servers, a book, a building's month of energy."""

    def __init__(self, config: Path, address: str, token: str, process: int) -> None:
        self.config = config
        self.address = address
        self.token = token
        self.process = process


@asynccontextmanager
async def _served(workers: int) -> AsyncIterator[_Served]:
    with server_folder("ledger-bench-") as folder:
        async with EmbeddedServers(
            folder / "servers", nats=NatsServerSettings(sync_interval="2m")
        ) as servers:
            config = campus.write_settings(
                folder, servers.postgres.dsn, servers.nats.url, servers.nats.monitor_url, relaxed=True
            )  # fmt: skip
            port = free_port()
            with config.open("a") as file:
                file.write(f"\n[api]\nport = {port}\nworkers = {workers}\nrequests_a_minute = 100000000\n")
            settings = load_settings(config, {}, FOREIGN_TABLES)
            await servers.nats.admit(users_text(campus.COMMUNITY, service_keys(settings), {}))
            await migrate_store(settings.postgres)
            keys = LedgerKeys.load_or_create(settings.keys_folder)
            async with await Bus.connect(settings.nats, "bench", service_user(settings, "api")) as bus:
                with Service("writer", config), Service("projector", config):
                    await _fill(settings, keys, bus)
            with Service("serve", config) as service:
                address = f"http://127.0.0.1:{port}"
                await until_ready(address)
                yield _Served(config, address, await token_of_b(settings), service.process.pid)


def _cpu_seconds(process: int) -> float:
    """What a process and its children have computed so far."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    mine = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return mine + sum(_cpu_seconds(int(child)) for child in children)


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


async def _fill(settings: Settings, keys: LedgerKeys, bus: Bus) -> None:
    """A building with one meter, whose readings of a month are in the book and projected."""
    gateway = SigningKey.generate()
    client = BookClient(bus, campus.COMMUNITY, "operator", keys.operator, keys.service.public)
    await opened(client)
    await client.append("registry", campus.registry_events(gateway, 1))
    done, left = asyncio.Event(), 30

    async def count(_: bytes) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    await bus.on_receipts(campus.COMMUNITY, campus.GATEWAY, count)
    for envelope in campus.envelopes(gateway, 1, left, 96):
        await bus.publish_envelope(campus.COMMUNITY, campus.GATEWAY, envelope)
    await asyncio.wait_for(done.wait(), WAIT_SECONDS)
    await until_projected(settings)


async def token_of_b(settings: Settings) -> str:
    """A new key of the building."""
    key, now = new_key(), SystemClock().now()
    pool = await Pool.open(settings.postgres, 1)
    until = now + timedelta(days=1)
    await AccessStore(pool).add(
        AccessKey(key.prefix, key.digest, campus.COMMUNITY, "building", "b", "", now, until)
    )
    await pool.close()
    return key.token


async def until_ready(address: str) -> None:
    """Return when the API there says that it is ready."""
    async with httpx.AsyncClient() as client:
        for _ in range(int(WAIT_SECONDS * 10)):
            try:
                if (await client.get(f"{address}/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError("the API does not become ready")


def constant(body: bytes) -> Litestar:
    """The same answer without looking anything up."""

    @get("/constant")
    async def handler(request: Request[Any, Any, Any]) -> Response[bytes]:
        return answered(request, body, "application/json", PRIVATE)

    return Litestar([handler], openapi_config=None)


def _serve_constant(path: str, port: str) -> None:
    """The reference's server; a process of its own as well."""
    uvicorn.run(
        constant(Path(path).read_bytes()), port=int(port), loop="uvloop", http="httptools", log_config=None,
        access_log=False, lifespan="off",
    )  # fmt: skip


@asynccontextmanager
async def _constant(body: bytes, folder: Path) -> AsyncIterator[str]:
    path, port = folder / "constant.json", free_port()
    path.write_bytes(body)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.api", "constant", str(path), str(port),
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(int(WAIT_SECONDS * 10)):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def rows() -> list[Row]:
    """The rows of this file."""
    return [*await _rows(1), *await _rows(2)]


async def _rows(workers: int) -> list[Row]:
    async with _served(workers) as served:
        headers = {"Authorization": f"Bearer {served.token}"}
        async with httpx.AsyncClient(base_url=served.address, headers=headers) as client:
            answer = await client.get(DAY)
        assert len(answer.json()["items"]) == 96
        await _loaded(served.address, DAY, served.token)  # statements are planned, connections made
        rates, references, cpu, count = [], [], 0.0, 0
        async with _constant(answer.content, served.config.parent) as address:
            for _ in range(TURNS):
                before = _cpu_seconds(served.process)
                rate, took = await _loaded(served.address, DAY, served.token)
                cpu, count = cpu + _cpu_seconds(served.process) - before, count + len(took)
                rates.append(rate)
                references.append((await _loaded(address, "/constant", served.token))[0])
        half = min(TARGET, max(rates)) / 2
        _, took = await _loaded(served.address, DAY, served.token, half)
    name, p99 = f"api_reads_{workers}", took[int(len(took) * 0.99)] * 1000
    what = (
        f"the same {len(answer.content):,} bytes as a constant, one process; {CONNECTIONS} connections, "
        f"{workers} workers, the best of {TURNS} turns"
    )
    return [
        row(name, max(rates), "requests/s", max(references), target=">= 1,500 with 2", what=what),
        row(f"{name}_cpu", cpu / count * 1e6, "us", target="", what="the server's CPU time for each"),
        row(f"{name}_p99", p99, "ms", target="<= 25 ms", what=f"at {half:,.0f} requests/s"),
    ]


async def _main(address: str, path: str, token: str, rate: str) -> None:
    with no_search_for_cycles():  # it would stop for a tenth of a second, and all answers would seem late
        found, took = await _load(address, path, token, float(rate) or None)
    print(json.dumps({"rate": found, "took": took}))


if __name__ == "__main__":
    if sys.argv[1] == "constant":
        _serve_constant(*sys.argv[2:])
    else:
        uvloop.run(_main(*sys.argv[1:]))
