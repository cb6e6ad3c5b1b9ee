"""The store of people who log in, and of their sessions."""

from collections.abc import Collection
from datetime import datetime

from ledger.people import IDLE, LONGEST, Person, PersonSession
from ledger.postgres.connection import statement, transaction
from ledger.postgres.pool import Pool


class PeopleStore:
    """Reads and writes by connections of a pool. All methods raise `StoreUnavailable`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    # --- people ------------------------------------------------------------------------------

    async def add(self, person: Person) -> bool:
        """Let somebody log in; whether the name was free."""
        async with self._pool.connection() as connection:
            return await connection.fetchval(statement("person_add"), *person[:-1]) is not None

    async def person(self, community: str, name: str) -> Person | None:
        """Somebody of a name who has not ended."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(statement("person_by_name"), community, name)
        return Person(*row) if row else None

    async def people(self, community: str) -> list[Person]:
        """Everybody, also who has ended, by name."""
        async with self._pool.connection() as connection:
            return [Person(*row) for row in await connection.fetch(statement("person_list"), community)]

    async def end(self, community: str, name: str, at: datetime) -> bool:
        """Let somebody log in no more and end their sessions; whether there is such a person."""
        async with self._pool.connection() as connection, transaction(connection):
            person = await connection.fetchval(statement("person_end"), community, name, at)
            if person is not None:
                await connection.execute(statement("session_end_others"), person, None)
        return person is not None

    async def change_password(
        self, person: Person, password: str, now: datetime, keep: bytes | None = None
    ) -> bool:
        """Another password's hash in the place of the one that `person` has, and an end to all sessions but
        the one of digest `keep`; false where it was changed meanwhile."""
        async with self._pool.connection() as connection, transaction(connection):
            changed = await connection.fetchval(
                statement("person_password"), person.id, password, person.password_at, now
            )
            if changed is not None:
                await connection.execute(statement("session_end_others"), person.id, keep)
        return changed is not None

    async def rehash(self, person: Person, password: str) -> None:
        """The same password, hashed anew."""
        async with self._pool.connection() as connection:
            await connection.execute(statement("person_rehash"), person.id, password, person.password_at)

    # --- sessions ----------------------------------------------------------------------------

    async def begin(self, digest: bytes, person: Person, now: datetime) -> bool:
        """Begin a session; false where the person has ended or changed the password meanwhile."""
        async with self._pool.connection() as connection:
            begun = await connection.fetchval(
                statement("session_begin"), digest, person.id, person.password_at, now
            )
        return begun is not None

    async def session(self, digest: bytes) -> PersonSession | None:
        """A session, whether it still counts or not; none where it was ended."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(statement("session_find"), digest)
        return PersonSession(*row) if row else None

    async def sessions(self, digests: Collection[bytes]) -> list[PersonSession]:
        """Those of these sessions that were not ended."""
        if not digests:
            return []
        async with self._pool.connection() as connection:
            rows = await connection.fetch(statement("sessions_find"), list(digests))
        return [PersonSession(*row) for row in rows]

    async def seen(self, digest: bytes, now: datetime) -> None:
        """A session is in use."""
        async with self._pool.connection() as connection:
            await connection.execute(statement("session_seen"), digest, now)

    async def end_session(self, digest: bytes) -> None:
        """End a session."""
        async with self._pool.connection() as connection:
            await connection.execute(statement("session_end"), digest)

    async def forget(self, now: datetime) -> None:
        """Forget sessions that have come to their end."""
        async with self._pool.connection() as connection:
            await connection.execute(statement("session_forget"), now - IDLE, now - LONGEST)
