"""A server of HTTP on loopback that takes what is sent to it, and answers as a test wants."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from ledger.clock import monotonic_seconds

WAIT_SECONDS = 20


class Received(NamedTuple):
    """A request: names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answering = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


def answer(status: int, body: bytes = b"", *fields: str) -> Answering:
    """An answer, with fields such as `Location: /`."""
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *fields, "", ""]

    async def write(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(head).encode() + body)
        await writer.drain()

    return write


class Receiver:
    """What came in, and how it is answered from now on."""

    def __init__(self) -> None:
        self.port = 0
        self.received: list[Received] = []
        self.answering: Answering = answer(204)
        self.connections = 0

    @property
    def url(self) -> str:
        """A path of it that holds a token, as many receivers' do."""
        return f"http://127.0.0.1:{self.port}/hooks/T0KEN"

    async def until(self, count: int) -> list[Received]:
        """All that was received, once there are so many."""
        end = monotonic_seconds() + WAIT_SECONDS
        while len(self.received) < count:
            assert monotonic_seconds() < end, [each.body for each in self.received]
            await asyncio.sleep(0.02)
        return self.received

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, of one request."""
        self.connections += 1
        try:
            begin = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = begin[0].split(" ")
            headers = {
                name.lower(): value
                for name, value in (line.split(": ", 1) for line in begin[1:] if line)
            }  # fmt: skip
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            request = Received(method, path, headers, body)
            self.received.append(request)
            await self.answering(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it hung up
        finally:
            writer.close()


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver that listens for the length of the block."""
    found = Receiver()
    server = await asyncio.start_server(found.take, "127.0.0.1", port, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
