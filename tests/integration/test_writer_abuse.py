"""A writer that is sent what no gateway sends: all of it is kept with its code, and the rest goes on."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from itertools import count

import pytest

from ledger.bus import subjects
from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from ledger.planner import WHAT_MAX
from ledger.postgres import PostgresSettings
from tests.faults.test_bus_faults import HEADERS, tell
from tests.support.campus import GATEWAY, Campus
from tests.support.running import Site, running
from tests.support.store import check_book, migrated, owner, read_book

_numbers = count(1)
NATS_BYTES_MAX = 2**20


@pytest.fixture(scope="module")
async def store(postgres_server: EmbeddedPostgres) -> AsyncIterator[PostgresSettings]:
    """A database with its tables, in which every test has a community of its own."""
    yield await migrated(await postgres_server.create_database("writer_abuse"))
    await postgres_server.drop_database("writer_abuse")


@pytest.fixture
async def campus() -> AsyncIterator[Campus]:
    """A community that no other test has."""
    campus = Campus(f"abused-{next(_numbers)}-{os.getpid()}")
    yield campus
    await campus.close()


async def refusals(store: PostgresSettings, campus: Campus, events: int) -> dict[str, int]:
    """How often each code stands in quarantine; the book is sound and has so many readings."""
    book = await read_book(store, campus.community)
    check_book(book, campus.verifier, [key.public for key in campus.keys.values()])
    assert sum(row["stream"] == "meter/m-0" for row in book.events) == events
    assert all(len(row["what"]) <= WHAT_MAX for row in book.quarantine)
    return Counter(row["code"] for row in book.quarantine)


async def until_refused(site: Site, times: int) -> None:
    async with asyncio.timeout(20):
        while len(site.received) < times:
            await asyncio.sleep(0.01)


async def test_headers_that_nobody_can_read_keep_nothing_from_the_writer(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    async with running(campus, await campus.opened(store), nats_server) as site:
        subject = subjects.envelopes(campus.community, GATEWAY).encode()
        for number, header in enumerate(HEADERS.values()):
            body = str(number).encode()
            sizes = len(header), len(header) + len(body)
            await tell(nats_server, b"HPUB %s %d %d\r\n%s%s\r\n" % (subject, *sizes, header, body))
        await until_refused(site, len(HEADERS))
        assert (await site.send(GATEWAY, campus.read(0, 5))).code == "recorded"
    assert await refusals(store, campus, 5) == {"malformed": len(HEADERS)}


async def test_what_is_told_of_a_refusal_is_short_whatever_was_sent(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    async with running(campus, await campus.opened(store), nats_server) as site:
        envelope = campus.read(0, 5)
        room = NATS_BYTES_MAX - len(envelope)
        for word in (b"x" * room, b"\\u0001" * (room // 6)):
            answer = await site.send(GATEWAY, envelope.replace(b"meter-read/1", word, 1))
            assert answer.code == "malformed"
            assert answer.refusal is not None
            assert len(answer.refusal.what) <= WHAT_MAX
        assert (await site.send(GATEWAY, envelope)).code == "recorded"
    assert await refusals(store, campus, 5) == {"malformed": 2}


async def test_a_writer_that_may_wait_for_a_lock_no_longer_tries_again(
    store: PostgresSettings, nats_server: EmbeddedNats, campus: Campus
) -> None:
    async with owner(store) as rival:
        name = await rival.fetchval("SELECT current_database()")
        await rival.execute(f"ALTER DATABASE {name} SET lock_timeout = '200ms'")
        async with running(campus, await campus.opened(store), nats_server) as site:
            transaction = rival.transaction()
            await transaction.start()
            await rival.execute("SELECT FROM book.communities FOR UPDATE")
            sending = asyncio.create_task(site.send(GATEWAY, campus.read(0, 5)))
            await asyncio.sleep(1)
            await transaction.rollback()
            assert (await sending).code == "recorded"
        await rival.execute(f"ALTER DATABASE {name} RESET lock_timeout")
    assert await refusals(store, campus, 5) == {}
