"""The API served for a campus on real parts: Postgres, NATS, a writer, and a client for each role."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from api.http.backend import Backend
from api.http.server import served
from api.http.settings import ApiSettings
from ledger.access import AccessKey, Role, new_key
from ledger.bus import Bus
from ledger.clock import SystemClock
from ledger.embedded import EmbeddedNats
from ledger.opening import LedgerKeys
from ledger.postgres import PostgresSettings
from ledger.postgres.pool import Pool
from ledger.registry import OPERATOR, SERVICE
from ledger.settings import CommunitySettings, DataSettings, Settings
from tests.support.running import Site as RunningSite
from tests.support.running import bus_settings, running
from tests.support.trading import Site

V1 = "/v1/communities/campus"


class Api:
    """A served campus of three buildings that trade (`tests.support.trading`), and who asks it."""

    def __init__(self, site: Site, backend: Backend, address: str, bus: RunningSite) -> None:
        self.site = site
        self.backend = backend
        self.address = address
        self.bus = bus
        self._tokens: dict[tuple[Role, str | None], str] = {}

    async def token(self, role: Role, building: str | None = None) -> str:
        """A key of a role, made when it is asked for first."""
        if (role, building) not in self._tokens:
            key, now = new_key(), SystemClock().now()
            row = AccessKey(
                key.prefix, key.digest, "campus", role, building, "", now, now + timedelta(days=1)
            )
            await self.backend.access.add(row)
            self._tokens[role, building] = key.token
        return self._tokens[role, building]

    @asynccontextmanager
    async def client(
        self, role: Role | None = None, building: str | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.AsyncClient]:
        """A client of a role; without one it shows no key."""
        shown = dict(headers or {})
        if role is not None:
            shown["Authorization"] = f"Bearer {await self.token(role, building)}"
        async with httpx.AsyncClient(base_url=self.address, headers=shown, timeout=30) as client:
            yield client


@asynccontextmanager
async def api(database: str, nats: EmbeddedNats, folder: Path, **settings: Any) -> AsyncIterator[Api]:
    """A campus, its writer between NATS and Postgres, and the API on a free port."""
    site = Site(PostgresSettings(url=database))
    await site.open()
    book = Settings(
        CommunitySettings("campus"),
        DataSettings(str(folder / "data")),
        PostgresSettings(url=database),
        bus_settings(nats),
    )
    keys = LedgerKeys(site.campus.keys[SERVICE], site.campus.log_key, site.campus.keys[OPERATOR])
    async with AsyncExitStack() as stack:
        stack.push_async_callback(site.close)
        bus = await stack.enter_async_context(running(site.campus, site.writer, nats))
        pool = await Pool.open(book.postgres, 8)
        stack.push_async_callback(pool.close)
        own = await stack.enter_async_context(await Bus.connect(book.nats, "api"))
        wanted = ApiSettings(port=0, **settings)
        backend = Backend(book, wanted, pool, own, keys, SystemClock())
        address = await stack.enter_async_context(served(backend))
        yield Api(site, backend, address, bus)
