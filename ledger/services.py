"""The book's long-running services, composed from the settings: each can be a process of its own."""

import asyncio

import structlog

from ledger.book import Book
from ledger.bus import Bus
from ledger.bus_users import UserList, admit_by_file, service_keys, service_user
from ledger.clock import Clock, SystemClock
from ledger.events import read_recorded
from ledger.opening import LedgerKeys, opening_event
from ledger.postgres import PostgresSettings, connect, migrate
from ledger.postgres.appender import Appender
from ledger.postgres.connection import close
from ledger.projector import Projector
from ledger.registry import Registry
from ledger.settings import Settings
from ledger.writer import Writer

log = structlog.get_logger(__name__)


async def migrate_store(postgres: PostgresSettings) -> list[str]:
    """Bring the database to this version; the names of the steps it took."""
    connection = await connect(postgres, name="migrate")
    try:
        return await migrate(connection)
    finally:
        await close(connection)


async def open_writer(settings: Settings, keys: LedgerKeys, clock: Clock | None = None) -> Writer:
    """The community's writer with its book open. Raises `StoreUnavailable`, `Damaged`, `BadInput`."""
    clock = clock or SystemClock()
    book = Book(settings.community.id, settings.postgres, keys.service, keys.log, clock)
    await book.open()
    await book.open_community(opening_event(settings, keys))
    return Writer(book, clock, settings.writer)


async def registry_of(settings: Settings) -> Registry:
    """The registry as the book has it now."""
    store = await Appender.open(settings.postgres, "registry")
    try:
        registry = Registry(settings.community.id)
        for event in read_recorded(await store.registry_bodies(settings.community.id)):
            registry.apply(event)
        return registry
    finally:
        await store.close()


async def run_writer(settings: Settings, stop: asyncio.Event) -> None:
    """Write the community's book until `stop` is set."""
    keys = LedgerKeys.load_or_create(settings.keys_folder)
    users = _user_list(settings)
    name = f"writer {settings.community.id}"
    async with await Bus.connect(settings.nats, name, service_user(settings, "writer")) as bus:
        await bus.check_sync()
        await bus.ensure_stream()
        writer = await open_writer(settings, keys)
        log.info("writer ready", community=settings.community.id, size=writer.book.size)
        listing = asyncio.ensure_future(_list_users(users, writer, stop))
        try:
            await writer.run(bus, stop)
        finally:
            stop.set()
            await listing
            await writer.book.close()


def _user_list(settings: Settings) -> UserList | None:
    """The servers' list of users, where the settings say where they read it. Raises `KeyFile`."""
    admit = admit_by_file(settings)
    return UserList(settings.community.id, service_keys(settings), admit) if admit is not None else None


async def _list_users(users: UserList | None, writer: Writer, stop: asyncio.Event) -> None:
    """Keep that list near the registry."""
    if users is not None:
        await users.keep(lambda: writer.book.registry, stop)


async def run_projector(settings: Settings, stop: asyncio.Event) -> None:
    """Keep the projections of all communities near their books until `stop` is set."""
    projector = Projector(settings.postgres)
    await projector.open()
    log.info("projector ready")
    await projector.run(stop)
