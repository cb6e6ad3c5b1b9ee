"""The book cannot be changed: the application has no right to, and the owner is stopped by the tables."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from ledger.embedded import EmbeddedPostgres
from ledger.postgres import PostgresSettings, connect
from ledger.postgres.connection import APP, PROJECTOR, Connection, close
from tests.support.campus import GATEWAY, Campus, record
from tests.support.store import check_book, migrated, owner, read_book

FACTS = ("events", "envelopes", "tiles")
CHANGES = {
    "UPDATE": "UPDATE book.{table} SET community = 'other'",
    "UPDATE of nothing": "UPDATE book.{table} SET community = 'other' WHERE false",
    "DELETE": "DELETE FROM book.{table}",
    "TRUNCATE": "TRUNCATE book.{table}",
    "upsert": "INSERT INTO book.{table} SELECT * FROM book.{table}"
    " ON CONFLICT ({key}) DO UPDATE SET community = 'other'",
}
KEYS = {
    "events": "community, position",
    "envelopes": "community, position",
    "tiles": "community, level, index",
}


@pytest.fixture(scope="module")
async def store(postgres_server: EmbeddedPostgres) -> AsyncIterator[PostgresSettings]:
    """A database with a book that has events, envelopes and a full tile."""
    settings = await migrated(await postgres_server.create_database("append_only"))
    campus = Campus("campus")
    writer = await campus.opened(settings)
    assert await record(writer, GATEWAY, campus.read(0, 300)) == ["recorded"]
    await campus.close()
    yield settings
    book = await read_book(settings, "campus")
    check_book(book, campus.verifier, [held.public for held in campus.keys.values()])
    await postgres_server.drop_database("append_only")


@pytest.fixture(params=[APP, PROJECTOR])
async def role(store: PostgresSettings, request: pytest.FixtureRequest) -> AsyncIterator[Connection]:
    """A connection with the rights of a service."""
    connection = await connect(store, name="test", role=request.param)
    yield connection
    await close(connection)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("table", FACTS)
async def test_no_service_has_the_right_to_change_a_fact(role: Connection, table: str, change: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await role.execute(CHANGES[change].format(table=table, key=KEYS[table]))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("table", FACTS)
async def test_the_owner_of_the_tables_is_stopped_as_well(
    store: PostgresSettings, table: str, change: str
) -> None:
    async with owner(store) as connection:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
            await connection.execute(CHANGES[change].format(table=table, key=KEYS[table]))


@pytest.mark.parametrize("table", ["communities", "stream_heads", "quarantine"])
@pytest.mark.parametrize("change", ["DELETE", "TRUNCATE"])
async def test_no_service_can_forget_a_book_a_head_or_a_refusal(
    role: Connection, table: str, change: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await role.execute(CHANGES[change].format(table=table, key=""))


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE book.events",
        "ALTER TABLE book.events DISABLE TRIGGER append_only",
        "DROP TRIGGER append_only ON book.events",
        "CREATE OR REPLACE FUNCTION book.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "SET session_replication_role = replica",  # triggers do not fire for a replica
        "CREATE TABLE book.other ()",
        "UPDATE public.energy_ledger_migrations SET checksum = ''",
    ],
)
async def test_no_service_can_remove_what_guards_the_book(role: Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await role.execute(statement)


async def test_the_projector_reads_the_book_and_writes_nothing_to_it(store: PostgresSettings) -> None:
    connection = await connect(store, name="test", role=PROJECTOR)
    assert await connection.fetchval("SELECT count(*) FROM book.events") > 300
    for table in (*FACTS, "communities", "stream_heads", "quarantine"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"INSERT INTO book.{table} SELECT * FROM book.{table}")  # noqa: S608
    await close(connection)


@pytest.mark.parametrize(
    ("position", "sequence"), [(0, 99), (400, 1)], ids=["a position twice", "a sequence twice"]
)
async def test_no_place_in_the_book_is_given_twice(
    store: PostgresSettings, position: int, sequence: int
) -> None:
    connection = await connect(store, name="test", role=APP)
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute(
            "INSERT INTO book.events VALUES ('campus', $1, 'meter/m-0', $2, $3, $3, '', 0)",
            position,
            sequence,
            bytes(32),
        )
    await close(connection)


@pytest.mark.parametrize(
    "values",
    [
        "'campus', -1, 'meter/m-0', 999, $1, $1, '', 0",
        "'campus', 999, 'meter/m-0', 0, $1, $1, '', 0",
        "'campus', 999, 'meter/m-0', 999, '', $1, '', 0",
        "'campus', 999, 'meter/m-0', 999, $1, '', '', 0",
    ],
)
async def test_a_fact_without_a_place_or_a_hash_is_none(store: PostgresSettings, values: str) -> None:
    async with owner(store) as connection:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(f"INSERT INTO book.events VALUES ({values})", bytes(32))  # noqa: S608
