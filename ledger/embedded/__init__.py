"""The servers of production, started and stopped by the ledger itself in a data folder.

No container, no root, no network: the programs come with the ledger's dependencies, and what is
started here ends with the process that started it.

    async with EmbeddedServers(Path("data")) as servers:
        servers.postgres.dsn, servers.nats.url
"""

from ledger.embedded.errors import (
    AccountMissing,
    CommandFailed,
    FolderClosed,
    FolderInUse,
    OtherVersion,
    PortInUse,
    ServerMissing,
    StartFailed,
)
from ledger.embedded.folder import make_passable
from ledger.embedded.nats import EmbeddedNats, NatsServerSettings
from ledger.embedded.postgres import EmbeddedPostgres, PostgresServerSettings
from ledger.embedded.servers import EmbeddedServers

__all__ = [
    "AccountMissing",
    "CommandFailed",
    "EmbeddedNats",
    "EmbeddedPostgres",
    "EmbeddedServers",
    "FolderClosed",
    "FolderInUse",
    "NatsServerSettings",
    "OtherVersion",
    "PortInUse",
    "PostgresServerSettings",
    "ServerMissing",
    "StartFailed",
    "make_passable",
]
