"""Several processes behind one address: each serves, each is replaced, and none is left behind."""

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import sleep
from typing import Any

import httpx
import pytest

from ledger.clock import monotonic_seconds
from tests.support.place import COMMAND, WAIT_SECONDS, Place, environment

SETTINGS = """\
[community]
id = "campus"

[[feeders]]
id = "feeder-1"
name = "Feeder 1"

[[buildings]]
id = "school"
name = "School"
feeder = "feeder-1"
"""
API = """
[api]
port = 0
workers = 3
requests_a_minute = 1_000_000
requests_a_minute_without_key = {strangers}
"""
PATH = "/v1/communities/campus/log/checkpoint"


@pytest.fixture(scope="module")
def installation(server_root: Path) -> Iterator[Place]:
    """An installation that runs without an API."""
    (server_root / "workers").mkdir(mode=0o711)
    found = Place(server_root / "workers")
    found.config.write_text(SETTINGS)
    try:
        found.start()
        wait_for(lambda: "ready in" in found.log.read_text())
        yield found
    finally:
        found.end()


def wait_for(is_so: Callable[[], bool]) -> None:
    """Return when something is so."""
    end = monotonic_seconds() + WAIT_SECONDS
    while not is_so():
        assert monotonic_seconds() < end
        sleep(0.05)


class Serve:
    """`energy-ledger serve` with three workers, and a key of an operator."""

    def __init__(self, place: Place, token: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.place = place
        self.headers = {"Authorization": f"Bearer {token}"}
        self.process = process
        self.log = log

    @property
    def address(self) -> str:
        return str(self._told("api ready")[0]["address"])

    @property
    def workers(self) -> list[int]:
        """All that were ever ready, by process id."""
        return [int(each["process"]) for each in self._told("worker ready")]

    def _told(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log that tell this; the last line may be half written."""
        lines = self.log.read_text().rpartition("\n")[0].splitlines()
        return [told for line in lines if (told := json.loads(line))["event"] == event]

    async def until(self, is_so: Callable[[], bool]) -> None:
        await asyncio.to_thread(wait_for, is_so)

    async def get(self, path: str) -> httpx.Response:
        """The answer on a connection of its own."""
        async with httpx.AsyncClient(base_url=self.address, headers=self.headers, timeout=30) as client:
            return await client.get(path)

    async def counted(self) -> int:
        """How many requests were answered well, as the service tells."""
        text = (await self.get("/metrics")).text
        (found,) = re.findall(r'energy_ledger_requests_total{method="GET",status="200"} (\S+)', text)
        return int(float(found))


def started(place: Place, config: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            [*COMMAND, "serve", "--config", str(config)], cwd=place.folder, env=environment(),
            stdout=file, stderr=file,
        )  # fmt: skip


@asynccontextmanager
async def serving(place: Place, *, strangers: int = 1_000_000) -> AsyncIterator[Serve]:
    """Three workers for the length of the block."""
    config, log = place.folder / "api.toml", place.folder / "api.log"
    config.write_text(SETTINGS + API.format(strangers=strangers))
    token = place.run("key", "create", "operator", "--label", "test").split()[-1]
    process = started(place, config, log)
    try:
        found = Serve(place, token, process, log)
        await found.until(lambda: "api ready" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield found
    finally:
        process.kill()
        process.wait()


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()


class Load:
    """Clients that ask one request after another, each on a connection that it keeps as long as it may."""

    def __init__(self, address: str, headers: dict[str, str]) -> None:
        host, _, port = address.removeprefix("http://").rpartition(":")
        self._place = host, int(port)
        self._request = "".join(
            [f"GET {PATH} HTTP/1.1\r\n", f"Host: {host}\r\n", *(f"{k}: {v}\r\n" for k, v in headers.items())]
        ).encode() + b"\r\n"  # fmt: skip
        self.answered = 0
        self.refused = 0
        self.lost: list[str] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until `stop`, or until nobody listens any more."""
        while not stop.is_set():
            try:
                reader, writer = await asyncio.open_connection(*self._place)
            except OSError:
                self.refused += 1
                return
            await self._ask(reader, writer, stop)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stop: asyncio.Event
    ) -> None:
        asked = 0
        while not stop.is_set():
            try:
                writer.write(self._request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
            except (OSError, asyncio.IncompleteReadError) as error:
                if asked:  # the first one may have come when nobody accepted any more
                    self.lost.append(repr(error))
                return
            assert head.startswith(b"http/1.1 200"), head
            asked += 1
            self.answered += 1
            if b"connection: close" in head:
                return


@asynccontextmanager
async def load(serve: Serve, clients: int = 12) -> AsyncIterator[Load]:
    """Clients that ask during the block."""
    found, stop = Load(serve.address, serve.headers), asyncio.Event()
    tasks = [asyncio.ensure_future(found.run(stop)) for _ in range(clients)]
    try:
        yield found
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*tasks), WAIT_SECONDS)


async def test_each_worker_answers_and_all_count_together(installation: Place) -> None:
    async with serving(installation) as serve:
        workers = serve.workers
        assert len(set(workers)) == 3
        for one in workers:
            others = [each for each in workers if each != one]
            for each in others:
                os.kill(each, signal.SIGSTOP)
            try:
                assert (await serve.get(PATH)).status_code == 200
            finally:
                for each in others:
                    os.kill(each, signal.SIGCONT)
        before = await serve.counted()
        for _ in range(12):
            await serve.get(PATH)
        assert await serve.counted() == before + 13, "these and the look before, whoever answered"


async def test_limits_are_for_all_workers_together(installation: Place) -> None:
    async with serving(installation, strangers=40) as serve:
        begin = monotonic_seconds()
        async with httpx.AsyncClient(base_url=serve.address, timeout=30) as client:
            answers = await asyncio.gather(
                *(client.get("/livez", headers={"Connection": "close"}) for _ in range(120))
            )
        through = sum(answer.status_code == 200 for answer in answers)
        refilled = (monotonic_seconds() - begin) * 40 / 60
        assert 40 <= through <= 40 + refilled + 5, through
        assert {answer.status_code for answer in answers} == {200, 429}


async def test_a_worker_that_dies_is_replaced_while_the_others_go_on(installation: Place) -> None:
    async with serving(installation) as serve, load(serve) as asked:
        await asyncio.sleep(0.5)
        counted, victim = await serve.counted(), serve.workers[0]
        os.kill(victim, signal.SIGKILL)
        answered = asked.answered
        await serve.until(lambda: len(serve.workers) == 4)
        assert asked.answered > answered
        assert asked.refused == 0
        assert len(asked.lost) <= 12, "only what it had taken itself"
        assert await serve.counted() > counted, "what it had counted is still there"
        assert "worker lost" in serve.log.read_text()
        assert serve.process.poll() is None


async def test_workers_are_renewed_under_load_and_nobody_is_turned_away(installation: Place) -> None:
    async with serving(installation) as serve, load(serve) as asked:
        old = serve.workers
        serve.process.send_signal(signal.SIGHUP)
        await serve.until(lambda: len(serve.workers) == 6 and not any(map(lives, old)))
        answered = asked.answered
        await asyncio.sleep(0.5)
        assert asked.answered > answered > 0
        assert (asked.lost, asked.refused) == ([], 0)


async def test_a_stop_under_load_loses_nothing_that_was_taken(installation: Place) -> None:
    async with serving(installation) as serve, load(serve) as asked:
        await asyncio.sleep(0.5)
        for process in (serve.process.pid, *serve.workers):  # as who ends all processes together
            os.kill(process, signal.SIGTERM)
        assert await asyncio.to_thread(serve.process.wait, WAIT_SECONDS) == 0
        assert asked.answered > 0
        assert asked.lost == []
        assert not any(map(lives, serve.workers))


async def test_no_worker_outlives_a_parent_that_is_killed(installation: Place) -> None:
    async with serving(installation) as serve, load(serve) as asked:
        await asyncio.sleep(0.5)
        serve.process.kill()
        await serve.until(lambda: not any(map(lives, serve.workers)))
        assert asked.lost == [], "they answered what they had taken"


async def test_what_keeps_workers_from_serving_is_told(installation: Place) -> None:
    config = installation.folder / "wrong.toml"
    config.write_text(SETTINGS + API.format(strangers=1) + 'host = "192.0.2.1"\n')
    said = installation.run("serve", "--config", str(config), code=2)
    assert "cannot listen" in said
    elsewhere = '[postgres]\nurl = "postgresql://nobody@127.0.0.1:1/x"\n[nats]\nurl = "nats://127.0.0.1:1"\n'
    config.write_text(SETTINGS + API.format(strangers=1) + elsewhere)
    assert "NATS does not answer" in installation.run("serve", "--config", str(config), code=3)
