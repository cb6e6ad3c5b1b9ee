"""`energy-ledger serve`: the API as a process of its own."""

import asyncio

import structlog

from api.http.server import backend_of, served
from api.http.settings import api_from
from api.installation import background
from api.witness_service import witnessing
from ledger.bus import Bus
from ledger.bus_users import service_user
from ledger.command_line import DEFAULT_CONFIG, ConfigPath, configure_logs, environment
from ledger.command_line import serve as serve_until
from ledger.settings import FOREIGN_TABLES, read_toml, settings_from, with_servers
from settlement.billing.settings import billing_from

log = structlog.get_logger(__name__)


def serve(*, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Serve the API until Ctrl-C or SIGTERM; what it took by then is answered.

    Where it listens stands under [api] in the settings. `/docs` is its description, for people.
    """
    configure_logs()
    tables = read_toml(config, environment())
    settings = with_servers(settings_from(tables, config, FOREIGN_TABLES))
    api = api_from(tables, config)
    billing = billing_from(tables, config, {building.id for building in settings.buildings})

    async def until(stop: asyncio.Event) -> None:
        async with (
            background(witnessing(settings, api).run),
            await Bus.connect(settings.nats, "api", service_user(settings, "api")) as bus,
            backend_of(settings, api, bus, billing) as backend,
            served(backend) as address,
        ):
            log.info("api ready", address=address, community=settings.community.id)
            await stop.wait()

    serve_until(until)
