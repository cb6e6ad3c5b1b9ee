"""What the library does not outlive in talking to a server costs no connection and closes none."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ledger.bus.tolerant import TolerantClient
from ledger.embedded import EmbeddedNats
from tests.support.nats import seed_file

HELLO = b"INFO " + json.dumps({"server_id": "S", "max_payload": 1_048_576}).encode() + b"\r\n"
PONG = b"PONG\r\n"
REFUSAL = b"-ERR 'Maximum Connections Exceeded'\r\n"


class MoodyServer:
    """Answers the introductions of its clients one after another as it was told to."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self.left: list[asyncio.Event] = []
        self.hang_up = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = asyncio.Event()
        self.left.append(left)
        writer.write(HELLO)
        await reader.readuntil(b"PING\r\n")
        writer.write(self._answers.pop(0))
        if len(self.left) == 1:
            await self.hang_up.wait()
            writer.close()
        while line := await reader.readline():
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
        left.set()
        writer.close()


@asynccontextmanager
async def serving(server: MoodyServer) -> AsyncIterator[str]:
    async with await asyncio.start_server(server.serve, "127.0.0.1") as listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"nats://127.0.0.1:{port}"


async def test_a_connection_that_was_refused_is_closed_before_the_next_is_made() -> None:
    server = MoodyServer(PONG, REFUSAL, REFUSAL, PONG)
    came_back = asyncio.Event()

    async def note() -> None:
        came_back.set()

    async with serving(server) as url, asyncio.timeout(10):
        client = TolerantClient()
        await client.connect(
            [url], reconnect_time_wait=0, max_reconnect_attempts=-1, error_cb=_ignore, reconnected_cb=note
        )
        server.hang_up.set()
        await came_back.wait()
        for left in server.left[1:3]:
            await left.wait()
        await client.close()


async def test_an_answer_that_nobody_waits_for_any_longer_leaves_the_connection_alive(
    nats_server: EmbeddedNats,
) -> None:
    """A flush that is cancelled leaves its place in the row; the server answers it all the same."""
    async with asyncio.timeout(10):
        client = TolerantClient()
        await client.connect([nats_server.url], nkeys_seed=str(seed_file(nats_server)))
        broken_off = asyncio.get_running_loop().create_future()
        await client._send_ping(broken_off)
        broken_off.cancel()
        await client.flush(timeout=2)
        await client.close()


async def _ignore(error: Exception) -> None:
    pass
