"""The only door to Postgres. One SQL statement a file under `sql/`; migrations run forward only."""

from ledger.postgres.connection import PostgresSettings, connect
from ledger.postgres.errors import Conflict, StoreUnavailable
from ledger.postgres.migrate import migrate

__all__ = ["Conflict", "PostgresSettings", "StoreUnavailable", "connect", "migrate"]
