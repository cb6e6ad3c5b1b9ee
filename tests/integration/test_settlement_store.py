"""The rows of a run in Postgres come back as they were."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.postgres import PostgresSettings, connect, migrate
from ledger.postgres.connection import Connection, close, statement
from ledger.postgres.migrate import migrations
from ledger.postgres.settled_copy import ROW_POSTINGS
from ledger.postgres.settlement import SettlementStore
from ledger.settlement_rows import Posted, PostingRow, SettledRows, TradeRow
from tests.support.campus import MORNING, QUARTER
from tests.support.store import owner

BEFORE_POSTED, BEFORE_HOURS = 5, 18
INT64 = st.integers(-(2**63), 2**63 - 1)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
POSTINGS = st.lists(st.tuples(NAMES, st.sampled_from(["grid", "building/a", "building/อาคาร"]), INT64, INT64))
INTERVALS = st.dictionaries(
    st.integers(0, 60),
    st.tuples(st.just([]) | POSTINGS, POSTINGS, st.sampled_from([0, 0, 5, 2 * ROW_POSTINGS])),
)
"""By their place in time: what is reversed, what is posted, and so many more postings of one account."""
WINDOW = """
SELECT DISTINCT start FROM settlement.postings
WHERE start >= $1 AND start < $2 AND first > $1::timestamptz - interval '6 hours' AND first < $2
"""
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


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    step=st.sampled_from([timedelta(minutes=minutes) for minutes in (1, 15, 60, 359, 360, 1440)]),
    told=INTERVALS,
    begin=st.integers(0, 60),
    count=st.integers(1, 30),
)
async def test_intervals_of_any_length_and_with_gaps_come_back_whole_and_are_found_by_their_time(
    store: SettlementStore,
    step: timedelta,
    told: dict[int, tuple[list[PostingRow], list[PostingRow], int]],
    begin: int,
    count: int,
) -> None:
    settled = [
        SettledRows(MORNING + at * step, [], [], [
            Posted(MORNING + at * step, True, reversed_ones),
            Posted(MORNING + at * step, False, made + [("grid-import", "grid", n, -n) for n in range(many)]),
        ])
        for at, (reversed_ones, made, many) in sorted(told.items())
    ]  # fmt: skip
    async with written(store, 3, *settled):
        fetch = store.connection.fetch
        rows = await fetch("SELECT * FROM settlement.postings ORDER BY start, reversal DESC, number")
        found = await fetch(WINDOW, MORNING + begin * step, MORNING + (begin + count) * step)
    names = ("start", "run", "reversal", "number", "kind", "account", "energy_milliwh", "amount_micro")
    expected = [
        (start, 3, is_reversal, number, *posting)
        for each in settled
        for start, is_reversal, postings in each.posted
        for number, posting in enumerate(postings)
    ]
    assert [tuple(row[name] for name in names) for row in rows] == expected
    within = {start for start, *_ in expected if begin <= (start - MORNING) // step < begin + count}
    assert {row["start"] for row in found} == within


def with_trades(at: int, trades: int, before: int | None = None) -> SettledRows:
    """An interval in which building a sold so many times; where it was settled before, that is reversed."""
    start = MORNING + at * QUARTER
    posted = [Posted(start, True, [("trade", "building/a", 1, -1)] * before)] if before else []
    posted.append(Posted(start, False, [("trade", "building/a", -1, 1)] * trades + [("loss", "grid", 1, 1)]))
    return SettledRows(start, [("a", "b", 1, 1, 1, 0, 0, 0, 0)] * trades, [], posted)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    told=st.dictionaries(st.integers(0, 80), st.integers(0, 2), min_size=1),
    revised=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 2)), max_size=6),
    limit=st.integers(1, 4),
)
async def test_trades_are_paged_in_order_of_time_whichever_run_they_are_of(
    store: SettlementStore, told: dict[int, int], revised: list[tuple[int, int]], limit: int
) -> None:
    counts = dict(sorted(told.items()))
    found: list[tuple[datetime, int]] = []
    async with written(store, 1, *(with_trades(*each) for each in counts.items())):
        for run, (at, trades) in enumerate(revised, 2):
            again = with_trades(at, trades, counts.get(at))
            await store.write(store.drafted("campus", run, [again]))
            counts[at] = trades
        after, until = (MORNING - QUARTER, -1), MORNING + 70 * QUARTER
        while page := await store.connection.fetch(
            statement("building_trades"), "campus", "a", until, *after, limit
        ):
            found += [(row["start"], row["number"]) for row in page]
            after = found[-1]
    assert found == [
        (MORNING + at * QUARTER, number)
        for at, trades in sorted(counts.items())
        for number in range(trades)
        if at < 70
    ]


async def test_a_row_has_six_hours_of_an_account_and_the_grids_one_interval(store: SettlementStore) -> None:
    many = [("grid-import", "grid", 1, -1)] * (ROW_POSTINGS + 1)
    settled = [
        SettledRows(start, [], [], [Posted(start, False, [("trade", "building/a", 1, -1), *many])])
        for start in (MORNING + number * QUARTER for number in range(25))
    ]
    async with written(store, 3, *settled):
        rows = await store.connection.fetch("SELECT * FROM settlement.posted ORDER BY account, first")
    assert [(row["account"], row["first"], row["last"]) for row in rows] == [
        ("building/a", MORNING, MORNING + 23 * QUARTER),
        ("building/a", MORNING + 24 * QUARTER, MORNING + 24 * QUARTER),
        *(("grid", each.start, each.start) for each in settled),
    ]


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
        assert await views_of(connection) == [rows, rows]


async def test_postings_by_interval_are_taken_over_as_they_are(empty_database: str) -> None:
    settings = PostgresSettings(url=empty_database)
    async with owner(settings) as connection:
        await migrate(connection, migrations()[:BEFORE_HOURS])
        for run, is_reversal, start, of_two in (
            (1, False, MORNING, True),
            (1, False, MORNING + QUARTER, False),
            (2, True, MORNING, True),
            (2, False, MORNING, False),
        ):
            accounts = {
                "building/a": [0],
                "building/b": [1, 2] if of_two else [1],
                "grid": list(range(3, 500)),
            }
            for account, numbers in accounts.items():
                count = len(numbers)
                await connection.execute(
                    "INSERT INTO settlement.posted VALUES ('campus', $1, $2, $3, $4, $5, $6, $7, $8)",
                    start, run, is_reversal, account, numbers, ["trade"] * count,
                    [run * number for number in numbers], [-number for number in numbers],
                )  # fmt: skip
        await connection.execute(
            "INSERT INTO settlement.charges"
            " VALUES ('campus', $1, 3, false, 0, 'demand', 'building/a', 0, -7)",
            MORNING,
        )
        before = await views_of(connection)
        await migrate(connection)
        assert await views_of(connection) == before
        assert [len(rows) for rows in before] == [4 * (1 + 1 + 497) + 2, 4 * (1 + 1 + 497) + 2 + 1]


NAMES_OF_A_POSTING = (
    "community", "start", "run", "reversal", "number", "kind", "account", "energy_milliwh", "amount_micro",
)  # fmt: skip


async def views_of(connection: Connection) -> list[list[tuple[Any, ...]]]:
    """What the views show of postings, and of postings and charges, in one order."""
    return [
        [tuple(row[name] for name in NAMES_OF_A_POSTING) for row in await connection.fetch(
            f"SELECT * FROM settlement.{view} ORDER BY run, start, reversal DESC, number"  # noqa: S608 - our own names
        )]
        for view in ("postings", "journal")
    ]  # fmt: skip
