"""A campus with a live stream, and those who listen to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import websockets

from api.http.backend import Backend
from ledger.embedded import EmbeddedNats
from tests.support.api import V1, Api, api
from tests.support.campus import MORNING
from tests.support.trading import HOUR, quarters

LIVE = f"{V1}/buildings/b-1/live"
WAIT_SECONDS = 20
Message = dict[str, Any]


@asynccontextmanager
async def told_campus(database: str, nats: EmbeddedNats, folder: Path) -> AsyncIterator[Api]:
    """A campus whose first hour is settled; then a late reading has settled part of it anew."""
    async with api(database, nats, folder) as found:
        site = found.site
        await quarters(site, 0, 2)
        await site.read("m-0", (4, 0, 8_000))
        await site.read("m-1", (3, 3_000, 0), (4, 4_000, 0))
        await site.read("m-2", (3, 9_000, 0), (4, 12_000, 0))
        await site.clock.sleep_until(MORNING + HOUR)
        await site.settle()
        await site.read("m-0", (3, 0, 5_000))
        await site.settle()
        await site.projector.catch_up()
        yield found


@asynccontextmanager
async def sse(
    client: httpx.AsyncClient, path: str = LIVE, *, last: str = "", **params: str
) -> AsyncIterator[AsyncIterator[Message]]:
    """The messages of a stream of Server-Sent Events, `opened` taken off."""
    headers = {"Last-Event-ID": last} if last else {}
    async with client.stream("GET", path, params=params, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        messages = events(answer)
        assert (await anext(messages))["event"] == "opened"
        yield messages


async def events(answer: httpx.Response) -> AsyncIterator[Message]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if "data" in fields:
                told = msgspec.json.decode(fields["data"])
                assert told["event"] == fields["event"]
                yield {"id": fields["id"], **told}
            elif "" in fields:
                yield {"id": fields["id"], "event": "heartbeat"}
            fields = {}


@asynccontextmanager
async def ws(
    found: Api, path: str = LIVE, token: str | None = None, address: str = ""
) -> AsyncIterator[websockets.ClientConnection]:
    """A WebSocket of the building b-1, `opened` taken off."""
    shown = token or await found.token("building", "b-1")
    url = (address or found.address).replace("http", "ws") + path
    async with websockets.connect(url, additional_headers={"Authorization": f"Bearer {shown}"}) as socket:
        assert msgspec.json.decode(await socket.recv())["event"] == "opened"
        yield socket


async def heard(messages: AsyncIterator[Message], count: int) -> list[Message]:
    """The next so many messages."""
    async with asyncio.timeout(WAIT_SECONDS):
        return [await anext(messages) for _ in range(count)]


async def ended(messages: AsyncIterator[Message]) -> list[Message]:
    """All messages up to the end."""
    async with asyncio.timeout(WAIT_SECONDS):
        return [message async for message in messages]


async def told_on(socket: websockets.ClientConnection) -> AsyncIterator[Message]:
    async for text in socket:
        yield msgspec.json.decode(text)


async def everything(client: httpx.AsyncClient) -> list[Message]:
    """All that there is to tell of the campus's beginning: 5 readings, 4 intervals, and what was mended."""
    async with sse(client, after="0.0") as messages:
        first = await heard(messages, 5 + 2 * 4)
        again = [message for message in first if message.get("revised")]
        return first + await heard(messages, 4 - len(again))


def another(found: Api) -> Backend:
    """As another process has it, beside the first."""
    one = found.backend
    return Backend(one.book, one.settings, one.pool, one.bus, one.ledger, one.clock)


async def refusal(client: httpx.AsyncClient, path: str = LIVE, **params: str) -> tuple[int, str]:
    answer = await client.get(path, params=params)
    return answer.status_code, answer.json()["code"]
