"""What others write into NATS, and what the server says, neither silences a connection nor ends it."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from ledger.bus import Bus, BusUnavailable
from ledger.bus.connection import RECONNECT_SECONDS
from ledger.embedded import EmbeddedNats
from tests.support.running import bus_settings

_numbers = count(1)

HEADERS = {
    "one byte": b"x",
    "a version without a line end": b"NATS/1.0",
    "a version alone": b"NATS/1.0\r\n\r\n",
    "a status that is no text": b"NATS/1.0 \xff\xff\xff\r\n\r\n",
    "a status that is cut off": b"NATS/1.0 \xff",
    "a description that is no text": b"NATS/1.0 200 \xff\xff\r\n\r\n",
    "a value that is no text": b"NATS/1.0\r\nfoo: \xff\xfe\r\n\r\n",
    "zeros": bytes(40),
}


async def tell(nats: EmbeddedNats, said: bytes) -> None:
    """Say something to the server in its own words, and wait until it has heard them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(nats.url.rpartition(":")[2]))
    await reader.readline()
    token = nats.token_file.read_text().strip()
    writer.write(f'CONNECT {{"verbose":false,"headers":true,"auth_token":"{token}"}}\r\n'.encode())
    writer.write(said + b"PING\r\n")
    while (line := await reader.readline()) != b"PONG\r\n":
        assert line, "the server hung up"
    writer.close()


@asynccontextmanager
async def conversing(nats: EmbeddedNats) -> AsyncIterator[tuple[Bus, str]]:
    """A connection that asks another one, and the community that they speak of."""
    community = f"bus-{next(_numbers)}-{os.getpid()}"
    settings = bus_settings(nats)

    async def answer(device: str) -> bytes:
        return device.encode()

    async with await Bus.connect(settings, "server") as server, await Bus.connect(settings, "client") as bus:
        await server.serve_heads(community, answer)
        yield bus, community


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
async def test_a_header_that_nobody_can_read_silences_no_connection(
    nats_server: EmbeddedNats, header: bytes
) -> None:
    async with conversing(nats_server) as (bus, community):
        size = len(header)
        subject = f"ledger.{community}.heads.gw-1".encode()
        await tell(nats_server, b"HPUB %s nobody %d %d\r\n%s\r\n" % (subject, size, size, header))
        assert await bus.ask_heads(community, "gw-2") == b"gw-2"


async def test_a_place_to_answer_that_nobody_can_read_silences_no_connection(
    nats_server: EmbeddedNats,
) -> None:
    async with conversing(nats_server) as (bus, community):
        await tell(nats_server, f"PUB ledger.{community}.heads.gw-1 ".encode() + b"\xff\xfe 0\r\n\r\n")
        assert await bus.ask_heads(community, "gw-2") == b"gw-2"


def exchange(path: Path, old: str, new: str) -> None:
    """Put one word for another in a file."""
    path.write_text(path.read_text().replace(old, new))


async def until_silent(bus: Bus, community: str) -> None:
    """Return when the connection is lost."""
    with contextlib.suppress(BusUnavailable):
        while True:
            await bus.ask_heads(community, "gw-1")


async def until_answered(bus: Bus, community: str) -> bytes:
    """The answer, as soon as there is one."""
    async with asyncio.timeout(10 * RECONNECT_SECONDS + 20):
        while True:
            try:
                return await bus.ask_heads(community, "gw-1")
            except BusUnavailable:
                await asyncio.sleep(0.1)


def _revoked_and_given_back(nats: EmbeddedNats, token: str) -> None:
    exchange(nats.folder / "server.conf", "another", token)


def _exchanged(nats: EmbeddedNats, token: str) -> None:
    exchange(nats.token_file, token, "another")


@pytest.mark.parametrize("mend", [_revoked_and_given_back, _exchanged])
async def test_a_server_that_will_not_have_the_token_is_asked_again_until_it_takes_one(
    server_folder: Path, mend: Callable[[EmbeddedNats, str], None]
) -> None:
    async with EmbeddedNats(server_folder) as nats, conversing(nats) as (bus, community):
        assert await until_answered(bus, community) == b"gw-1"
        token = nats.token_file.read_text().strip()
        exchange(nats.folder / "server.conf", token, "another")
        os.kill(nats.pid, signal.SIGHUP)  # it throws out everybody who has the old one
        await until_silent(bus, community)
        mend(nats, token)
        os.kill(nats.pid, signal.SIGHUP)
        assert await until_answered(bus, community) == b"gw-1"
