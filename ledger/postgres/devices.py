"""Devices as the projections have them, and the one-time tokens that enrol them."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from ledger.canonical import encode
from ledger.enrolment import EnrolmentToken
from ledger.event import Role
from ledger.events import KeyEnrolled
from ledger.postgres.connection import Connection, statement, transaction
from ledger.postgres.pool import Pool
from ledger.postgres.recorded import recorded_hashes


class DeviceRow(NamedTuple):
    """A device, its public key (none while revoked) and the position in the book that set it."""

    device: str
    role: Role
    public_key: str | None
    position: int


class DeviceStore:
    """One community's. All methods raise `StoreUnavailable`."""

    def __init__(self, pool: Pool, community: str) -> None:
        self._pool = pool
        self._community = community

    async def devices(self, after: Sequence[str], limit: int) -> list[DeviceRow]:
        """Devices whose names come later, in their order."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(statement("devices_page"), self._community, after[0], limit)
        return [DeviceRow(*row) for row in rows]

    async def device(self, name: str) -> DeviceRow | None:
        """One of them."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(statement("devices_one"), self._community, name)
        return DeviceRow(*row) if row else None

    async def registry_after(self, position: int) -> list[tuple[int, bytes]]:
        """The bodies that make the registry, from a position on, each with its own."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(statement("read_registry_after"), self._community, position)
        return [(row["position"], row["body"]) for row in rows]

    async def recorded(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], bytes]:
        """The entry hashes at those (stream, sequence) that the book has."""
        async with self._pool.connection() as connection:
            return await recorded_hashes(connection, self._community, places)

    async def give_out(self, token: EnrolmentToken) -> None:
        """Keep a new token; what its device was given before enrols nothing any more."""
        async with self._pool.connection() as connection, transaction(connection):
            await connection.execute(
                statement("enrolment_withdraw"), self._community, token.device, token.created_at
            )
            await connection.execute(statement("enrolment_add"), *token[:-2])

    async def token(self, prefix: str) -> EnrolmentToken | None:
        """The token with a prefix, whatever became of it."""
        async with self._pool.connection() as connection:
            return await find_token(connection, prefix)

    async def withdraw(self, device: str, at: datetime) -> None:
        """Let no token of a device enrol anything from an instant on."""
        async with self._pool.connection() as connection:
            await connection.execute(statement("enrolment_withdraw"), self._community, device, at)


async def find_token(connection: Connection, prefix: str) -> EnrolmentToken | None:
    """The same on a connection at hand. Raises `StoreUnavailable`."""
    row = await connection.fetchrow(statement("enrolment_token"), prefix)
    return EnrolmentToken(*row) if row else None


async def has_enrolled(connection: Connection, prefix: str, event: KeyEnrolled) -> bool:
    """Whether the book holds this very event since the token was made: an append whose receipt was lost.

    Raises `StoreUnavailable`.
    """
    digest = sha256(encode(event)).digest()
    return bool(await connection.fetchval(statement("enrolment_recorded"), prefix, digest))


async def use_token(connection: Connection, prefix: str, public_key: str, at: datetime) -> None:
    """A token has enrolled a key. Raises `StoreUnavailable`."""
    await connection.execute(statement("enrolment_use"), prefix, public_key, at)
