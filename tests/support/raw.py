"""Requests as bytes, for an API that has a slow POST: what no library of HTTP would send."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from litestar import Request, Response, get, post

from ledger.embedded import EmbeddedNats
from tests.support.api import V1, Api, api

BODY_MAX = 4_096
LARGE = 2 * 1024 * 1024
SLOW = f"{V1}/slow"


class Slow:
    """A POST that answers with the size of its body once it may, and a GET whose answer is large."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = asyncio.Event()

    def handlers(self) -> tuple[Any, Any]:
        @post("/slow", may={"public"}, media_type="text/plain")
        async def slow(request: Request[Any, Any, Any]) -> Response[str]:
            body = await request.body()
            self.begun.set()
            await self.go.wait()
            told = f"{len(body)} bytes"
            return Response(
                told, status_code=200, media_type="text/plain", headers={"X-Told": said_in(request)}
            )

        @get("/slow", may={"public"}, media_type="text/plain")
        async def large() -> Response[bytes]:
            return Response(bytes(LARGE), media_type="text/plain")

        return slow, large


def said_in(request: Request[Any, Any, Any]) -> str:
    """What a request says in the field `Tell`."""
    return str(request.headers.get("tell", ""))


@asynccontextmanager
async def slow_campus(database: str, nats: EmbeddedNats, folder: Path) -> AsyncIterator[tuple[Api, Slow]]:
    """A campus whose API is that POST and that GET, and takes small bodies only."""
    slow = Slow()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.http.app.OF_A_COMMUNITY", slow.handlers())
        async with api(database, nats, folder, body_bytes_max=BODY_MAX) as found:
            yield found, slow


@asynccontextmanager
async def connected(found: Api) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = found.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


async def said(found: Api, *data: bytes, end: bool = False) -> bytes:
    """All that comes back until the server closes."""
    async with connected(found) as (reader, writer), asyncio.timeout(20):
        for part in data:
            writer.write(part)
        if end:
            writer.write_eof()
        try:
            return await reader.read()
        except ConnectionResetError:  # closed while more was still coming
            return b""


def head(method: str = "GET", path: str = "/livez", *fields: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode("latin-1")


def problem_of(answer: bytes) -> dict[str, Any]:
    begin, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in begin
    found: dict[str, Any] = json.loads(body)
    return found
