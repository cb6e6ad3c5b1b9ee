"""Each storage call is tried as *failed* and as *failed but done*; servers are killed under load.

Whatever breaks, the book then holds every envelope exactly once, an answer was given for what is in the book
and for nothing else, and the projections are those that a rebuild gives.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.clock import VirtualClock
from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from ledger.events import RegisterEpochOpened
from ledger.postgres import PostgresSettings, StoreUnavailable
from ledger.projector import Projector, rebuild
from ledger.registry import OPERATOR
from ledger.writer import WriterSettings
from tests.support.campus import GATEWAY, MORNING, QUARTER, Campus, reading, readings, record
from tests.support.cutter import Cutter, Moment
from tests.support.market import market_events
from tests.support.running import running
from tests.support.store import PROJECTIONS, TABLES, Book, check_book, migrated, owner, projections, read_book

MOMENTS: tuple[Moment, Moment] = ("before", "after")
WHOLE = pytest.param(1, marks=pytest.mark.soak, id="every")
"""A stride over the requests: all are tried by `pytest -m soak`, some by every run."""


@pytest.fixture
def store(database: str) -> PostgresSettings:
    """A store of the test's own."""
    return PostgresSettings(url=database)


@pytest.fixture
async def wire(store: PostgresSettings, server_folder: Path) -> AsyncIterator[Cutter]:
    """The way to that database, which can be cut."""
    async with Cutter(store.url, server_folder) as cutter:
        yield cutter


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once: what is waited for here comes back at once."""
    monkeypatch.setattr("ledger.book.RETRY_SECONDS", 0.001)
    monkeypatch.setattr("ledger.projector.RETRY_SECONDS", 0.001)


def _checked(book: Book, campus: Campus) -> Book:
    check_book(book, campus.verifier, [held.public for held in campus.keys.values()])
    return book


# --- the writer -----------------------------------------------------------------------------------


async def test_every_request_of_the_writer_may_fail_or_fail_but_be_done(
    store: PostgresSettings, wire: Cutter
) -> None:
    campus = Campus("campus", meters=2)
    known = campus.envelope(GATEWAY, {"meter/m-0": readings(0, 3)}, after={})
    forked = campus.envelope(GATEWAY, {"meter/m-0": [reading(0, 1), reading(1, 2)]}, after={})
    steady = await campus.opened(store, VirtualClock(MORNING + timedelta(days=800)))
    assert await record(steady, GATEWAY, campus.read(0, 5)) == ["recorded"]

    async def batch(number: int, at: int | None = None, when: Moment = "before") -> int:
        """All that a batch can do, on a wire that is cut once; how many requests it took."""
        begin = 5 + 250 * number
        sent = [
            known,  # its place is looked up
            campus.read(begin, begin + 250),
            b"junk",
            campus.read(6 * number, 6 * number + 6, meter=1),  # with these a tile becomes full
            forked,
        ]
        writer = campus.writer(wire.settings, VirtualClock(MORNING + timedelta(days=800)))
        wire.cut_at(at, when)
        answers = await writer.book.record([writer.book.examine(GATEWAY, data) for data in sent])
        codes = [answer.code for answer in answers]
        place = f"request {at} was cut {when} it was done"
        assert (codes[0], codes[2], codes[4]) == ("duplicate", "malformed", "fork"), place
        appended = {codes[1], codes[3]}
        assert appended == {"recorded"} or (appended == {"duplicate"} and when == "after"), place
        assert writer.book.size == before + 256 * (number + 1), place
        await writer.book.close()
        return wire.requests

    before = steady.book.size
    requests = await batch(0)
    assert requests > 25, "connecting, reading the state and a transaction"
    number = 0
    for at in range(requests):
        for when in MOMENTS:
            number += 1
            await batch(number, at, when)
    await campus.close()
    book = _checked(await read_book(store, "campus"), campus)
    assert len(book.tiles) == len(book.events) // 256 > number
    assert sorted(row["code"] for row in book.quarantine) == ["fork", "malformed"]


async def test_every_request_of_a_block_may_fail_or_fail_but_be_done(
    store: PostgresSettings, wire: Cutter
) -> None:
    campus = Campus("campus")
    steady = await campus.opened(store)

    async def seal(number: int, at: int | None = None, when: Moment = "before") -> int:
        assert await record(steady, GATEWAY, campus.read(number, number + 1)) == ["recorded"]
        writer = campus.writer(wire.settings)
        wire.cut_at(at, when)
        await writer.book.seal()
        requests = wire.requests
        assert await writer.book.seal() is None
        assert writer.book.registry.last_block is not None
        assert writer.book.registry.last_block.number == number + 1
        await writer.book.close()
        return requests

    number, requests = 0, await seal(0)
    for at in range(requests):
        for when in MOMENTS:
            number += 1
            await seal(number, at, when)
    await campus.close()
    book = _checked(await read_book(store, "campus"), campus)
    assert book.heads["device/service"].sequence == number + 1
    assert book.quarantine == []


async def test_parked_envelopes_are_taken_up_whatever_request_fails(
    store: PostgresSettings, wire: Cutter, nats_server: EmbeddedNats
) -> None:
    campus = Campus("parking")
    await campus.opened(store)
    writer = campus.writer(wire.settings, settings=WriterSettings(wait_seconds=0.01))
    await writer.book.open()
    async with running(campus, writer, nats_server) as site:

        async def fill(number: int, at: int | None = None, when: Moment = "before") -> int:
            first, second = (
                campus.read(4 * number, 4 * number + 2),
                campus.read(4 * number + 2, 4 * number + 4),
            )
            assert (await site.send(GATEWAY, second)).code == "sequence-gap"
            wire.cut_at(at, when)
            begin = len(site.received)
            assert (await site.send(GATEWAY, first)).is_safe
            assert (await site.answer(second, begin)).is_safe
            return wire.requests

        number, requests = 0, await fill(0)
        for at in range(requests):
            for when in MOMENTS:
                number += 1
                await fill(number, at, when)
    await campus.close()
    book = _checked(await read_book(store, "parking"), campus)
    assert book.heads["meter/m-0"].sequence == 4 * (number + 1)


async def test_a_writer_that_is_interrupted_anywhere_goes_on_from_what_is_in_the_book(
    store: PostgresSettings,
) -> None:
    campus = Campus("interrupted")
    writer = await campus.opened(store)
    codes = []
    for number in range(60):
        envelope = campus.read(number * 10, number * 10 + 10)
        recording = asyncio.create_task(record(writer, GATEWAY, envelope))
        for _ in range(number * 2):
            await asyncio.sleep(0)
        recording.cancel()
        await asyncio.gather(recording, return_exceptions=True)
        async with asyncio.timeout(5):
            codes += await record(writer, GATEWAY, envelope)
    await campus.close()
    assert set(codes) <= {"recorded", "duplicate"}
    assert _checked(await read_book(store, "interrupted"), campus).heads["meter/m-0"].sequence == 600


@pytest.mark.parametrize(("when", "code"), [("before", "recorded"), ("after", "duplicate")])
async def test_no_receipt_is_given_before_the_commit_is_known_to_be_done(
    store: PostgresSettings, wire: Cutter, nats_server: EmbeddedNats, when: Moment, code: str
) -> None:
    campus = Campus(f"receipt-{when}")
    await campus.opened(store)
    writer = campus.writer(wire.settings)
    await writer.book.open()
    async with running(campus, writer, nats_server) as site:
        wire.is_down = True
        wire.cut_at(b"COMMIT", when)
        envelope = campus.read(0, 3)
        await site.bus.publish_envelope(campus.community, GATEWAY, envelope)
        await asyncio.sleep(0.3)
        book = await read_book(store, campus.community)
        assert book.fence["size"] == (6 if when == "before" else 9)
        assert site.received == []
        wire.is_down = False
        assert (await site.answer(envelope)).code == code
    await campus.close()
    assert _checked(await read_book(store, campus.community), campus).heads["meter/m-0"].sequence == 3


# --- the projector -----------------------------------------------------------------------------------


async def _book_of_all_kinds(store: PostgresSettings) -> None:
    """Readings in order, late ones, a gap, a glitch, an epoch, a market, a block: all that is projected."""
    campus = Campus("campus", meters=2)
    writer = await campus.opened(store)
    zero = [reading(12, 0), reading(14, 1_003_500)]
    sent = [
        campus.read(0, 5),
        campus.envelope(GATEWAY, {"meter/m-0": readings(10, 12)}),
        campus.envelope(GATEWAY, {"meter/m-0": [*zero, *readings(7, 9)]}),
        campus.read(0, 3, meter=1),
    ]
    assert await record(writer, GATEWAY, *sent) == ["recorded"] * 4
    opened = RegisterEpochOpened(meter="m-1", since=MORNING + 3 * QUARTER, reason="replacement")
    assert await record(writer, OPERATOR, campus.envelope(OPERATOR, {"registry": [opened]})) == ["recorded"]
    new = [reading(quarter, 10 * quarter) for quarter in range(3, 6)]
    last = campus.envelope(GATEWAY, {"meter/m-1": new})
    assert await record(writer, GATEWAY, last) == ["recorded"]
    for device, stream, events in market_events():
        assert await record(writer, device, campus.envelope(device, {stream: events})) == ["recorded"]
    await writer.book.seal()
    await campus.close()


async def _project(settings: PostgresSettings) -> None:
    """Follow the book as `run` does, until all of it is projected."""
    projector = Projector(settings)
    while True:
        try:
            await projector.catch_up()
            await projector.close()
            return
        except StoreUnavailable:
            await projector.close()


@pytest.mark.parametrize("stride", [5, WHOLE])
async def test_every_request_of_the_projector_may_fail_or_fail_but_be_done(
    store: PostgresSettings, wire: Cutter, stride: int
) -> None:
    await _book_of_all_kinds(store)
    await _project(store)
    async with owner(store) as connection:
        whole = await projections(connection)
        assert all(whole[table] for table in PROJECTIONS if table != "alarms")
        again = "".join(f"DELETE FROM projection.{table};" for table in TABLES)  # noqa: S608 - our own names
        await connection.execute(again)
        wire.cut_at(None)
        await _project(wire.settings)
        requests = wire.requests
        assert requests > 30
        for at in range(0, requests, stride):
            for when in MOMENTS:
                await connection.execute(again)
                wire.cut_at(at, when)
                await _project(wire.settings)
                assert await projections(connection) == whole, f"request {at} was cut {when} it was done"


async def test_a_projector_that_is_interrupted_anywhere_goes_on_from_what_was_committed(
    store: PostgresSettings,
) -> None:
    await _book_of_all_kinds(store)
    await _project(store)
    interrupted = 0
    async with owner(store) as connection:
        whole = await projections(connection)
        again = "".join(f"DELETE FROM projection.{table};" for table in TABLES)  # noqa: S608 - our own names
        for loops in range(0, 240, 6):
            await connection.execute(again)
            projector = Projector(store)
            await projector.open()
            projecting = asyncio.create_task(projector.catch_up())
            for _ in range(loops):
                await asyncio.sleep(0)
            interrupted += projecting.cancel()
            await asyncio.gather(projecting, return_exceptions=True)
            with contextlib.suppress(StoreUnavailable):  # its connection is not used again
                await projector.catch_up()
            await projector.close()
            await _project(store)
            assert await projections(connection) == whole, f"interrupted after {loops} rounds"
    assert interrupted > 10


@pytest.mark.parametrize("stride", [7, WHOLE])
async def test_every_request_of_a_rebuild_may_fail_or_fail_but_be_done(
    store: PostgresSettings, wire: Cutter, stride: int
) -> None:
    await _book_of_all_kinds(store)
    await _project(store)
    wire.cut_at(None)
    await rebuild(wire.settings)
    requests = wire.requests
    failed = 0
    async with owner(store) as connection:
        whole = await projections(connection)
        for at in range(0, requests, stride):
            for when in MOMENTS:
                wire.cut_at(at, when)
                try:
                    await rebuild(wire.settings)
                except StoreUnavailable:
                    failed += 1
                assert await projections(connection) == whole, "the live ones stay, or the new ones are there"
        assert failed > requests // stride
        await rebuild(store)
        assert await projections(connection) == whole


# --- servers that die -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [pytest.param("restart", marks=pytest.mark.soak), "kill"])
async def test_a_postgres_that_goes_away_under_load_loses_nothing_and_doubles_nothing(
    way: str, server_folder: Path, nats_server: EmbeddedNats
) -> None:
    campus = Campus(f"load-{way}", meters=4)
    async with EmbeddedPostgres(server_folder) as postgres:
        store = await migrated(postgres.dsn)
        writer = await campus.opened(store, settings=WriterSettings(batch_envelopes=4, wait_seconds=0.02))
        projector, stop = Projector(store, poll_seconds=0.01), asyncio.Event()
        async with running(campus, writer, nats_server) as site, asyncio.TaskGroup() as tasks:
            tasks.create_task(projector.run(stop))
            envelopes = [campus.read(n * 20, n * 20 + 20, meter) for n in range(40) for meter in range(4)]
            sending = tasks.create_task(site.send_all([(GATEWAY, data) for data in envelopes]))
            for _ in range(2):
                await asyncio.sleep(0.15)
                await getattr(postgres, way)()
                await postgres.start()
            answers = await sending
            async with owner(store) as connection, asyncio.timeout(20):
                while (projected := await projections(connection))["positions"] != [
                    (campus.community, writer.book.size)
                ]:
                    await asyncio.sleep(0.02)
            stop.set()
        assert {answer.code for answer in answers} <= {"recorded", "duplicate"}
        book = _checked(await read_book(store, campus.community), campus)
        assert [book.heads[f"meter/m-{meter}"].sequence for meter in range(4)] == [800] * 4
        assert len(projected["meter_intervals"]) == 4 * 799
        await rebuild(store)
        async with owner(store) as connection:
            assert await projections(connection) == projected
        await campus.close()
