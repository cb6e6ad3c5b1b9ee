"""Migrations run forward, once, in order, and never on a database that is not what they think it is."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from ledger.embedded import EmbeddedPostgres
from ledger.postgres import PostgresSettings, StoreUnavailable, connect, migrate
from ledger.postgres.connection import Connection, close
from ledger.postgres.errors import StoreRefused
from ledger.postgres.migrate import Migration, MigrationMismatch, migrations, pending
from tests.support.store import owner

_numbers = count(1)
FILES = [
    "0001_book.sql",
    "0002_projections.sql",
    "0003_market.sql",
    "0004_settlement.sql",
    "0005_charges.sql",
    "0006_posted.sql",
    "0007_access.sql",
    "0008_enrolment.sql",
    "0009_inspection.sql",
    "0010_settled_by_run.sql",
    "0011_webhooks.sql",
    "0012_people.sql",
    "0013_cosignatures.sql",
    "0014_strangers.sql",
    "0015_row_security.sql",
    "0016_access_log.sql",
    "0017_provisioned.sql",
    "0018_bounds_of_keeping.sql",
    "0019_posted_by_hours.sql",
    "0020_refused_as.sql",
    "0021_anchors.sql",
]
NEXT = len(FILES) + 1


@pytest.fixture
async def connection(empty_database: str) -> AsyncIterator[Connection]:
    """A connection to an empty database, as its owner."""
    connection = await connect(PostgresSettings(url=empty_database), name="test")
    yield connection
    await close(connection)


def step(number: int, sql: str) -> Migration:
    """One more step."""
    return Migration(number, f"{number:04d}_more.sql", sql, f"checksum of {sql}")


async def test_an_empty_database_gets_every_step_and_the_next_run_none(connection: Connection) -> None:
    assert await pending(connection) == FILES
    assert await migrate(connection) == FILES
    assert await migrate(connection) == []
    assert await pending(connection) == []


async def test_only_what_is_new_is_run(connection: Connection) -> None:
    await migrate(connection)
    made, dropped = step(NEXT, "CREATE TABLE book.more ()"), step(NEXT + 1, "DROP TABLE book.more")
    assert await migrate(connection, [*migrations(), made]) == [made.name]
    assert await migrate(connection, [*migrations(), made, dropped]) == [dropped.name]


async def test_steps_that_cannot_all_be_taken_leave_the_database_as_it_was(connection: Connection) -> None:
    with pytest.raises(StoreRefused):
        await migrate(connection, [*migrations(), step(NEXT, "CREATE TABLE book.events ()")])
    assert await pending(connection) == FILES
    assert not await connection.fetchval("SELECT to_regclass('book.events') IS NOT NULL")
    assert await migrate(connection) == FILES


@pytest.mark.parametrize("number", [0, 1])
async def test_a_step_that_was_edited_after_it_was_taken_is_noticed(
    connection: Connection, number: int
) -> None:
    await migrate(connection)
    edited = migrations()
    edited[number] = edited[number]._replace(checksum="0" * 64)
    with pytest.raises(MigrationMismatch) as refused:
        await migrate(connection, edited)
    assert refused.value.where == FILES[number]
    await connection.execute(
        "UPDATE public.energy_ledger_migrations SET checksum = 'x' WHERE number = $1", number + 1
    )
    with pytest.raises(MigrationMismatch):
        await pending(connection)


async def test_a_database_that_is_newer_than_the_program_is_left_alone(connection: Connection) -> None:
    more = [*migrations(), step(NEXT, "CREATE TABLE book.more ()")]
    await migrate(connection, more)
    with pytest.raises(MigrationMismatch, match=f"knows {len(FILES)}"):
        await migrate(connection)
    with pytest.raises(MigrationMismatch):
        await pending(connection)


async def test_two_programs_that_start_together_migrate_once(empty_database: str) -> None:
    settings = PostgresSettings(url=empty_database)
    connections = [await connect(settings, name="test") for _ in range(4)]
    taken = await asyncio.gather(*(migrate(connection) for connection in connections))
    for connection in connections:
        await close(connection)
    assert sorted(taken) == [[], [], [], FILES]


async def test_two_databases_of_one_server_are_migrated_side_by_side(server_folder: Path) -> None:
    async with EmbeddedPostgres(server_folder) as fresh:  # its roles are not there yet, and belong to all
        names = [f"beside_{number}" for number in range(4)]
        settings = [PostgresSettings(url=await fresh.create_database(name)) for name in names]
        connections = [await connect(each, name="test") for each in settings]
        taken = await asyncio.gather(*(migrate(connection) for connection in connections))
        for connection in connections:
            await close(connection)
    assert taken == [FILES] * 4


def test_the_files_are_numbered_without_holes(tmp_path: Path) -> None:
    assert [each.name for each in migrations()] == FILES
    for name in ("0001_one.sql", "0002_two.sql"):
        (tmp_path / name).write_text("SELECT 1")
    assert len(migrations(tmp_path)) == 2
    (tmp_path / "0004_four.sql").write_text("SELECT 1")
    with pytest.raises(MigrationMismatch):
        migrations(tmp_path)
    (tmp_path / "0004_four.sql").rename(tmp_path / "third.sql")
    with pytest.raises(MigrationMismatch):
        migrations(tmp_path)


async def test_every_connection_asks_for_a_commit_that_is_on_the_disk(empty_database: str) -> None:
    settings = PostgresSettings(url=empty_database)
    async with owner(settings) as connection:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        await connection.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Bangkok'")
    async with owner(settings) as connection:
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
        assert await connection.fetchval("SHOW timezone") == "UTC"


async def test_a_server_that_does_not_answer_is_told_as_such(server_folder: Path) -> None:
    nobody = PostgresSettings(url=f"postgresql://postgres@/ledger?host={server_folder}")
    with pytest.raises(StoreUnavailable):
        await connect(nobody, name="test")


async def test_what_was_refused_again_before_that_was_kept_tells_with_which_code(
    connection: Connection,
) -> None:
    """Messages by name: what became of each, as (code, first, last, resolved, resolution) in seconds."""
    steps = migrations()
    await migrate(connection, steps[:19])
    messages: dict[str, list[tuple[str, int, int, int | None, str | None]]] = {
        "recorded": [("sequence-gap", 0, 0, 9, None), ("key-revoked", 70, 70, None, None)],
        "forked": [("sequence-gap", 0, 0, 9, None), ("fork", 9, 9, None, None)],
        "forked often": [("sequence-gap", 0, 0, 9, None), ("fork", 9, 90, None, None)],
        "malformed before": [("unknown-device", 5, 5, 9, "released"), ("malformed", 0, 0, None, None)],
        "released": [("unknown-device", 5, 5, 9, "released"), ("not-permitted", 9, 9, None, None)],
        "rejected": [("unknown-device", 5, 5, 9, "rejected"), ("not-permitted", 9, 9, None, None)],
        "waiting": [("sequence-gap", 0, 0, None, None), ("fork", 9, 9, None, None)],
    }
    begin = datetime(2026, 6, 1, tzinfo=UTC)
    for name, rows in messages.items():
        for code, first, last, resolved, resolution in rows:
            first_at, last_at, at = (
                None if second is None else begin + timedelta(seconds=second)
                for second in (first, last, resolved)
            )
            await connection.execute(
                "INSERT INTO book.quarantine (community, digest, code, device, what, message, first_at,"
                " last_at, resolved_at, resolution)"
                " VALUES ('campus', $1, $2, 'gw-1', '', '', $3, $4, $5, $6)",
                name.encode(), code, first_at, last_at, at, resolution,
            )  # fmt: skip
    await migrate(connection, steps[:20])
    told = await connection.fetch(
        "SELECT digest, refused_as FROM book.quarantine WHERE refused_as IS NOT NULL"
    )
    assert {row["digest"].decode(): row["refused_as"] for row in told} == {
        "forked": "fork", "forked often": "fork", "released": "not-permitted",
    }  # fmt: skip
