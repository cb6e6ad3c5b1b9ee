"""A wire to Postgres that can be cut at any one request: before the server gets it, or after it is done.

What a client asks is passed on request by request, so that each storage call can be tried as *failed* and
as *failed but done* with nothing in the client or the server replaced. A request ends with the message after
which the server answers (PostgreSQL 18, section 54.2): Query, Sync, CopyDone, CopyFail, or Flush behind a
Describe. An answer ends with ReadyForQuery, with CopyInResponse where the server waits for rows, and after a
Flush with the description or an error.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Literal, Self
from urllib.parse import parse_qs, quote, urlsplit

from ledger.postgres import PostgresSettings

Moment = Literal["before", "after"]

_FLUSH, _TERMINATE = b"H", b"X"
_REQUEST_ENDS = b"QScf" + _FLUSH + _TERMINATE
_ANSWER_ENDS = b"ZG"
_DESCRIPTION_ENDS = b"TnE"


class Cut(Exception):
    """The wire was cut here."""


class Cutter:
    """A unix socket in `folder` behind which `dsn`'s server stands."""

    def __init__(self, dsn: str, folder: Path) -> None:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
        self._name = f".s.PGSQL.{query['port'][0]}"
        self._target = Path(query["host"][0]) / self._name
        self._folder = folder
        self.settings = PostgresSettings(
            url=f"{parts.scheme}://{parts.netloc}{parts.path}"
            f"?host={quote(str(folder), safe='')}&port={query['port'][0]}"
        )
        self.requests = 0
        self.is_down = False  # then nobody new gets through
        self._at: int | bytes | None = None
        self._moment: Moment = "before"
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> Self:
        self._folder.mkdir(mode=0o700)
        self._server = await asyncio.start_unix_server(self._relay, self._folder / self._name)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for to_client in self._open.values():
            to_client.transport.abort()
        await asyncio.gather(*self._open, return_exceptions=True)

    def cut_at(self, request: int | bytes | None, moment: Moment = "before") -> None:
        """Cut the wire once: at the request with this number, counted from 0 and from now, or at the first
        that holds these bytes."""
        self.requests, self._at, self._moment = 0, request, moment

    async def _relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self.is_down:
            to_client.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = to_client
        server, to_server = await asyncio.open_unix_connection(self._target)
        try:
            request, end = await _packet(client), b""  # the start-up message has no type
            while end != _TERMINATE:
                answer_ends = _DESCRIPTION_ENDS if end == _FLUSH else _ANSWER_ENDS
                to_client.write(await self._ask(request, answer_ends, server, to_server))
                await to_client.drain()
                request, end = await _messages(client, _REQUEST_ENDS)
        except (Cut, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            del self._open[task]
            for writer in (to_client, to_server):
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    async def _ask(
        self, request: bytes, ends: bytes, server: asyncio.StreamReader, to_server: asyncio.StreamWriter
    ) -> bytes:
        is_here = self._at in request if isinstance(self._at, bytes) else self.requests == self._at
        self.requests += 1
        if is_here:
            self._at = None
        if is_here and self._moment == "before":
            raise Cut
        to_server.write(request)
        await to_server.drain()
        answer, _ = await _messages(server, ends)
        if is_here:
            raise Cut
        return answer


async def _packet(reader: asyncio.StreamReader) -> bytes:
    length = await reader.readexactly(4)
    return length + await reader.readexactly(int.from_bytes(length, "big") - 4)


async def _messages(reader: asyncio.StreamReader, ends: bytes) -> tuple[bytes, bytes]:
    """Whole messages up to and including the first whose type is one of `ends`, and that type."""
    found = b""
    while True:
        kind = await reader.readexactly(1)
        found += kind + await _packet(reader)
        if kind in ends:
            return found, kind
