"""The API as its settings want it: in this process, or in several workers of which this one takes care."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from api.http.settings import ApiSettings, api_from
from api.http.workers import kept
from ledger.bus import Bus
from ledger.bus_users import service_user
from ledger.command_line import environment, tell_libraries
from ledger.garbage import no_search_in_what_is
from ledger.settings import FOREIGN_TABLES, Settings, read_toml, settings_from, with_servers
from settlement.billing.settings import BillingSettings, billing_from


def api_settings(path: Path) -> tuple[Settings, ApiSettings, BillingSettings]:
    """The tables that the API works by, with servers that can be reached. Raises `SettingsInvalid`."""
    tables = read_toml(path, environment())
    settings = with_servers(settings_from(tables, path, FOREIGN_TABLES))
    billing = billing_from(tables, path, {building.id for building in settings.buildings})
    return settings, api_from(tables, path), billing


@asynccontextmanager
async def in_workers(config: Path, api: ApiSettings) -> AsyncIterator[str]:
    """The API served by its `workers`, each of which reads the settings itself; the address.

    Raises `CannotListen`, and what keeps a worker from serving.
    """
    from api.http.metrics import forget_process  # noqa: PLC0415 - a worker tells it something first
    from api.http.server import address_of, listening_at  # noqa: PLC0415 - as above

    with TemporaryDirectory(prefix="energy-ledger-api-") as folder:
        listening, gone = listening_at(api), partial(forget_process, Path(folder))
        async with kept(api.workers, partial(_work, config, Path(folder)), listening, gone):
            yield address_of(listening)


async def _work(
    config: Path, folder: Path, listening: socket.socket, ready: Callable[[], None], stop: asyncio.Event
) -> None:
    """What each worker does."""
    tell_libraries("PROMETHEUS_MULTIPROC_DIR", str(folder))
    from api.http.limits import Limits  # noqa: PLC0415 - it has to be told before that
    from api.http.server import backend_of, served  # noqa: PLC0415 - as above

    settings, api, billing = api_settings(config)
    async with (
        await Bus.connect(settings.nats, "api", service_user(settings, "api")) as bus,
        backend_of(settings, api, bus, billing, limits=Limits(folder)) as backend,
        served(backend, listening, folder),
    ):
        with no_search_in_what_is():
            ready()
            await stop.wait()


@asynccontextmanager
async def in_this_process(
    settings: Settings, api: ApiSettings, billing: BillingSettings
) -> AsyncIterator[str]:
    """The API served here; the address. Raises `CannotListen`, and what keeps it from serving."""
    from api.http.server import backend_of, served  # noqa: PLC0415 - workers tell it something first

    async with (
        await Bus.connect(settings.nats, "api", service_user(settings, "api")) as bus,
        backend_of(settings, api, bus, billing) as backend,
        served(backend) as address,
    ):
        with no_search_in_what_is():
            yield address
