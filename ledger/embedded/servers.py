"""Both servers of an installation, started and stopped together in one data folder."""

import asyncio
import contextlib
from collections.abc import Awaitable
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from ledger.embedded.errors import StartFailed
from ledger.embedded.folder import make_passable
from ledger.embedded.mending import Mender, has_room
from ledger.embedded.nats import EmbeddedNats, NatsServerSettings
from ledger.embedded.postgres import EmbeddedPostgres, PostgresServerSettings
from ledger.embedded.server import EmbeddedServer

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
"""How often it is looked whether both still run."""


class EmbeddedServers:
    """Postgres in `<folder>/postgres` and nats-server in `<folder>/nats`."""

    def __init__(
        self,
        folder: Path,
        postgres: PostgresServerSettings | None = None,
        nats: NatsServerSettings | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.postgres = EmbeddedPostgres(self.folder / "postgres", postgres)
        self.nats = EmbeddedNats(self.folder / "nats", nats)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start both at once. Raises as `EmbeddedServer.start` does; then neither runs."""
        make_passable(self.folder)
        try:
            await _both(self.postgres.start(), self.nats.start())
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop both at once, in good order."""
        await _both(self.postgres.stop(), self.nats.stop())

    async def keep(self, stop: asyncio.Event) -> None:
        """Start again whichever ends by itself, and NATS when it stores no more, until `stop` is set.

        Raises as `start` does, but for a full disk: room is waited for.
        """
        mender = Mender(self.nats)
        waiting: set[str] = set()
        while not stop.is_set():
            for server in (self.postgres, self.nats):
                try:
                    if not server.running:
                        await _start_again(server, waiting)
                    elif server is self.nats:
                        await mender.look()
                except (StartFailed, OSError) as error:
                    if has_room(server.folder):
                        raise
                    log.error("server not started", server=server.program_name, detail=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await stop.wait()


async def _start_again(server: EmbeddedServer, waiting: set[str]) -> None:
    """Start one that ended by itself, as soon as its disk has room; `waiting` are those of which it was told
    that they wait."""
    name = server.program_name
    if not has_room(server.folder):
        if name not in waiting:
            hint = f"make room under {server.folder}"
            log.error("server ended by itself and waits for room on its disk", server=name, hint=hint)
        waiting.add(name)
        return
    waiting.discard(name)
    log.error("server ended by itself", server=name, log=str(server.log_file))
    await server.start()


async def _both(first: Awaitable[None], second: Awaitable[None]) -> None:
    """Wait for both to end, also if one fails; then raise the first failure as it is."""
    for outcome in await asyncio.gather(first, second, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
