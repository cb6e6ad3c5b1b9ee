"""The access log is kept by months, for as many as the settings say, and nothing keeps it from going on."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from api.http import access_log
from api.http.access_log import AccessLog
from api.http.principal import Principal
from ledger.clock import VirtualClock
from ledger.postgres import PostgresSettings, connect
from ledger.postgres.access import AccessStore
from ledger.postgres.connection import APP, close
from ledger.postgres.pool import Pool
from tests.support.store import owner

WHO = Principal("0123456789ab", "campus", "operator")
BEGIN = datetime(2021, 1, 1, tzinfo=UTC)
LATER = datetime(2021, 1, 31, 23, 30, tzinfo=UTC)


@pytest.fixture
async def store(database: str) -> AsyncIterator[AccessStore]:
    """Its log was begun long ago: no month is dropped before it is over."""
    async with owner(PostgresSettings(url=database)) as connection:
        await connection.execute("ALTER TABLE access.requests DETACH PARTITION access.requests_before_months")
        await connection.execute(
            "ALTER TABLE access.requests ATTACH PARTITION access.requests_before_months"
            f" FOR VALUES FROM (MINVALUE) TO ('{BEGIN:%Y-%m-%d}Z')"
        )
    pool = await Pool.open(PostgresSettings(url=database), 2)
    yield AccessStore(pool)
    await pool.close()


async def rows(database: str) -> list[tuple[datetime, str]]:
    async with owner(PostgresSettings(url=database)) as connection:
        found = await connection.fetch("SELECT at, path FROM access.requests ORDER BY at")
    return [tuple(row) for row in found]


async def months(database: str) -> list[str]:
    async with owner(PostgresSettings(url=database)) as connection:
        found = await connection.fetch("SELECT part::text FROM access.request_months() ORDER BY until")
    return [row["part"] for row in found]


async def kept(store: AccessStore, clock: VirtualClock, months: int, *paths: str) -> None:
    """A process that notes requests and ends."""
    log, stop = AccessLog(store, clock, months), asyncio.Event()
    for path in paths:
        log.note("id", WHO, "GET", path, 200, 0.1)
    keeping = asyncio.ensure_future(log.keep(stop))
    await asyncio.sleep(0)
    stop.set()
    await keeping


async def test_a_month_is_made_with_its_first_request_and_dropped_as_a_whole_when_it_is_old(
    database: str, store: AccessStore
) -> None:
    clock = VirtualClock(LATER)
    await kept(store, clock, 2, "/january")
    for day, path in ((1, "/february"), (28, "/february")):
        await clock.sleep_until(LATER.replace(month=2, day=day))
        await kept(store, clock, 2, path)
    assert [path for _, path in await rows(database)] == ["/january", "/february", "/february"]
    assert (await months(database))[1:] == ["access.requests_2021_01", "access.requests_2021_02"]
    await clock.sleep_until(LATER.replace(month=3))
    await kept(AccessStore(store._pool), clock, 2, "/march")  # of another process
    assert (await rows(database))[0][1] == "/january", "two months are kept beside this one"
    await clock.sleep_until(LATER.replace(month=4, day=1))
    await kept(store, clock, 2, "/april")
    assert [path for _, path in await rows(database)] == ["/february", "/february", "/march", "/april"]


async def test_what_was_there_before_months_is_a_month_too(database: str, store: AccessStore) -> None:
    await kept(store, VirtualClock(BEGIN.replace(year=2020)), 12, "/once")
    assert await months(database) == ["access.requests_before_months"]
    await kept(store, VirtualClock(BEGIN.replace(year=2023)), 12, "/then")
    assert [path for _, path in await rows(database)] == ["/then"]


async def test_processes_make_a_month_together(database: str) -> None:
    pool = await Pool.open(PostgresSettings(url=database), 8)
    stores = [AccessStore(pool) for _ in range(6)]
    await asyncio.gather(*(kept(store, VirtualClock(LATER), 12, "/x") for store in stores))
    await pool.close()
    assert len(await rows(database)) == 6


async def test_no_service_changes_a_month(database: str, store: AccessStore) -> None:
    await kept(store, VirtualClock(LATER), 12, "/x")
    connection = await connect(PostgresSettings(url=database), name="test", role=APP)
    for change in (
        "UPDATE access.requests SET path = ''", "DELETE FROM access.requests", "TRUNCATE access.requests",
        "DELETE FROM access.requests_2021_01", "DROP TABLE access.requests_2021_01",
        "INSERT INTO access.requests_2021_01 SELECT * FROM access.requests",
    ):  # fmt: skip
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(change)
    await close(connection)
    async with owner(PostgresSettings(url=database)) as connection:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
            await connection.execute("DELETE FROM access.requests_2021_01")


async def test_no_month_that_is_not_over_is_dropped_whatever_instant_is_named(
    database: str, store: AccessStore
) -> None:
    async with owner(PostgresSettings(url=database)) as connection:
        months = "SELECT count(*) FROM access.request_months() WHERE until > date_trunc('month', now())"
        await connection.execute("SELECT access.make_month(now())")
        before = await connection.fetchval(months)
        await connection.execute("SET ROLE energy_ledger_app")
        await connection.execute("SELECT access.drop_months('infinity')")
        assert await connection.fetchval(months) == before == 1


async def test_a_failure_that_nobody_thought_of_does_not_end_the_keeping(
    database: str, store: AccessStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "FLUSH_SECONDS", 0.01)
    written, dropped = store.log, asyncio.Event()

    async def fails(asked: Sequence[Any]) -> None:
        if asked[0].path == "/broken":
            raise ValueError("nobody thought of it")
        await written(asked)

    async def never(*_: Any) -> int:
        dropped.set()
        raise KeyError("nor of that")

    monkeypatch.setattr(store, "log", fails)
    monkeypatch.setattr(store, "drop_months", never)
    log, stop = AccessLog(store, VirtualClock(LATER), 12), asyncio.Event()
    keeping = asyncio.ensure_future(log.keep(stop))
    log.note("id", WHO, "GET", "/broken", 200, 0.1)
    await dropped.wait()
    log.note("id", WHO, "GET", "/whole", 200, 0.1)
    stop.set()
    await keeping
    await asyncio.sleep(0)
    assert [path for _, path in await rows(database)] == ["/whole"]
