"""Strangers on the bus: what they leave in quarantine has bounds, and nobody else loses anything by it."""

import os
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from typing import Any
from unittest.mock import ANY

import asyncpg
import pytest

from ledger import strangers
from ledger.clock import VirtualClock
from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from ledger.postgres import PostgresSettings, appender, connect
from ledger.postgres.connection import APP, close
from ledger.postgres.reader import Reader
from ledger.quarantine import dropped_lines
from ledger.strangers import Bounds
from ledger.writer import Writer
from tests.support.campus import GATEWAY, MORNING, Campus, readings, record
from tests.support.running import running
from tests.support.store import migrated, read_book
from tests.support.trading import DAY

_numbers = count(1)
NONE = Bounds(timedelta(days=90), 1_000, 2**30, 1_000, 2**30)


@pytest.fixture(scope="module")
async def store(postgres_server: EmbeddedPostgres) -> AsyncIterator[PostgresSettings]:
    """A database with its tables, in which every test has a community of its own."""
    yield await migrated(await postgres_server.create_database("strangers"))
    await postgres_server.drop_database("strangers")


@pytest.fixture
async def campus() -> AsyncIterator[Campus]:
    """A community that no other test has."""
    campus = Campus(f"strange-{next(_numbers)}-{os.getpid()}")
    yield campus
    await campus.close()


@pytest.fixture
def clock() -> VirtualClock:
    """The writer's."""
    return VirtualClock(MORNING + DAY)


@pytest.fixture
async def writer(store: PostgresSettings, campus: Campus, clock: VirtualClock) -> Writer:
    """The gateway has left a fork and an envelope that waits for the one before it."""
    writer = await campus.opened(store, clock)
    assert await record(writer, GATEWAY, campus.read(0, 4)) == ["recorded"]
    other = campus.envelope(GATEWAY, {"meter/m-0": readings(5, 6)}, after={})
    campus.read(4, 5)
    assert await record(writer, GATEWAY, other, campus.read(5, 6)) == ["fork", "sequence-gap"]
    return writer


async def send(writer: Writer, clock: VirtualClock, device: str, *numbers: int, size: int = 10) -> None:
    """Messages of so many bytes that nobody can read, a second after one another."""
    for number in numbers:
        clock.advance(timedelta(seconds=1))
        data = f"{device} {number} ".encode().ljust(size, b"x")
        assert await record(writer, device, data) == ["malformed"]


async def kept(store: PostgresSettings, campus: Campus) -> dict[str, list[int]]:
    """The numbers of the messages that each stranger has there; the gateway's own two are always there."""
    rows = (await read_book(store, campus.community)).quarantine
    assert {row["code"] for row in rows if row["device"] == GATEWAY} == {"fork", "sequence-gap"}
    found: dict[str, list[int]] = {}
    for row in sorted(rows, key=lambda row: row["last_at"]):
        if row["device"] != GATEWAY:
            found.setdefault(row["device"], []).append(int(row["message"].split()[1]))
    return found


async def dropped(store: PostgresSettings, campus: Campus) -> list[tuple[str, int, int]]:
    async with await Reader.open(store) as reader:
        rows = await reader.quarantine_dropped(campus.community)
        assert len(dropped_lines(rows)) == len(rows)
    return [(row["code"], row["messages"], row["bytes"]) for row in rows]


async def bound(writer: Writer, monkeypatch: pytest.MonkeyPatch, **bounds: Any) -> None:
    monkeypatch.setattr(strangers, "LOOK_EVERY", timedelta())
    monkeypatch.setattr(strangers, "BOUNDS", NONE._replace(**bounds))
    await writer.book.bound_quarantine()


@pytest.mark.parametrize(
    ("bounds", "a", "b"),
    [
        ({}, [1, 2, 3, 4], [1, 2]),
        ({"sender_messages": 3}, [2, 3, 4], [1, 2]),
        ({"sender_bytes": 25}, [3, 4], [1, 2]),
        ({"messages": 4}, [3, 4], [1, 2]),
        ({"bytes": 35}, [4], [1, 2]),
        ({"age": timedelta(seconds=4)}, [2, 3, 4], [1, 2]),
        ({"messages": 0}, [], []),
    ],
)
async def test_the_oldest_go_and_are_counted(
    store: PostgresSettings, campus: Campus, clock: VirtualClock, writer: Writer,
    monkeypatch: pytest.MonkeyPatch, bounds: dict[str, Any], a: list[int], b: list[int],
) -> None:  # fmt: skip
    await send(writer, clock, "a", 1, 2, 3, 4)
    await send(writer, clock, "b", 1, 2)
    await bound(writer, monkeypatch, **bounds)
    expected = {name: numbers for name, numbers in (("a", a), ("b", b)) if numbers}
    assert await kept(store, campus) == expected
    gone = 6 - len(a) - len(b)
    assert await dropped(store, campus) == ([("malformed", gone, 10 * gone)] if gone else [])
    await bound(writer, monkeypatch, **bounds)
    assert await kept(store, campus) == expected


async def test_a_flood_goes_a_little_at_a_time_the_oldest_first(
    store: PostgresSettings, campus: Campus, clock: VirtualClock, writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(strangers, "DROPPED_AT_ONCE", 3)
    monkeypatch.setattr(appender, "DROPPED_AT_ONCE", 3)
    await send(writer, clock, "a", *range(1, 11))
    for left in ([4, 5, 6, 7, 8, 9, 10], [7, 8, 9, 10], [9, 10]):
        await bound(writer, monkeypatch, messages=4, sender_messages=2)
        assert await kept(store, campus) == {"a": left}
    assert await dropped(store, campus) == [("malformed", 8, 80)]


async def test_a_message_that_comes_again_is_as_new_as_then(
    store: PostgresSettings, campus: Campus, clock: VirtualClock, writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    await send(writer, clock, "a", 1, 2, 3, 1)
    await bound(writer, monkeypatch, messages=2)
    assert await kept(store, campus) == {"a": [3, 1]}
    await send(writer, clock, "a", 4, 5)
    await bound(writer, monkeypatch, messages=2)
    assert await dropped(store, campus) == [("malformed", 3, 30)]


async def test_a_parked_envelope_is_recorded_after_strangers_had_to_go(
    store: PostgresSettings, campus: Campus, clock: VirtualClock, writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    await send(writer, clock, GATEWAY, 1, 2)  # under the gateway's name, unsigned
    await bound(writer, monkeypatch, messages=0, age=timedelta(days=-1))
    assert await kept(store, campus) == {}
    heads = (await read_book(store, campus.community)).heads
    missing = campus.envelope(GATEWAY, {"meter/m-0": readings(4, 5)}, after=heads)
    assert await record(writer, GATEWAY, missing) == ["recorded"]
    assert [answer.code for answer in await writer.book.record_parked()] == ["recorded"]


async def test_no_service_lets_anything_else_go(
    store: PostgresSettings, campus: Campus, writer: Writer
) -> None:
    connection = await connect(store, name="test", role=APP)
    for change in ("DELETE FROM book.quarantine", "DELETE FROM book.quarantine_dropped",
                   "UPDATE book.quarantine_dropped SET messages = 0"):  # fmt: skip
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(change)
    now = MORNING + 10 * DAY
    query = "SELECT book.bound_quarantine($1, $2, $2, 0, 0, 0, 0, 100)"
    assert await connection.fetchval(query, campus.community, now) == 0
    await close(connection)
    assert await kept(store, campus) == {}


async def test_on_the_bus_strangers_are_kept_within_bounds_while_they_send(
    store: PostgresSettings, campus: Campus, writer: Writer, nats_server: EmbeddedNats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(strangers, "LOOK_AFTER_MESSAGES", 5)
    monkeypatch.setattr(strangers, "BOUNDS", NONE._replace(messages=10))
    async with running(campus, writer, nats_server) as site:
        for number in range(40):
            assert (await site.send("nobody", b"nobody %d" % number)).code == "malformed"
    found = (await kept(store, campus))["nobody"]
    assert 10 <= len(found) < 10 + 5
    assert await dropped(store, campus) == [("malformed", 40 - len(found), ANY)]
