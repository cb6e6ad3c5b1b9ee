"""An installation: the composition root of servers, writer, projector and gateways in one process.

    servers -> migrate -> bus -> writer (opens the book) -> registry brought up to the settings
            -> projector and gateways -> ready

It stops in the opposite order: gateways keep what they read in their outboxes, the writer answers what it
took.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from os import getpid
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from api import registering
from api.http.settings import TABLE as API_TABLE
from api.http.settings import ApiSettings, api_from
from api.registering import MeterPlace
from ingest.gateway import Gateway
from ingest.gateway_service import compose, key_file
from ingest.settings import GatewaySettings, gateways_from
from ledger.bus import Bus, BusSettings
from ledger.bus.users import Service, users_text
from ledger.bus_users import Admit, UserList, admit_by_file, service_keys, service_user, still_fits
from ledger.client import BookClient
from ledger.clock import Clock, SystemClock
from ledger.embedded import EmbeddedServers, make_passable
from ledger.event import Event
from ledger.keys import SigningKey
from ledger.opened import check_opened
from ledger.opening import LedgerKeys, opening_event
from ledger.postgres import PostgresSettings
from ledger.postgres.provisioned import keep_provisioned, read_provisioned
from ledger.projector import Projector
from ledger.registry import OPERATOR, Registry
from ledger.services import migrate_store, open_writer
from ledger.settings import FOREIGN_TABLES, Running, Settings, SettingsInvalid, read_toml, settings_from
from ledger.writer import Writer
from settlement.billing.settings import BillingSettings, billing_from
from settlement.publishing import asked_for, checked_documents
from settlement.publishing import missing_events as missing_market_events
from settlement.settings import MarketSettings, market_from

log = structlog.get_logger(__name__)

PARTS_MAX = 20
"""So many of what is brought into the book are named."""
STOP_SECONDS = 8.0
"""How long a service may take to end once it is asked to."""
EXAMPLE_HOST = "192.0.2.10"
"""The template's converter: an address for documentation, at which nobody answers (RFC 5737)."""
EXAMPLE_HINT = (
    "put your converter's host and port under [[gateways.lines]], or those of `energy-ledger simulate`,"
    " 127.0.0.1 and 5020"
)


@dataclass(slots=True)
class Installation:
    """A running installation. `gateways` are those of the settings, started."""

    settings: Settings
    keys: LedgerKeys
    writer: Writer
    gateways: dict[str, Gateway]

    async def connect(self, service: Service) -> Bus:
        """A connection to NATS as one of the ledger's services."""
        return await connect(self.settings, service)


class InstallationSettings(NamedTuple):
    """All tables of a settings file: the book's, the gateways', billing's; market and API if there are."""

    book: Settings
    gateways: tuple[GatewaySettings, ...]
    market: MarketSettings | None
    billing: BillingSettings = BillingSettings()
    api: ApiSettings | None = None


def load_installation(path: Path, environment: Mapping[str, str]) -> InstallationSettings:
    """All tables of an installation's settings file. Raises `SettingsInvalid`, and as `checked_documents`: a
    book keeps its currency for ever, and is not to be opened beside a market that does not fit it."""
    tables = read_toml(path, environment)
    settings = settings_from(tables, path, FOREIGN_TABLES)
    gateways = gateways_from(tables, path)
    buildings = {building.id for building in settings.buildings}
    for gateway in gateways:
        for meter in gateway.meters:
            if meter.building is not None and meter.building not in buildings:
                raise SettingsInvalid(
                    f"meter {meter.id} belongs to building {meter.building}, which is not listed",
                    where=f"{path}: gateways {gateway.id}",
                    hint=f"buildings: {', '.join(sorted(buildings)) or 'none'}",
                )
    billing, market = billing_from(tables, path, buildings), market_from(tables, path)
    if market is not None:
        checked_documents(market, settings)
    api = api_from(tables, path) if API_TABLE in tables else None
    return InstallationSettings(settings, gateways, market, billing, api)


def on_example_address(gateways: Sequence[GatewaySettings]) -> list[str]:
    """The lines that are still where the template has them, in words."""
    return [
        f"{gateway.id} asks {line.name}: this is the template's example address"
        for gateway in gateways
        for line in gateway.lines
        if line.host == EXAMPLE_HOST
    ]


def meter_places(gateways: Sequence[GatewaySettings]) -> list[MeterPlace]:
    """Every meter of the settings and the gateway that reads it."""
    return [
        MeterPlace(meter.id, meter.role, meter.building, meter.model, meter.rated_w, gateway.id)
        for gateway in gateways
        for meter in gateway.meters
    ]


async def connect(settings: Settings, service: Service) -> Bus:
    """A connection to NATS as one of the ledger's services. Raises `BusUnavailable`, `KeyFile`."""
    return await Bus.connect(settings.nats, service, service_user(settings, service))


class Reached(NamedTuple):
    """Settings with servers to reach, and how those are given a list of users."""

    settings: Settings
    admit: Admit | None


@asynccontextmanager
async def reachable(settings: Settings) -> AsyncIterator[Reached]:
    """The servers that the settings name, or embedded ones that last as long as it does."""
    if not settings.is_embedded:
        yield Reached(settings, admit_by_file(settings))
        return
    make_passable(settings.data_folder)
    services = service_keys(settings)
    servers = EmbeddedServers(settings.data_folder)
    if not still_fits(servers.nats.users(), settings.community.id, services):
        await servers.nats.admit(users_text(settings.community.id, services, {}))
    async with servers, background(servers.keep):
        postgres = PostgresSettings(url=servers.postgres.dsn)
        nats = BusSettings(url=servers.nats.url, monitor_url=servers.nats.monitor_url)
        word = Running(getpid(), postgres, nats).write(settings.data_folder)
        try:
            reached = msgspec.structs.replace(settings, postgres=postgres, nats=nats)
            yield Reached(reached, servers.nats.admit)
        finally:
            word.unlink(missing_ok=True)


@asynccontextmanager
async def background(
    service: Callable[[asyncio.Event], Awaitable[None]],
) -> AsyncIterator[asyncio.Task[None]]:
    """A service that runs beside the block and is asked to stop after it; its failure ends the block.

    One that does not end within `STOP_SECONDS` is cancelled, which everything here is made to survive.
    """
    stop = asyncio.Event()
    outer = asyncio.current_task()
    task = asyncio.ensure_future(service(stop))

    def fail(done: asyncio.Task[None]) -> None:
        if outer is not None and not stop.is_set() and not done.cancelled():
            outer.cancel()

    task.add_done_callback(fail)
    try:
        yield task
    except asyncio.CancelledError:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error from None
        raise
    finally:
        stop.set()
        _, at_work = await asyncio.wait([task], timeout=STOP_SECONDS)
        if at_work:
            log.warning("a service does not end by itself, it is cancelled", service=_name(service))
            task.cancel()
            await asyncio.wait([task])
    if not at_work:
        task.result()


def _name(service: Callable[[asyncio.Event], Awaitable[None]]) -> str:
    return str(getattr(service, "__qualname__", service))


@asynccontextmanager
async def running(wanted: InstallationSettings, clock: Clock | None = None) -> AsyncIterator[Installation]:
    """A whole installation, ready within the block and stopped in good order after it."""
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        settings, admit = await stack.enter_async_context(reachable(wanted.book))
        await migrate_store(settings.postgres)
        keys = LedgerKeys.load_or_create(settings.keys_folder)
        bus = await stack.enter_async_context(await connect(settings, "writer"))
        await bus.check_sync()
        await bus.ensure_stream()
        writer = await open_writer(settings, keys, clock)
        stack.push_async_callback(writer.book.close)
        await stack.enter_async_context(background(lambda stop: writer.run(bus, stop)))
        async with await connect(settings, "operator") as operator:
            await provision(wanted._replace(book=settings), keys, operator, writer.book.registry, clock)
        if admit is not None:
            users = UserList(settings.community.id, service_keys(settings), admit)
            await users.refresh(writer.book.registry)
            await stack.enter_async_context(
                background(lambda stop: users.keep(lambda: writer.book.registry, stop))
            )
        projector = Projector(settings.postgres)
        await projector.open()
        await stack.enter_async_context(background(projector.run))
        started = {
            gateway.id: await stack.enter_async_context(compose(gateway, settings, clock))
            for gateway in wanted.gateways
            if not gateway.remote
        }
        yield Installation(settings, keys, writer, started)


async def provision(
    wanted: InstallationSettings, keys: LedgerKeys, bus: Bus, registry: Registry, clock: Clock
) -> int:
    """Bring registry and market up to the settings, signed by the operator; how many events it took.

    Raises `OtherOpening`.
    """
    settings, gateways, market, *_ = wanted
    if registry.opened is not None:
        check_opened(registry.opened, msgspec.structs.asdict(opening_event(settings, keys)))
    gateway_keys = {
        gateway.id: SigningKey.load_or_create(key_file(gateway, settings))
        for gateway in gateways
        if not gateway.remote
    }
    now = clock.now().replace(microsecond=0)
    applied = await read_provisioned(settings.postgres, settings.community.id)
    places = meter_places(gateways)
    lacking = registering.lacking(registry, settings, places, gateway_keys, now, applied)
    missing = {"registry": list(lacking.missing.values())}
    if lacking.missing:
        log.info("the settings ask for something new", parts=list(lacking.missing)[:PARTS_MAX])
    if lacking.otherwise:
        log.warning(
            "the registry was changed otherwise since: the settings' is left alone",
            parts=lacking.otherwise[:PARTS_MAX],
        )
    if lacking.retired:
        log.warning("the settings list meters that are retired: they stay so", meters=lacking.retired)
    if market is not None:
        missing["market"] = _missing_of_market(registry, market, settings, now, applied)
    if any(missing.values()):
        client = BookClient(bus, settings.community.id, OPERATOR, keys.operator, keys.service.public)
        await client.open()
        for stream, events in missing.items():
            await client.append(stream, events)
            log.info("book brought up to the settings", stream=stream, events=len(events))
    parts = dict(registering.asked_for(registry, settings, places, now))
    if market is not None:
        parts |= asked_for(registry.market, market, settings, now)
    await keep_provisioned(settings.postgres, settings.community.id, parts, now)
    return sum(map(len, missing.values()))


def _missing_of_market(
    registry: Registry, market: MarketSettings, settings: Settings, now: datetime, applied: Mapping[str, str]
) -> list[Event]:
    """What the book lacks of the settings' market. A start undoes nothing that an operator has published over
    the API since these settings were brought in."""
    missing = missing_market_events(registry.market, market, settings, now, applied)
    if len(missing) < len(missing_market_events(registry.market, market, settings, now)):
        log.warning("the market was published otherwise since: the settings' is left alone")
    return missing
