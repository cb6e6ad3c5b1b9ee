"""Real servers for the tests: started once, shared by all, gone with the test run however it ends."""

import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from ledger.postgres.connection import PostgresSettings, connect
from ledger.postgres.migrate import migrate

# How long a draw takes is the machine's affair, which may be busy, and says nothing of what is tested.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server_root() -> Iterator[Path]:
    """A folder for servers: its path is short enough for a socket, and it can be passed through by the
    account that servers run as when root runs the tests, unlike pytest's own temporary folders."""
    with tempfile.TemporaryDirectory(prefix="ledger-test-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def server_folder(server_root: Path) -> Path:
    """A place for one more server, which makes it when it starts."""
    return server_root / f"server-{next(_numbers)}"


@pytest.fixture(scope="session")
async def postgres_server(server_root: Path) -> AsyncIterator[EmbeddedPostgres]:
    """The Postgres that all tests share. A test that stops or breaks one starts its own."""
    async with EmbeddedPostgres(server_root / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
async def nats_server(server_root: Path) -> AsyncIterator[EmbeddedNats]:
    """The nats-server that all tests share. A test that stops or breaks one starts its own."""
    async with EmbeddedNats(server_root / "nats") as server:
        yield server


@pytest.fixture
async def empty_database(postgres_server: EmbeddedPostgres) -> AsyncIterator[str]:
    """The dsn of an empty database of the test's own."""
    name = f"test_{next(_numbers)}"
    yield await postgres_server.create_database(name)
    await postgres_server.drop_database(name)


@pytest.fixture
async def database(empty_database: str) -> str:
    """The dsn of a database of the test's own with all migrations.

    They are run each time, which takes 20 ms: a copy of a migrated database would lack the rights that a
    migration grants on the database itself.
    """
    connection = await connect(PostgresSettings(url=empty_database), name="test")
    await migrate(connection)
    await connection.close()
    return empty_database
