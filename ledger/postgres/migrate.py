"""Migrations: plain SQL files, forward only, each recorded with its checksum."""

import re
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from ledger.errors import Damaged
from ledger.postgres.connection import Connection, statement, transaction
from ledger.postgres.errors import translated

_FOLDER = Path(__file__).parent / "migrations"
_NAME = re.compile(r"(\d{4})_[a-z_]+\.sql")
STEP_SECONDS = 24 * 3600.0
"""A step may write a big table anew, and one that is cut off is done again from its beginning."""


class MigrationMismatch(Damaged):
    """The database was made by migrations that differ from this version's."""

    code = "migration-mismatch"


class Migration(NamedTuple):
    """One step: its number, its file name, its SQL and the SQL's checksum."""

    number: int
    name: str
    sql: str
    checksum: str


def migrations(folder: Path = _FOLDER) -> list[Migration]:
    """All steps in order, without holes."""
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        sql = path.read_text()
        if not match or int(match[1]) != len(found) + 1:
            raise MigrationMismatch("migrations are numbered from 0001 without holes", where=path.name)
        found.append(Migration(int(match[1]), path.name, sql, sha256(sql.encode()).hexdigest()))
    return found


async def migrate(connection: Connection, steps: list[Migration] | None = None) -> list[str]:
    """Bring the database to this version, all in one transaction; returns the names of the steps it took.

    Two processes that start together wait for each other. Raises `MigrationMismatch` when a step that was
    taken has changed since, or when the database is newer than this program.
    """
    steps = migrations() if steps is None else steps
    with translated():
        async with transaction(connection):
            await connection.execute(statement("lock_migrations"))
            await connection.execute(statement("create_migrations"))
            taken = await connection.fetch(statement("read_migrations"))
            _check([(row["number"], row["name"], row["checksum"]) for row in taken], steps)
            new = steps[len(taken) :]
            for step in new:
                await connection.execute(step.sql, timeout=STEP_SECONDS)
                await connection.execute(statement("record_migration"), step.number, step.name, step.checksum)
            return [step.name for step in new]


async def pending(connection: Connection) -> list[str]:
    """The steps that this database still lacks. Raises `MigrationMismatch` as `migrate` does."""
    with translated():
        exists = await connection.fetchval(statement("has_migrations"))
        taken = await connection.fetch(statement("read_migrations")) if exists else []
    steps = migrations()
    _check([(row["number"], row["name"], row["checksum"]) for row in taken], steps)
    return [step.name for step in steps[len(taken) :]]


def _check(taken: list[tuple[int, str, str]], steps: list[Migration]) -> None:
    if len(taken) > len(steps):
        raise MigrationMismatch(
            f"the database has {len(taken)} migrations, this program knows {len(steps)}",
            hint="run the newer version of the program",
        )
    for (number, name, checksum), step in zip(taken, steps, strict=False):
        if (number, name, checksum) != (step.number, step.name, step.checksum):
            raise MigrationMismatch(
                "a migration that was taken differs from this version's",
                where=name,
                hint="never edit a migration; restore the file and add a new one",
            )
