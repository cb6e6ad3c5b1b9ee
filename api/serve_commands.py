"""`energy-ledger serve`: the API as a process of its own, or several behind one address."""

import asyncio
from typing import Annotated

import msgspec
import structlog
from cyclopts import Parameter
from cyclopts.validators import Number

from api.http.settings import WORKERS_MAX
from api.installation import background
from api.serving import api_settings, in_this_process, in_workers
from api.witness_service import witnessing
from ledger.command_line import DEFAULT_CONFIG, ConfigPath, configure_logs
from ledger.command_line import serve as serve_until

log = structlog.get_logger(__name__)


def serve(
    *,
    config: ConfigPath = DEFAULT_CONFIG,
    workers: Annotated[
        int | None, Parameter(env_var="ENERGY_LEDGER_API_WORKERS", validator=Number(gte=1, lte=WORKERS_MAX))
    ] = None,
) -> None:
    """Serve the API until Ctrl-C or SIGTERM; what it took by then is answered.

    Where it listens stands under [api] in the settings. `/docs` is its description, for people. With several
    workers SIGHUP puts new ones in their places, which read the settings again, and turns nobody away.

    Parameters
    ----------
    workers
        So many processes serve; by default what the settings say, or one.
    """
    configure_logs()
    settings, api, billing = api_settings(config)
    api = msgspec.structs.replace(api, workers=workers or api.workers)
    serving = in_this_process(settings, api, billing) if api.workers == 1 else in_workers(config, api)

    async def until(stop: asyncio.Event) -> None:
        async with background(witnessing(settings, api).run), serving as address:
            log.info("api ready", address=address, community=settings.community.id, workers=api.workers)
            await stop.wait()

    serve_until(until)
