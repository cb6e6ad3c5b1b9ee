"""How far the parts of a community are, in one look at the store."""

from datetime import datetime
from typing import NamedTuple

from ledger.errors import Damaged
from ledger.postgres.connection import APP, Connection, statement
from ledger.postgres.errors import translated
from ledger.postgres.migrate import pending
from ledger.postgres.pool import Pool


class Health(NamedTuple):
    """What stands in the store by now."""

    size: int
    recorded_at: datetime | None
    projected: int
    quarantine: int
    quarantine_dropped: int
    settled_until: datetime | None
    measured_at: datetime | None  # the beginning of the newest interval whose energy is known
    sealed_at: datetime | None
    anchored_at: datetime | None  # when a block became final on a chain last

    @property
    def lag(self) -> int:
        """Events that the projections have not applied yet."""
        return max(self.size - self.projected, 0)


async def read_health(pool: Pool, community: str) -> Health:
    """Raises `StoreUnavailable`, and `StoreRefused` where tables are missing."""
    async with pool.connection() as connection:
        return Health(*await connection.fetchrow(statement("health"), community) or ())


async def pending_migrations(pool: Pool) -> list[str]:
    """The steps that the database has not taken yet. Raises `StoreUnavailable`, `MigrationMismatch`."""
    async with pool.connection() as connection:
        return await pending(connection)


class RoleBound(Damaged):
    """The application's role sees no more than policies let it, which show it an empty book."""

    code = "role-bound"


async def check_role(connection: Connection) -> None:
    """Make sure that the application's role sees every row: roles are not in a dump of a database, and one
    that was made by hand for a restored one may lack the right. Raises `StoreUnavailable`, `RoleBound`."""
    with translated():
        sees_all = await connection.fetchval(statement("role_sees_all"), APP)
    if not sees_all:
        raise RoleBound(
            "the application's role is not above row security, and would see an empty book",
            where=APP, hint=f"as a superuser: ALTER ROLE {APP} BYPASSRLS",
        )  # fmt: skip


async def connections_max(connection: Connection) -> int:
    """How many connections the server takes from programs. Raises `StoreUnavailable`."""
    with translated():
        return int(await connection.fetchval(statement("connections_max")))
