"""Turns: one at a time, whoever asks, and nobody has to give one back."""

import asyncio

import pytest

from ledger.postgres import PostgresSettings, connect, turns
from ledger.postgres.connection import close
from ledger.postgres.turns import NoTurn, turn


async def test_turns_of_one_name_come_one_after_the_other(database: str) -> None:
    inside, most = 0, 0

    async def go(name: str) -> None:
        nonlocal inside, most
        connection = await connect(PostgresSettings(url=database), name="test")
        async with turn(connection, name):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.02)
            inside -= 1
        await close(connection)

    await asyncio.gather(*(go("one") for _ in range(5)))
    assert most == 1
    await asyncio.gather(*(go(name) for name in ("one", "two", "three")))
    assert most == 3


async def test_a_turn_ends_with_a_failure_and_with_the_connection(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS_MAX", 0.5)
    first, second = [await connect(PostgresSettings(url=database), name="test") for _ in range(2)]
    with pytest.raises(ValueError, match="on purpose"):
        async with turn(first, "one"):
            raise ValueError("on purpose")
    held = asyncio.Event()

    async def hold() -> None:
        async with turn(first, "one"):
            held.set()
            await asyncio.sleep(60)

    holding = asyncio.ensure_future(hold())
    await held.wait()
    with pytest.raises(NoTurn):
        async with turn(second, "one"):
            pass
    holding.cancel()
    async with turn(second, "one"):
        with pytest.raises(asyncio.CancelledError):
            await holding
        assert first.is_closed()
    await close(second)
