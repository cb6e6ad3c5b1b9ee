"""The rows of a run in Postgres come back as they were."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.postgres import PostgresSettings, connect, migrate
from ledger.postgres.connection import close
from ledger.postgres.migrate import migrations
from ledger.postgres.settlement import SettlementStore
from ledger.settlement_rows import Posted, PostingRow, SettledRows, TradeRow
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


@asynccontextmanager
async def written(store: SettlementStore, run: int, *settled: SettledRows) -> AsyncIterator[None]:
    """These rows are in the store within the block."""
    transaction = store.connection.transaction()
    await transaction.start()
    try:
        await store.write(store.drafted("campus", run, settled))
        yield
    finally:
        await transaction.rollback()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(reversed_ones=POSTINGS, made=POSTINGS, many=st.integers(0, 700), number=st.integers(1, 2**62))
async def test_what_was_posted_comes_back_in_its_order(
    store: SettlementStore, reversed_ones: list[PostingRow], made: list[PostingRow], many: int, number: int
) -> None:
    made = made + [("grid-import", "grid", at, -at) for at in range(many)]
    posted = [Posted(MORNING, True, reversed_ones), Posted(MORNING, False, made)]
    async with written(store, number, SettledRows(MORNING, [], [], posted)):
        rows = [tuple(row) for row in await store.connection.fetch(READ, "campus", MORNING, number)]
    assert rows == [(True, *each) for each in reversed_ones] + [(False, *each) for each in made]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    trades=st.lists(st.tuples(NAMES, NAMES, *[INT64] * 7)),
    shares=st.dictionaries(NAMES, st.tuples(*[INT64] * 3)),
)
async def test_trades_and_shares_come_back(
    store: SettlementStore, trades: list[TradeRow], shares: dict[str, tuple[int, int, int]]
) -> None:
    shared = [(name, *energies) for name, energies in shares.items()]
    later = MORNING + QUARTER
    async with written(
        store, 7, SettledRows(MORNING, trades, shared, []), SettledRows(later, trades[:1], [], [])
    ):
        connection = store.connection
        rows = await connection.fetch("SELECT * FROM settlement.intervals ORDER BY start")
        assert [tuple(row) for row in rows] == [("campus", MORNING, 7), ("campus", later, 7)]
        rows = await connection.fetch("SELECT * FROM settlement.trades ORDER BY start, number")
        assert [tuple(row) for row in rows] == [
            ("campus", start, 7, number, *each)
            for start, made in ((MORNING, trades), (later, trades[:1]))
            for number, each in enumerate(made)
        ]
        rows = await connection.fetch("SELECT * FROM settlement.shares")
        assert {tuple(row) for row in rows} == {("campus", MORNING, 7, *each) for each in shared}


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
