"""`live_listeners`: how long a reading takes to 1,000 listeners of one process, against writing as much.

The server is `energy-ledger serve`, a process of its own, and so are the listeners and the reference: a
server that knows its connections and writes to each of them what it is told to. A reading is recorded first;
time counts from when the projections have it to when a listener has it.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from statistics import median

import uvloop

from ledger.client import BookClient
from ledger.event import new_salt
from ledger.events import MeterRead
from ledger.projector import Projector
from tests.benchmarks import campus
from tests.benchmarks.api import free_port, token_of_b, until_ready
from tests.benchmarks.ingest import Service, Site, opened, site
from tests.benchmarks.rows import Row, row

LISTENERS = 1_000
AT_ONCE = 20
ROUNDS = 30
PAUSE_SECONDS = 0.3
WAIT_SECONDS = 60.0
LIVE = f"/v1/communities/{campus.COMMUNITY}/buildings/b/live"
READING = b"event: reading"
FRAME = b"id: 1.1\n" + READING + b"\ndata: " + b"x" * 400 + b"\n\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: opened\n\n"
TELL = b"tell\n"


# --- the listeners -------------------------------------------------------------------------------------


async def _listen(port: str, token: str) -> None:
    """Say `ready` when all listen; when nobody writes any more, tell the instants at which readings came."""
    request = f"GET {LIVE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    came: list[list[float]] = [[] for _ in range(LISTENERS)]
    gate, is_open = asyncio.Semaphore(AT_ONCE), [asyncio.Event() for _ in range(LISTENERS)]

    async def listen(number: int) -> None:
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                sys.exit(head.decode())
            await reader.readuntil(b"event: opened")
        is_open[number].set()
        while data := await reader.read(64 * 1024):
            came[number] += [time.perf_counter()] * data.count(READING)

    tasks = [asyncio.ensure_future(listen(number)) for number in range(LISTENERS)]
    async with asyncio.timeout(WAIT_SECONDS):
        await asyncio.gather(*(each.wait() for each in is_open))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    print(json.dumps(came))


# --- the reference -------------------------------------------------------------------------------------


async def _write(port: str) -> None:
    """A server that does nothing but write."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line == TELL:
                for each in writers:
                    each.write(FRAME)
            elif line == b"\r\n":
                writers.append(writer)
                writer.write(HEAD)

    async with await asyncio.start_server(serve, "127.0.0.1", int(port), backlog=LISTENERS) as server:
        await server.serve_forever()


@asynccontextmanager
async def _process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.live", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=64 * 1024 * 1024,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


# --- measuring -----------------------------------------------------------------------------------------


async def _delays(port: int, token: str, tell: Callable[[], Awaitable[float]]) -> list[float]:
    """The delay of every message to every listener, the smallest first; `tell` says when each was told."""
    async with _process("listen", str(port), token) as listeners:
        assert listeners.stdout is not None
        async with asyncio.timeout(WAIT_SECONDS):
            assert await listeners.stdout.readline() == b"ready\n"
        begun = []
        for _ in range(ROUNDS):
            await asyncio.sleep(PAUSE_SECONDS)
            begun.append(await tell())
        await asyncio.sleep(2.0)
        told, _ = await listeners.communicate(b"")  # it ends with its input
        came = json.loads(told)
    assert all(len(each) == ROUNDS for each in came), "a listener missed something, or heard it twice"
    return sorted(at - begin for each in came for at, begin in zip(each, begun, strict=True))


async def _through_the_ledger(found: Site) -> list[float]:
    port = free_port()
    with found.config.open("a") as file:
        file.write(f"\n[api]\nport = {port}\nlisteners_a_key = {LISTENERS}\n")
    with Service("writer", found.config), Service("serve", found.config):
        projector = Projector(found.settings.postgres)
        await projector.catch_up()
        await until_ready(f"http://127.0.0.1:{port}")
        service = found.keys.service.public
        client = BookClient(found.bus, campus.COMMUNITY, campus.GATEWAY, found.gateway, service)
        await opened(client)
        number = 0

        async def tell() -> float:
            nonlocal number
            number += 1
            await client.append("meter/m-0", [_reading(number)])
            await projector.advance()
            return time.perf_counter()

        try:
            return await _delays(port, await token_of_b(found.settings), tell)
        finally:
            await projector.close()


def _reading(number: int) -> MeterRead:
    return MeterRead(
        import_wh=1_000 * number, export_wh=0, measured_at=campus.BEGIN + number * campus.QUARTER,
        quality="measured", salt=new_salt(), power_w=4_000,
    )  # fmt: skip


async def _by_writing() -> list[float]:
    port = free_port()
    async with _process("write", str(port)):
        for _ in range(100):
            try:
                _, teller = await asyncio.open_connection("127.0.0.1", port)
                break
            except OSError:
                await asyncio.sleep(0.1)

        async def tell() -> float:
            begin = time.perf_counter()
            teller.write(TELL)
            return begin

        return await _delays(port, "none", tell)


async def rows() -> list[Row]:
    """The rows of this file."""
    async with site(sync_interval="2m") as found:
        delays = await _through_the_ledger(found)
    reference = await _by_writing()
    what = f"the same bytes to as many, by a bare asyncio server; {LISTENERS:,} listeners, {ROUNDS} readings"
    return [
        row(
            "live_listeners", median(delays) * 1000, "ms", median(reference) * 1000, target="<= 100 ms",
            what=what,
        ),
        row(
            "live_listeners_p99", _p99(delays), "ms", _p99(reference), target="", what="likewise, 99 in 100"
        ),
    ]  # fmt: skip


def _p99(delays: list[float]) -> float:
    return delays[int(len(delays) * 0.99)] * 1000


if __name__ == "__main__":
    if sys.argv[1] == "write":
        uvloop.run(_write(sys.argv[2]))
    else:
        uvloop.run(_listen(*sys.argv[2:]))
