"""The projector: exactly once, never skipping, and rebuilt to the same bytes beside the live tables."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from ledger import projector as projector_module
from ledger.canonical import encode
from ledger.clock import VirtualClock
from ledger.community_projector import VERSION, CannotApply, CommunityProjector
from ledger.event import Event
from ledger.events import AlarmRaised, MeterAdded, RegisterEpochOpened
from ledger.gap import INTERVALS_AT_ONCE, Gap, Interval
from ledger.postgres import PostgresSettings
from ledger.postgres.projection import NEXT, ProjectionStore, RebuildUnderWay
from ledger.projector import NewerProjections, Projector, rebuild
from ledger.registry import OPERATOR
from tests.support.campus import GATEWAY, MORNING, QUARTER, Campus, reading, readings, record
from tests.support.market import market_events
from tests.support.store import owner, projections, read_book
from tests.support.trading import DAY


@pytest.fixture
def store(database: str) -> PostgresSettings:
    """A store of the test's own."""
    return PostgresSettings(url=database)


@pytest.fixture
async def projector(store: PostgresSettings) -> AsyncIterator[Projector]:
    """A projector of that database."""
    projector = Projector(store, poll_seconds=0.01)
    yield projector
    await projector.close()


def night(meter: int, begin: int) -> list[Event]:
    """A day's 97 readings as they may come: in disorder, one missing, one twice, one a glitch."""
    taken = [reading(begin + quarter, 5_000 * meter + 90 * (begin + quarter)) for quarter in range(97)]
    taken = taken[60:] + taken[:60]
    return [*taken[:10], *taken[12:], taken[3], reading(begin + 98, 0), *taken[10:11]]


async def _tell_all_kinds(campus: Campus, store: PostgresSettings) -> None:
    """A book with every kind of event, in many small batches."""
    writer = await campus.opened(store)
    alarm = AlarmRaised(at=MORNING, alarm="meter-silent", detail="m-0 \x00", salt="A" * 16, meter="m-0")
    replaced = RegisterEpochOpened(meter="m-1", since=MORNING + 200 * QUARTER, reason="replacement")
    larger = MeterAdded(
        meter="m-1", role="connection", model="sdm630", rated_w=138_000, since=MORNING, building="b-1"
    )
    told: list[tuple[str, str, list[Event]]] = [
        (GATEWAY, "meter/m-0", readings(0, 8)),
        (GATEWAY, f"device/{GATEWAY}", [alarm]),
        (GATEWAY, "meter/m-1", night(1, 0)),
        (GATEWAY, "meter/m-0", readings(20, 24)),
        (GATEWAY, "meter/m-0", readings(10, 14)),
        (OPERATOR, "registry", [replaced, larger]),
        (GATEWAY, "meter/m-1", night(1, 97)),
        # More than the smaller connection could carry.
        (
            GATEWAY,
            "meter/m-1",
            [reading(200 + quarter, 30_000 * quarter, serial="new") for quarter in range(9)],
        ),
        (GATEWAY, "meter/m-0", readings(24, 150)),
        *market_events(),
    ]
    for device, stream, events in told:
        assert await record(writer, device, campus.envelope(device, {stream: events})) == ["recorded"]
        await writer.book.seal()
    await campus.close()


async def _dump(store: PostgresSettings, schema: str = "projection") -> dict[str, list[tuple[object, ...]]]:
    async with owner(store) as connection:
        return await projections(connection, schema=schema)


async def _positions(store: PostgresSettings) -> Sequence[tuple[object, ...]]:
    """Up to where all is projected; none while a projector that begins puts new tables into their places."""
    try:
        return (await _dump(store))["positions"]
    except asyncpg.UndefinedTableError:
        return []


# --- what it makes ------------------------------------------------------------------------------------


async def test_a_meters_energy_is_summed_into_its_building(
    store: PostgresSettings, projector: Projector
) -> None:
    campus = Campus("campus", meters=2)
    writer = await campus.opened(store)
    await record(writer, GATEWAY, campus.read(0, 5), campus.read(1, 4, meter=1))
    await campus.close()
    await projector.catch_up()
    async with owner(store) as connection:
        rows = await connection.fetch("SELECT * FROM projection.building_intervals ORDER BY start")
    assert [row["start"] for row in rows] == [MORNING + quarter * QUARTER for quarter in range(4)]
    assert [row["import_wh"] for row in rows] == [250, 500, 500, 250]
    assert [row["quality"] for row in rows] == ["incomplete", "measured", "measured", "incomplete"]


async def test_a_book_is_projected_to_its_end_and_not_once_more(
    store: PostgresSettings, projector: Projector
) -> None:
    campus = Campus("campus", meters=2)
    await _tell_all_kinds(campus, store)
    size = (await read_book(store, "campus")).fence["size"]
    assert await projector.catch_up() == size
    before = await _dump(store)
    assert before["positions"] == [("campus", size)]
    assert await projector.catch_up() == 0
    await projector.close()
    assert await projector.catch_up() == 0
    assert await _dump(store) == before


async def test_a_gap_that_a_page_divides_again_and_again_is_written_once(
    store: PostgresSettings, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0
    add_intervals = ProjectionStore.add_intervals

    async def count(self: ProjectionStore, community: str, rows: Sequence[tuple[str, Interval]]) -> None:
        nonlocal written
        written += len(rows)
        await add_intervals(self, community, rows)

    monkeypatch.setattr(ProjectionStore, "add_intervals", count)
    campus = Campus("campus")
    writer = await campus.opened(store)
    newest_first: list[Event] = [reading(quarter, 90 * quarter) for quarter in (0, *range(200, 100, -1))]
    envelope = campus.envelope(GATEWAY, {"meter/m-0": newest_first})
    assert await record(writer, GATEWAY, envelope) == ["recorded"]
    await campus.close()
    await projector.catch_up()
    async with owner(store) as connection:
        assert await connection.fetchval("SELECT count(*) FROM projection.meter_intervals") == written == 200


async def test_a_gap_of_a_year_is_worked_off_in_parts_between_which_others_have_a_turn(
    store: PostgresSettings, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[int] = []
    add_intervals, measured = ProjectionStore.add_intervals, ProjectionStore.measured

    async def add(self: ProjectionStore, community: str, rows: Sequence[tuple[str, Interval]]) -> None:
        parts.append(len(rows))
        await add_intervals(self, community, rows)

    async def ask(
        self: ProjectionStore, community: str, meter: str, starts: Sequence[int], decided_by: int
    ) -> dict[int, tuple[int, int]]:
        parts.append(len(starts))
        return await measured(self, community, meter, starts, decided_by)

    monkeypatch.setattr(ProjectionStore, "add_intervals", add)
    monkeypatch.setattr(ProjectionStore, "measured", ask)
    campus = Campus("campus")
    writer = await campus.opened(store, VirtualClock(MORNING + 400 * DAY))
    gap: list[Event] = [reading(0, 0), reading(365 * 96, 9_000)]
    assert await record(writer, GATEWAY, campus.envelope(GATEWAY, {"meter/m-0": gap})) == ["recorded"]
    await campus.close()
    await projector.catch_up()
    assert max(parts) <= INTERVALS_AT_ONCE
    async with owner(store) as connection:
        query = "SELECT count(*), sum(import_wh) FROM projection.meter_intervals"
        assert tuple(await connection.fetchrow(query) or ()) == (365 * 96, 9_000)


async def test_a_projector_that_is_told_to_stop_within_a_long_page_leaves_nothing_of_it(
    store: PostgresSettings, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.Event()

    async def long(self: ProjectionStore, community: str, gaps: Sequence[tuple[str, Gap]]) -> None:
        began.set()
        await self._connection.execute("SELECT pg_sleep(60)")

    campus = Campus("campus")
    writer = await campus.opened(store)
    told: list[Event] = [reading(0, 0), reading(20, 900)]
    assert await record(writer, GATEWAY, campus.envelope(GATEWAY, {"meter/m-0": told})) == ["recorded"]
    await campus.close()
    stop = asyncio.Event()
    with monkeypatch.context() as patch:
        patch.setattr(ProjectionStore, "clear_gaps", long)
        following = asyncio.ensure_future(projector.run(stop))
        await began.wait()
        stop.set()
        async with asyncio.timeout(5):
            await following
    assert (await _dump(store))["meter_intervals"] == []
    async with asyncio.timeout(5):
        await projector.catch_up()
    assert len((await _dump(store))["meter_intervals"]) == 20


async def test_an_idle_projector_writes_nothing(store: PostgresSettings, projector: Projector) -> None:
    campus = Campus("campus")
    await campus.opened(store)
    empty = Campus("empty")
    await empty.writer(store).book.open()
    await projector.catch_up()
    async with owner(store) as connection:
        before = await connection.fetchval("SELECT pg_current_wal_insert_lsn()::text")
        for _ in range(5):
            assert await projector.catch_up() == 0
        after = await connection.fetchval("SELECT pg_current_wal_insert_lsn()::text")
    await campus.close()
    await empty.close()
    assert before == after


# --- pages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [1, 7, 97, 10_000])
async def test_any_way_to_cut_the_book_into_pages_gives_the_same_bytes(
    store: PostgresSettings, projector: Projector, page: int
) -> None:
    await _tell_all_kinds(Campus("campus", meters=2), store)
    await projector.catch_up()
    live = await _dump(store)
    aside = await ProjectionStore.open(store, NEXT)
    await aside.prepare_next(VERSION)
    one = CommunityProjector("campus", aside)
    while await one.step(page):
        one.position = one.position if page % 2 else -1  # with and without what it remembers
    await aside.close()
    assert await _dump(store, NEXT) == live


async def test_following_a_book_as_it_grows_gives_the_same_bytes_as_a_rebuild(
    store: PostgresSettings, projector: Projector
) -> None:
    campus = Campus("campus", meters=2)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(projector.run(stop))
        await _tell_all_kinds(campus, store)
        size = (await read_book(store, "campus")).fence["size"]
        async with asyncio.timeout(10):
            while await _positions(store) != [("campus", size)]:
                await asyncio.sleep(0.02)
        stop.set()
    live = await _dump(store)
    assert sum((await rebuild(store)).values()) == size
    assert await _dump(store) == live


async def test_states_that_are_not_remembered_are_read_again(
    store: PostgresSettings, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _tell_all_kinds(Campus("campus", meters=2), store)
    await projector.catch_up()
    live = await _dump(store)
    monkeypatch.setattr("ledger.community_projector.STATES_REMEMBERED_MAX", 0)
    monkeypatch.setattr(projector_module, "PAGE_EVENTS", 11)
    await rebuild(store)
    assert await _dump(store) == live


def follow_newer_rules(patch: pytest.MonkeyPatch) -> None:
    """Be a newer version of the program."""
    for module in ("projector", "community_projector"):
        patch.setattr(f"ledger.{module}.VERSION", VERSION + 1)


# --- rebuilding ---------------------------------------------------------------------------------------


async def test_a_rebuild_beside_a_live_projector_and_writer_disturbs_neither(
    store: PostgresSettings, projector: Projector
) -> None:
    campus = Campus("campus")
    writer = await campus.opened(store)
    stop, rebuilt = asyncio.Event(), 0

    async def write() -> None:
        quarter = 0
        while not stop.is_set() and quarter < 900:
            await record(writer, GATEWAY, campus.read(quarter, quarter + 3))
            quarter += 3

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(projector.run(stop))
        writing = tasks.create_task(write())
        await asyncio.sleep(0.1)
        while not writing.done() and rebuilt < 6:
            await rebuild(store)
            rebuilt += 1
        await writing
        async with asyncio.timeout(10):
            while (await _dump(store))["positions"] != [("campus", writer.book.size)]:
                await asyncio.sleep(0.02)
        stop.set()
    await campus.close()
    assert rebuilt > 1
    live = await _dump(store)
    await rebuild(store)
    assert await _dump(store) == live


async def test_projections_of_an_older_version_are_rebuilt_before_they_are_used(
    store: PostgresSettings, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _tell_all_kinds(Campus("campus", meters=2), store)
    await projector.catch_up()
    live = await _dump(store)
    async with owner(store) as connection:
        await connection.execute("DELETE FROM projection.meter_intervals")
    follow_newer_rules(monkeypatch)
    newer = Projector(store)
    assert await newer.catch_up() == 0
    await newer.close()
    assert await _dump(store) == live


async def test_an_older_program_leaves_newer_projections_alone(
    store: PostgresSettings, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    campus = Campus("campus", meters=2)
    await _tell_all_kinds(campus, store)
    await projector.catch_up()
    with monkeypatch.context() as newer:
        follow_newer_rules(newer)
        await rebuild(store)
    live = await _dump(store)
    writer = campus.writer(store)
    await record(writer, GATEWAY, campus.read(150, 152))
    await campus.close()
    with pytest.raises(NewerProjections):
        await projector.run(asyncio.Event())  # it was at work when the newer version took over
    with pytest.raises(NewerProjections):
        await Projector(store).catch_up()
    assert await _dump(store) == live


async def test_only_one_can_rebuild_at_a_time(store: PostgresSettings, projector: Projector) -> None:
    await _tell_all_kinds(Campus("campus", meters=2), store)
    await projector.catch_up()
    live = await _dump(store)
    outcomes = await asyncio.gather(*(rebuild(store) for _ in range(4)), return_exceptions=True)
    assert all(isinstance(outcome, dict | RebuildUnderWay) for outcome in outcomes)
    assert any(isinstance(outcome, dict) for outcome in outcomes)
    assert await _dump(store) == live


async def test_two_projectors_that_start_on_an_older_version_both_get_to_work(
    store: PostgresSettings, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _tell_all_kinds(Campus("campus", meters=2), store)
    await projector.catch_up()
    live = await _dump(store)
    follow_newer_rules(monkeypatch)
    monkeypatch.setattr(projector_module, "RETRY_SECONDS", 0.01)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for each in (Projector(store, 0.01), Projector(store, 0.01)):
            tasks.create_task(each.run(stop))
        await asyncio.sleep(0.6)
        stop.set()
    assert await _dump(store) == live


async def test_two_projectors_apply_every_event_once(store: PostgresSettings, projector: Projector) -> None:
    campus = Campus("campus", meters=2)
    other, stop = Projector(store, poll_seconds=0.01), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for each in (projector, other):
            tasks.create_task(each.run(stop))
        await _tell_all_kinds(campus, store)
        size = (await read_book(store, "campus")).fence["size"]
        async with asyncio.timeout(10):
            while (await _dump(store))["positions"] != [("campus", size)]:
                await asyncio.sleep(0.02)
        stop.set()
    live = await _dump(store)
    await rebuild(store)
    assert await _dump(store) == live


# --- what cannot be applied --------------------------------------------------------------------------


async def _insert(store: PostgresSettings, community: str, stream: str, body: bytes) -> int:
    """Put an event into the book that no writer would; returns its position."""
    async with owner(store) as connection:
        size: int = await connection.fetchval(
            "UPDATE book.communities SET size = size + 1 WHERE community = $1 RETURNING size", community
        )
        await connection.execute(
            "INSERT INTO book.events VALUES ($1, $2, $3, 1, $4, $4, $5, $2)",
            community,
            size - 1,
            stream,
            bytes(32),
            body,
        )
    return size - 1


@pytest.mark.parametrize(
    ("stream", "body"),
    [
        ("meter/m-7", encode(reading(1, 1))),  # a meter that the registry does not know
        ("device/nobody", b'{"device":"nobody","key":"0000000000000000","reason":"","type":"key-revoked/1"}'),
        ("market", b'{"type":"order-placed/9"}'),  # of a later version
    ],
)
async def test_an_event_that_cannot_be_applied_stops_its_community_there_and_no_other(
    store: PostgresSettings, projector: Projector, stream: str, body: bytes
) -> None:
    campus, neighbour = Campus("campus"), Campus("neighbour")
    writer = await campus.opened(store)
    await record(writer, GATEWAY, campus.read(0, 5))
    position = await _insert(store, "campus", stream, body)
    async with owner(store) as connection:  # the book goes on behind it
        await connection.execute("UPDATE book.communities SET size = size + 1 WHERE community = 'campus'")
        await connection.execute(
            "INSERT INTO book.events VALUES ('campus', $1, 'meter/m-0', 99, $2, $2, $3, $1)",
            position + 1,
            bytes(32),
            encode(reading(5, 1_001_250)),
        )
    await neighbour.opened(store)
    await projector.catch_up()
    assert f"position {position}" in projector.stopped["campus"].where
    after = await _dump(store)
    size = (await read_book(store, "neighbour")).fence["size"]
    assert after["positions"] == [("campus", position), ("neighbour", size)]
    assert len(after["meter_intervals"]) == 4
    assert await projector.catch_up() == 0
    assert await _dump(store) == after, "and it stays there"
    await campus.close()
    await neighbour.close()


async def test_a_rebuild_that_cannot_be_finished_leaves_the_live_projections_as_they_are(
    store: PostgresSettings, projector: Projector
) -> None:
    campus = Campus("campus")
    writer = await campus.opened(store)
    await record(writer, GATEWAY, campus.read(0, 5))
    await campus.close()
    await projector.catch_up()
    before = await _dump(store)
    await _insert(store, "campus", "market", b'{"type":"order-placed/9"}')
    with pytest.raises(CannotApply):
        await rebuild(store)
    assert await _dump(store) == before


async def test_a_zone_that_does_not_exist_stops_its_community_only(
    store: PostgresSettings, projector: Projector
) -> None:
    nowhere, campus = Campus("nowhere", zone="Asia/Nowhere"), Campus("campus")
    await nowhere.writer(store).book.open()
    await _insert(store, "nowhere", "registry", encode(nowhere.opening()))
    await campus.opened(store)
    await projector.catch_up()
    assert set(projector.stopped) == {"nowhere"}
    assert [row[0] for row in (await _dump(store))["communities"]] == ["campus"]
    await nowhere.close()
    await campus.close()


async def test_a_busy_book_keeps_no_other_waiting_and_no_projector_from_stopping(
    store: PostgresSettings, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector_module, "PAGE_EVENTS", 5)
    busy, quiet = Campus("busy"), Campus("quiet")
    writer, other = await busy.opened(store), await quiet.opened(store)
    stop, done = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        quarter = 0
        while not done.is_set():
            await record(writer, GATEWAY, busy.read(quarter, quarter + 1))
            quarter = quarter + 1

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        following = tasks.create_task(projector.run(stop))
        async with asyncio.timeout(10):
            while ("quiet", other.book.size) not in (await _positions(store)):
                await asyncio.sleep(0.01)
            stop.set()
            await following
        done.set()
    await busy.close()
    await quiet.close()


async def _positions(store: PostgresSettings) -> list[tuple[str, int]]:
    async with owner(store) as connection:
        if not await connection.fetchval("SELECT to_regclass('projection.positions') IS NOT NULL"):
            return []
        return [tuple(row) for row in await connection.fetch("SELECT * FROM projection.positions")]
