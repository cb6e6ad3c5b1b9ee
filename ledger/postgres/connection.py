"""Connections: how they are made and which role and search path they work under."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import asyncpg
import msgspec

from ledger.clock import monotonic_seconds
from ledger.postgres.errors import StoreSettings, StoreUnavailable, translated

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

APP = "energy_ledger_app"
PROJECTOR = "energy_ledger_projector"
BUILDING = "energy_ledger_building"

CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 120.0
STARTING_POLL_SECONDS = 0.1
IDLE_SECONDS_MAX = 120
_SQL = Path(__file__).parent / "sql"


class PostgresSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach Postgres. The password is named by file, never written here."""

    url: str = ""  # empty: the embedded server
    password_file: str = ""

    def password(self) -> str | None:
        """The password in the file that the settings name. Raises `StoreUnavailable`: it may come yet."""
        try:
            return Path(self.password_file).read_text().strip() if self.password_file else None
        except (OSError, ValueError) as error:
            raise StoreUnavailable(
                f"the password cannot be read: {type(error).__name__}", where=self.password_file
            ) from error


@cache
def statement(name: str) -> str:
    """The SQL of `sql/<name>.sql`."""
    return (_SQL / f"{name}.sql").read_text()


def storable(values: Iterable[Any]) -> tuple[Any, ...]:
    """The values of a row, with the zero bytes that Postgres does not keep in text shown as U+FFFD."""
    return tuple(
        value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
        for value in values
    )


async def connect(
    settings: PostgresSettings, *, name: str, role: str = "", search_path: str = "", lock_seconds: int = 0
) -> Connection:
    """One connection that works as `role` (the login's own when empty), and waits for a lock so long (without
    bound when 0).

    Raises `StoreUnavailable`, or `StoreSettings` for settings that no server can answer to.

    `synchronous_commit` is asked for by every connection: a server or database default that relaxes it
    would break the promise of a receipt.
    """
    session = {
        "application_name": f"energy-ledger {name}",
        "timezone": "UTC",
        "synchronous_commit": "on",
        # A client that was cut off in the middle must not hold the fence until the kernel gives it up.
        "idle_in_transaction_session_timeout": f"{IDLE_SECONDS_MAX}s",
        "tcp_keepalives_idle": "30",
    }
    if role:
        session["role"] = role
    if search_path:
        session["search_path"] = search_path
    if lock_seconds:
        session["lock_timeout"] = f"{lock_seconds}s"
    deadline = monotonic_seconds() + CONNECT_SECONDS
    while True:
        try:
            with translated():
                return await _connected(settings, session)
        except StoreUnavailable as error:
            # A server that is starting, or recovering after a crash, says so and is ready in a moment.
            starting = isinstance(error.__cause__, asyncpg.CannotConnectNowError)
            if not starting or monotonic_seconds() > deadline:
                raise
            await asyncio.sleep(STARTING_POLL_SECONDS)


async def _connected(settings: PostgresSettings, session: dict[str, str]) -> Connection:
    password = settings.password()
    try:
        return await asyncpg.connect(
            settings.url,
            password=password,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings=session,
        )
    except ValueError as error:
        # The library's words are left out: they may quote the address, and that may hold a password.
        raise StoreSettings(
            "this is not the address of a Postgres",
            where="postgres.url",
            hint="postgresql://user@host:5432/database",
        ) from error


@asynccontextmanager
async def transaction(
    connection: Connection, isolation: Literal["repeatable_read"] | None = None
) -> AsyncIterator[None]:
    """A transaction that leaves nothing open behind it.

    Whoever is interrupted while it begins would leave a connection on which the next transaction is a mere
    savepoint within this one: it seems to commit and does not. Such a connection is never used again.
    """
    try:
        async with connection.transaction(isolation=isolation):
            yield
    except Exception:
        raise
    except BaseException:
        connection.terminate()
        raise


async def close(connection: Connection) -> None:
    """Leave politely, or at once when the server no longer answers."""
    try:
        async with asyncio.timeout(2):
            await connection.close()
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
