"""Postings in Postgres: what a run posted comes back as it was, and what fails leaves nothing."""

from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.postgres import PostgresSettings, connect, migrate
from ledger.postgres.connection import close
from ledger.postgres.migrate import migrations
from ledger.postgres.settlement import SettlementStore
from ledger.settlement_rows import Posted, PostingRow
from tests.support.campus import MORNING, QUARTER
from tests.support.store import owner

BEFORE_POSTED = 5
INT64 = st.integers(-(2**63), 2**63 - 1)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
POSTINGS = st.lists(st.tuples(NAMES, st.sampled_from(["grid", "building/a", "building/อาคาร"]), INT64, INT64))
READ = """
SELECT reversal, kind, account, energy_milliwh, amount_micro FROM settlement.postings
WHERE community = $1 AND start = $2 AND run = $3 ORDER BY reversal DESC, number
"""


@pytest.fixture
async def store(database: str) -> AsyncIterator[SettlementStore]:
    async with await SettlementStore.open(PostgresSettings(url=database)) as opened:
        yield opened


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(reversed_ones=POSTINGS, made=POSTINGS, many=st.integers(0, 700), number=st.integers(1, 2**62))
async def test_what_was_posted_comes_back_in_its_order(
    store: SettlementStore, reversed_ones: list[PostingRow], made: list[PostingRow], many: int, number: int
) -> None:
    made = made + [("grid-import", "grid", at, -at) for at in range(many)]
    posted = [Posted(MORNING, True, reversed_ones), Posted(MORNING, False, made)]
    transaction = store.connection.transaction()
    await transaction.start()
    try:
        await store.post("campus", number, iter(posted))
        rows = [tuple(row) for row in await store.connection.fetch(READ, "campus", MORNING, number)]
    finally:
        await transaction.rollback()
    assert rows == [(True, *each) for each in reversed_ones] + [(False, *each) for each in made]


async def test_postings_that_cannot_be_made_leave_nothing_and_the_connection_is_well(
    store: SettlementStore,
) -> None:
    def broken() -> Iterator[Posted]:
        for quarter in range(200):  # beyond the first piece
            made = [("trade", f"building/{n}", n, -n) for n in range(200)]
            yield Posted(MORNING + quarter * QUARTER, False, made)
        raise LookupError("x" * 100_000)

    with pytest.raises(LookupError):
        async with store.connection.transaction():
            await store.post("campus", 1, broken())
    assert await store.connection.fetchval("SELECT count(*) FROM settlement.posted") == 0


async def test_postings_of_an_older_store_are_taken_over(empty_database: str) -> None:
    settings = PostgresSettings(url=empty_database)
    connection = await connect(settings, name="test")
    await migrate(connection, migrations()[:BEFORE_POSTED])
    rows = [
        ("campus", MORNING, 1, False, 0, "trade", "building/a", -5, 15),
        ("campus", MORNING, 1, False, 1, "trade", "building/b", 5, -15),
        ("campus", MORNING, 1, False, 2, "grid-import", "building/b", 7, -28),
        ("campus", MORNING, 2, True, 0, "trade", "building/a", 5, -15),
    ]
    await connection.copy_records_to_table("postings", schema_name="settlement", records=rows)
    await close(connection)
    async with owner(settings) as connection:
        await migrate(connection)
        for view in ("postings", "journal"):
            found = await connection.fetch(f"SELECT * FROM settlement.{view} ORDER BY run, number")  # noqa: S608 - our own names
            names = (
                "community", "start", "run", "reversal", "number", "kind", "account", "energy_milliwh",
                "amount_micro",
            )  # fmt: skip
            assert [tuple(row[name] for name in names) for row in found] == rows
