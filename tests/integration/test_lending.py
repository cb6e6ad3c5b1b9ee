"""Connections are lent to one at a time, never more than there may be, and none that cannot be known."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Any

import asyncpg
import pytest

from ledger.errors import LedgerError
from ledger.postgres import PostgresSettings, connect, lending
from ledger.postgres.connection import Connection
from ledger.postgres.errors import StoreUnavailable
from ledger.postgres.lending import Connections, Lent
from tests.support.store import owner

NAME = "energy-ledger lending"
MOST = 3


@pytest.fixture
async def connections(database: str) -> AsyncIterator[Connections]:
    async def made() -> Connection:
        return await connect(PostgresSettings(url=database), name="lending")

    found = Connections(made, MOST)
    yield found
    await found.close()


async def seen(database: str, active: bool = False) -> Sequence[Any]:
    """What the store has of these connections."""
    async with owner(PostgresSettings(url=database)) as connection:
        rows: Sequence[Any] = await connection.fetch(
            "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND (state = 'active' OR NOT $2)",
            NAME, active,
        )  # fmt: skip
    return [row["pid"] for row in rows]


def process(lent: Lent) -> int:
    return int(lent.connection.get_server_pid())


async def until(told: Any, wanted: Any) -> None:
    """Return when what is asked for is so."""
    async with asyncio.timeout(5):
        while await told() != wanted:
            await asyncio.sleep(0.01)


async def all_are_free(connections: Connections) -> None:
    """As many as there may be can be had at once, and each answers."""
    async with asyncio.timeout(5):
        lent = [await connections.lend() for _ in range(MOST)]
    assert [await each.connection.fetchval("SELECT 1") for each in lent] == [1] * MOST
    for each in lent:
        connections.give_back(each)


async def most_at_once(connections: Connections, sql: str) -> int:
    """How many were lent at a time, to many who ask at once."""
    under_way = most = 0

    async def ask(number: int) -> None:
        nonlocal under_way, most
        lent = await connections.lend(f"owner {number % 5}")
        under_way += 1
        most = max(most, under_way)
        assert await lent.connection.fetchval(sql, number) == number
        under_way -= 1
        connections.give_back(lent)

    await asyncio.gather(*(ask(number) for number in range(30)))
    return most


async def test_many_share_few(
    connections: Connections, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "AT_ONCE", 100)
    await all_are_free(connections)
    assert await most_at_once(connections, "SELECT $1::int") == MOST
    assert len(await seen(database)) == MOST


async def test_those_that_turn_out_to_be_slow_hold_nobody_up(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    await all_are_free(connections)
    assert await most_at_once(connections, "SELECT $1::int FROM pg_sleep(0.05)") == MOST
    monkeypatch.setattr(lending, "QUICK_SECONDS", 1.0)  # whatever the machine does meanwhile
    assert await most_at_once(connections, "SELECT $1::int") == lending.AT_ONCE


async def test_an_owner_is_given_the_connection_that_it_had(connections: Connections) -> None:
    had = {}
    for name in ("a", "b", "c"):
        lent = await connections.lend(name)
        lent.owner, had[name] = name, lent
    for lent in had.values():
        connections.give_back(lent)
    for name in "bcabbaac":
        lent = await connections.lend(name)
        assert lent is had[name]
        connections.give_back(lent)
    stranger = await connections.lend("d")
    assert stranger is had["c"], "the one that was used last"
    connections.give_back(stranger)


async def test_who_waits_is_served_in_turn(connections: Connections) -> None:
    lent = [await connections.lend() for _ in range(MOST)]
    came: list[int] = []

    async def ask(number: int) -> None:
        mine = await connections.lend()
        came.append(number)
        connections.give_back(mine)

    tasks = []
    for number in range(5):
        tasks.append(asyncio.ensure_future(ask(number)))
        await asyncio.sleep(0)
    for each in lent:
        connections.give_back(each)
    await asyncio.gather(*tasks)
    assert came == [0, 1, 2, 3, 4]


async def test_who_waits_too_long_is_told(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lending, "WAIT_SECONDS", 0.05)
    lent = [await connections.lend() for _ in range(MOST)]
    with pytest.raises(StoreUnavailable, match="all 3 connections to Postgres are taken"):
        await connections.lend()
    for each in lent:
        connections.give_back(each)
    await all_are_free(connections)


async def test_what_an_interrupted_borrower_began_is_cancelled_and_not_lent(
    connections: Connections, database: str
) -> None:
    lent = await connections.lend()
    task = asyncio.ensure_future(lent.connection.execute("SELECT pg_sleep(60)"))
    await until(lambda: seen(database, active=True), [process(lent)])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    connections.give_back(lent, is_sound=False)
    other = await connections.lend()
    assert process(other) != process(lent)
    await until(lambda: seen(database), [process(other)])
    connections.give_back(other)
    await all_are_free(connections)


async def test_a_transaction_that_was_left_open_goes_with_its_connection(
    connections: Connections, database: str
) -> None:
    lent = await connections.lend()
    await lent.connection.execute("BEGIN")
    connections.give_back(lent)
    assert (await connections.lend()) is not lent
    await until(lambda: seen(database, active=True), [])
    assert process(lent) not in await seen(database)


async def test_one_that_the_store_has_closed_is_replaced(connections: Connections, database: str) -> None:
    for lent in [await connections.lend() for _ in range(MOST)]:
        connections.give_back(lent)
    async with owner(PostgresSettings(url=database)) as connection:
        for gone in await seen(database):
            await connection.execute("SELECT pg_terminate_backend($1)", gone)
    await until(lambda: seen(database), [])
    await asyncio.sleep(0.05)  # the client hears of it
    await all_are_free(connections)


async def test_one_that_ends_while_it_is_lent_makes_room(connections: Connections) -> None:
    for _ in range(2 * MOST):
        lent = await connections.lend()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await lent.connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        connections.give_back(lent)
    await all_are_free(connections)


async def test_what_lies_idle_is_closed(
    connections: Connections, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "IDLE_SECONDS", 0.2)
    await all_are_free(connections)
    assert len(await seen(database)) == MOST
    await until(lambda: seen(database), [])
    await all_are_free(connections)


async def test_what_is_old_is_closed_when_it_comes_back(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "AGE_SECONDS", 0.0)
    lent = await connections.lend()
    connections.give_back(lent)
    assert process(await connections.lend()) != process(lent)


async def test_a_store_that_cannot_be_reached_costs_no_room() -> None:
    tries = 0

    async def made() -> Connection:
        nonlocal tries
        tries += 1
        raise StoreUnavailable("not there")

    connections = Connections(made, 1)
    told = await asyncio.gather(*(connections.lend() for _ in range(5)), return_exceptions=True)
    assert [isinstance(each, StoreUnavailable) for each in told] == [True] * 5
    assert tries == 5
    await connections.close()


async def test_the_end_waits_for_who_has_borrowed(connections: Connections, database: str) -> None:
    lent = await connections.lend()
    work = asyncio.ensure_future(lent.connection.fetchval("SELECT pg_sleep(0.3) IS NOT NULL"))
    work.add_done_callback(lambda _: connections.give_back(lent))
    await asyncio.sleep(0.05)
    await connections.close()
    assert await work
    assert await seen(database) == []
    with pytest.raises(StoreUnavailable, match="closed"):
        await connections.lend()


async def test_the_end_does_not_wait_for_ever(
    connections: Connections, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "CLOSE_SECONDS", 0.1)
    lent = [await connections.lend() for _ in range(MOST)]
    waits = asyncio.ensure_future(connections.lend())
    await asyncio.sleep(0)
    await connections.close()
    assert all(each.connection.is_closed() for each in lent)
    with pytest.raises(StoreUnavailable, match="closed"):
        await waits


@pytest.mark.parametrize("seed", range(4))
async def test_whoever_is_interrupted_and_whenever_nothing_is_lost(
    connections: Connections, database: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(lending, "WAIT_SECONDS", 0.02)
    random, lent_now = Random(seed), set()

    async def ask() -> None:
        lent = await connections.lend(random.choice("ab"))
        assert lent not in lent_now
        lent_now.add(lent)
        is_sound = False
        try:
            await lent.connection.execute(f"SELECT pg_sleep({random.random() / 200})")
            is_sound = True
        finally:
            lent_now.discard(lent)
            connections.give_back(lent, is_sound=is_sound)

    tasks = set()
    for _ in range(150):
        tasks.add(asyncio.ensure_future(ask()))
        await asyncio.sleep(random.choice((0, 0, 0.001, 0.003)))
        if random.random() < 0.3:
            random.choice(sorted(tasks, key=id)).cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(end is None or isinstance(end, LedgerError | asyncio.CancelledError) for end in ends)
    assert lent_now == set()
    monkeypatch.undo()
    await all_are_free(connections)
    assert len(await seen(database)) == MOST
