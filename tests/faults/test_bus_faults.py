"""What others write into NATS, and what the server says, neither silences a connection nor ends it."""

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import nkeys  # type: ignore[import-untyped]  # the library has no types
import pytest

from ledger.bus import Bus, BusRefused, BusUnavailable
from ledger.bus.connection import RECONNECT_SECONDS
from ledger.bus.users import users_text
from ledger.embedded import EmbeddedNats
from ledger.keys import SigningKey
from tests.support.nats import EVERYTHING, seed_file
from tests.support.running import bus_settings

_numbers = count(1)

OTHERS = users_text("elsewhere", {"writer": SigningKey.generate().public}, {})

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
    nonce = json.loads((await reader.readline()).removeprefix(b"INFO "))["nonce"]
    pair = nkeys.from_seed(bytearray(seed_file(nats).read_bytes()))
    proof = {"nkey": pair.public_key.decode(), "sig": base64.b64encode(pair.sign(nonce.encode())).decode()}
    writer.write(b"CONNECT " + json.dumps({"verbose": False, "headers": True, **proof}).encode() + b"\r\n")
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


async def until_silent(bus: Bus, community: str) -> None:
    """Return when the connection is lost."""
    with contextlib.suppress(BusUnavailable):
        while True:
            await bus.ask_heads(community, "gw-1")


async def is_refused(bus: Bus, community: str) -> bool:
    """Whether a question comes to nothing because of who asks."""
    with pytest.raises(BusUnavailable) as failed:
        await bus.ask_heads(community, "gw-1")
    return isinstance(failed.value, BusRefused)


async def until_answered(bus: Bus, community: str) -> bytes:
    """The answer, as soon as there is one."""
    async with asyncio.timeout(10 * RECONNECT_SECONDS + 20):
        while True:
            try:
                return await bus.ask_heads(community, "gw-1")
            except BusUnavailable:
                await asyncio.sleep(0.1)


async def test_a_server_that_throws_somebody_out_is_asked_again_until_it_lets_it_in(
    server_folder: Path,
) -> None:
    async with EmbeddedNats(server_folder) as nats, conversing(nats) as (bus, community):
        assert await until_answered(bus, community) == b"gw-1"
        await nats.admit(OTHERS)
        await until_silent(bus, community)
        async with asyncio.timeout(20):
            while not await is_refused(bus, community):
                pass
        await nats.admit(EVERYTHING)
        assert await until_answered(bus, community) == b"gw-1"
