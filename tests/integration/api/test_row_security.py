"""In the store too, a connection that reads for a building sees that building's rows and no others."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ledger.access import Role
from ledger.clock import rfc3339
from ledger.embedded import EmbeddedNats
from ledger.event import new_salt
from ledger.market_events import AgreementProposed, OrderPlaced
from ledger.postgres import PostgresSettings
from ledger.postgres.connection import BUILDING, Connection, close, connect, statement
from ledger.postgres.pool import Pool, read_for
from ledger.postgres.projection import LIVE
from ledger.projector import rebuild
from ledger.registry import OPERATOR
from tests.support.api import V1, Api, api
from tests.support.billing import after_june, four_quarters_of_june, issue
from tests.support.campus import MORNING
from tests.support.store import owner
from tests.support.trading import BUILDINGS, Site

MINE, METER = "b-2", "m-1"
Judge = Callable[[Any], bool]


def of(*columns: str) -> Judge:
    """Whether one of these columns names the building."""
    return lambda row: MINE in {row[column] for column in columns}


def of_meter(row: Any) -> bool:
    return bool(row["meter"] == METER)


def of_account(row: Any) -> bool:
    return bool(row["account"] == f"building/{MINE}")


def of_stream(row: Any) -> bool:
    is_mine = row["stream"] in {f"building/{MINE}", f"meter/{METER}"}
    return is_mine or (
        row["stream"] == "settlement" and f'"building":"{MINE}"'.encode() in row.get("body", b"")
    )


OWN: dict[str, Judge] = {
    "book.events": of_stream,
    "book.stream_heads": of_stream,
    "settlement.posted": of_account,
    "settlement.charges": of_account,
    "settlement.postings": of_account,
    "settlement.journal": of_account,
    "settlement.trades": of("seller", "buyer"),
    "settlement.shares": of("building"),
    "projection.buildings": of("building"),
    "projection.meters": of("building"),
    "projection.orders": of("building"),
    "projection.agreements": of("proposer", "partner"),
    "projection.invoices": of("building"),
    "projection.meter_intervals": of_meter,
    "projection.building_intervals": of("building"),
    "projection.readings_aside": of_meter,
}
"""Every table that a building reads, and which of its rows are its own."""
OPEN = {"settlement.runs", "settlement.intervals", "projection.positions"}
"""What it reads whole: no row of these tells of a building."""
TELLING = {
    "building",
    "account",
    "seller",
    "buyer",
    "proposer",
    "partner",
    "meter",
    "stream",
    "body",
    "bodies",
}
"""Columns by which a row tells of somebody."""
EMPTY = {"settlement.shares"}
"""What this campus has no rows of."""


@pytest.fixture
async def site(database: str) -> AsyncIterator[Site]:
    """Three buildings whose June is settled and billed, and which have ordered and agreed."""
    async with after_june(database) as found:
        await issue(found)
        now = found.ledgers_clock.now()
        span = {"begin": now + timedelta(days=1), "until": now + timedelta(days=2)}
        for building in BUILDINGS:
            order = OrderPlaced(order="o", side="buy", limit_micro_per_kwh=3_000_000, salt=new_salt(), **span)
            await found.tell(OPERATOR, f"building/{building}", order)
        for proposer, partner in (("b-1", "b-2"), ("b-1", "b-3")):
            offer = AgreementProposed(
                agreement=f"with-{partner}",
                partner=partner,
                side="sell",
                price_micro_per_kwh=3_000_000,
                salt=new_salt(),
                **span,
            )
            await found.tell(OPERATOR, f"building/{proposer}", offer)
        await found.projector.catch_up()
        yield found


@asynccontextmanager
async def reader(store: PostgresSettings, building: str | None) -> AsyncIterator[Connection]:
    """A connection as the API has it for a building; for none before it has said for which."""
    connection = await connect(store, name="test", role=BUILDING, search_path=LIVE)
    if building is not None:
        await connection.execute(statement("read_for_building"), "campus", building)
    try:
        yield connection
    finally:
        await close(connection)


async def readable(connection: Connection) -> list[str]:
    """Every table and view that the connection's role may read, of all that there are."""
    rows = await connection.fetch(
        "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND n.nspname !~ '^pg_|^information_schema$'"
        " AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT') ORDER BY 1"
    )
    return [row[0] for row in rows]


async def everything(connection: Connection, table: str) -> list[Any]:
    return await connection.fetch(f"SELECT * FROM {table}")  # noqa: S608 - a name out of the catalogue


async def check_own_rows_only(site: Site) -> None:
    async with reader(site.store, MINE) as mine, owner(site.store) as whole:
        for table, is_own in OWN.items():
            seen, all_rows = await everything(mine, table), await everything(whole, table)
            wanted = [row for row in all_rows if is_own(row)]
            assert sorted(map(repr, seen)) == sorted(map(repr, wanted)), table
            assert table in EMPTY or 0 < len(wanted) < len(all_rows), f"{table} does not tell them apart"


async def test_whatever_a_building_selects_its_own_rows_are_all_that_comes(site: Site) -> None:
    await check_own_rows_only(site)


async def test_rebuilt_projections_are_kept_apart_too(site: Site) -> None:
    async with reader(site.store, MINE) as before:
        assert len(await everything(before, "buildings")) == 1
        await rebuild(site.store)
        assert len(await everything(before, "buildings")) == 1
        assert len(await everything(before, "book.events")) > 1
    await check_own_rows_only(site)


async def test_a_building_reads_no_table_that_nobody_has_thought_of(site: Site) -> None:
    async with reader(site.store, MINE) as mine:
        assert {*OWN, *OPEN} == {*await readable(mine)}


async def test_what_is_read_whole_tells_of_nobody(site: Site) -> None:
    async with owner(site.store) as whole:
        for table in OPEN:
            schema, _, name = table.partition(".")
            columns = await whole.fetch(
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_schema = $1 AND table_name = $2",
                schema, name,
            )  # fmt: skip
            assert columns
            assert not TELLING & {row[0] for row in columns}, table


async def test_before_it_is_said_for_whom_nothing_is_seen(site: Site) -> None:
    for who in (None, "", "nobody"):
        async with reader(site.store, who) as nobody:
            assert [table for table in OWN if await everything(nobody, table)] == []
    async with reader(site.store, None) as elsewhere:
        await elsewhere.execute(statement("read_for_building"), "elsewhere", MINE)
        assert [table for table in OWN if await everything(elsewhere, table)] == []


async def test_a_reader_writes_nothing(site: Site) -> None:
    async with reader(site.store, MINE) as mine:
        for table in await readable(mine):
            for change in (f"DELETE FROM {table}", f"INSERT INTO {table} DEFAULT VALUES"):  # noqa: S608 - likewise
                with pytest.raises(asyncpg.PostgresError) as refused:
                    await mine.execute(change)
                assert isinstance(
                    refused.value,
                    asyncpg.InsufficientPrivilegeError | asyncpg.ObjectNotInPrerequisiteStateError,
                ), change


async def test_a_connection_that_goes_from_hand_to_hand_shows_each_their_own(site: Site) -> None:
    pool = await Pool.open(site.store, 1)

    async def ask(building: str) -> None:
        read_for("campus", building)
        for _ in range(10):
            async with pool.connection() as connection:
                assert [row["building"] for row in await everything(connection, "buildings")] == [building]
                await asyncio.sleep(0)
            async with pool.whole.connection() as connection:
                assert len(await everything(connection, "buildings")) == len(BUILDINGS)

    try:
        await asyncio.gather(
            *(ask(building) for building in BUILDINGS)
        )  # each a task, with a context of its own
        async with pool.connection() as connection:
            assert len(await everything(connection, "buildings")) == len(BUILDINGS), "nobody's request"
    finally:
        await pool.close()


async def test_a_request_that_is_cut_off_leaves_no_connection_of_an_unknown_reader(site: Site) -> None:
    pool = await Pool.open(site.store, 1)

    async def ask(building: str) -> list[str]:
        read_for("campus", building)
        async with pool.connection() as connection:
            return [row["building"] for row in await everything(connection, "buildings")]

    try:
        for number in range(60):
            task = asyncio.ensure_future(ask("b-2"))
            await asyncio.sleep(number / 20_000)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await asyncio.ensure_future(ask("b-1")) == ["b-1"]
    finally:
        await pool.close()


# --- over HTTP --------------------------------------------------------------------------------


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    async with api(database, nats_server, tmp_path) as found:
        await four_quarters_of_june(found.site)
        await issue(found.site)
        await found.site.projector.catch_up()
        yield found


async def test_a_building_is_told_of_itself_what_the_operator_is(served: Api) -> None:
    span = {"begin": rfc3339(MORNING)}
    for path in ("intervals", "statement/2026-06", "savings?month=2026-06", "invoices", "meters",
                 f"meters/{METER}/chain", "orders", "agreements"):  # fmt: skip
        params = span if path == "intervals" else None
        told = []
        askers: list[tuple[Role, str | None]] = [("operator", None), ("building", MINE)]
        for role, building in askers:
            async with served.client(role, building) as client:
                answer = await client.get(f"{V1}/buildings/{MINE}/{path}", params=params)
                assert answer.status_code == 200, (path, answer.text)
                told.append(answer.json())
        assert told[0] == told[1], path
        assert told[0].get("items", True) or path in ("orders", "agreements"), path


async def test_a_query_that_forgets_whose_rows_it_wants_tells_a_building_of_itself(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    careless = statement("building_intervals").replace("AND m.building = $2 ", "AND $2 <> '' ")
    path, span = f"{V1}/buildings/{MINE}/intervals", {"begin": rfc3339(MORNING)}

    async def items(role: Role, building: str | None = None) -> list[Any]:
        async with served.client(role, building) as client:
            told: list[Any] = (await client.get(path, params=span)).json()["items"]
            return told

    right = await items("operator")
    monkeypatch.setattr(
        "ledger.postgres.buildings.statement",
        lambda name: careless if name == "building_intervals" else statement(name),
    )
    assert await items("operator") != right, "the query is careless"
    assert await items("building", MINE) == right
