"""Both servers of an installation, started and stopped together in one data folder."""

import asyncio
import contextlib
from collections.abc import Awaitable
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from ledger.embedded.folder import make_passable
from ledger.embedded.nats import EmbeddedNats, NatsServerSettings
from ledger.embedded.postgres import EmbeddedPostgres, PostgresServerSettings

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
        """Start again whichever ends by itself, until `stop` is set. Raises as `start` does."""
        while not stop.is_set():
            for server in (self.postgres, self.nats):
                if not server.running:
                    log.error("server ended by itself", server=server.program_name, log=str(server.log_file))
                    await server.start()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await stop.wait()


async def _both(first: Awaitable[None], second: Awaitable[None]) -> None:
    """Wait for both to end, also if one fails; then raise the first failure as it is."""
    for outcome in await asyncio.gather(first, second, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
