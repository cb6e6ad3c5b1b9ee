"""What a building reads over the API: its own alone, in pages that meet, as the ledger itself has it."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledger.clock import rfc3339
from ledger.embedded import EmbeddedNats
from ledger.entry import EMPTY, chain
from ledger.market_events import TariffPublished
from ledger.postgres.billing import BillingStore
from ledger.postgres.buildings import BuildingStore
from ledger.postgres.connection import close, connect
from ledger.postgres.settlement import SettlementStore
from ledger.registry import OPERATOR
from ledger.verify import verify_file
from settlement.billing.accounts import Accounts
from settlement.book_state import BookState
from settlement.comparison import as_published, compare
from tests.support.api import V1, Api, api
from tests.support.billing import JUNE, four_quarters_of_june, issue
from tests.support.campus import MORNING, QUARTER
from tests.support.trading import FLAT, HOUR, quarters

OWN = f"{V1}/buildings/b-1"
MONEY = ("trades", "statement/2026-06", "savings?month=2026-06", "invoices", "invoices/x-2026-000001")
METERED = ("intervals", "meters", "meters/m-0/chain", "meters/m-0/extract")
SPAN = {"begin": rfc3339(MORNING), "until": rfc3339(MORNING + HOUR)}


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    """A campus whose four quarters of June are settled, and the month is closed."""
    async with api(database, nats_server, tmp_path) as found:
        await four_quarters_of_june(found.site)
        yield found


@pytest.fixture
async def own(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    """The building b-1."""
    async with served.client("building", "b-1") as client:
        yield client


async def paged(
    client: httpx.AsyncClient, path: str, limit: int, params: Mapping[str, Any] | None = None
) -> list[Any]:
    """All rows of a list, page by page; each page but the last is full."""
    found: list[Any] = []
    asked = {**(params or {}), "limit": limit}
    while True:
        answer = await client.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["items"]
        if page["next"] is None:
            return found
        assert len(page["items"]) == limit
        asked["after"] = page["next"]


async def refused(client: httpx.AsyncClient, path: str, **params: Any) -> tuple[int, str]:
    answer = await client.get(path, params=params or None)
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def test_a_table_that_somebody_holds_is_told_and_not_waited_for(
    database: str, nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.postgres.pool.LOCK_SECONDS", 1)
    async with (
        api(database, nats_server, tmp_path) as found,
        found.client("building", "b-1") as client,
    ):
        await four_quarters_of_june(found.site)
        rival = await connect(found.backend.book.postgres, name="rival")
        async with rival.transaction():
            await rival.execute("LOCK TABLE projection.meter_intervals IN ACCESS EXCLUSIVE MODE")
            answer = await client.get(f"{OWN}/intervals", params=SPAN)
            assert (answer.status_code, answer.json()["code"]) == (503, "store-unavailable")
            assert answer.headers["Retry-After"]
        assert (await client.get(f"{OWN}/intervals", params=SPAN)).status_code == 200
        await close(rival)


# --- who may -------------------------------------------------------------------------------------------


async def test_a_building_reads_its_own_and_no_others(served: Api, own: httpx.AsyncClient) -> None:
    for path in (*MONEY, *METERED):
        assert await refused(own, f"{V1}/buildings/b-2/{path}") == (403, "not-allowed")
    assert await refused(own, f"{OWN}/meters/m-1/chain") == (404, "not-found"), "it is b-2's"
    assert await refused(own, f"{OWN}/meters/m-1/extract") == (404, "not-found")
    assert await refused(own, f"{OWN}/meters/m-main/extract") == (404, "not-found"), "it is the campus's"


async def test_billing_reads_where_money_is_told_and_an_auditor_nothing_of_a_building(served: Api) -> None:
    async with served.client("billing") as billing, served.client("auditor") as auditor:
        for path in METERED:
            assert await refused(billing, f"{OWN}/{path}") == (403, "not-allowed")
        for path in MONEY[:-1]:
            assert (await billing.get(f"{OWN}/{path}")).status_code == 200
        for path in (*MONEY, *METERED):
            assert await refused(auditor, f"{OWN}/{path}") == (403, "not-allowed")


@pytest.mark.parametrize("name", ["b-9", "B-1", "..%00", "b-1%00", "%E0%B8%81", "x" * 300])
async def test_what_the_book_does_not_name_is_not_found(served: Api, name: str) -> None:
    async with served.client("operator") as operator:
        for path in (*MONEY, *METERED):
            assert await refused(operator, f"{V1}/buildings/{name}/{path}") == (404, "not-found")
        for path in (
            f"meters/{name}/chain", f"meters/{name}/extract", f"invoices/{name}", f"invoices/{name}/proof",
        ):  # fmt: skip
            assert await refused(operator, f"{OWN}/{path}") == (404, "not-found")


async def test_buildings_are_listed_by_name(served: Api) -> None:
    async with served.client("operator") as operator, served.client("billing") as billing:
        rows = await paged(operator, f"{V1}/buildings", 2)
        assert [each["building"] for each in rows] == ["b-1", "b-2", "b-3"]
        assert rows[1] == {"building": "b-2", "name": "b-2", "feeder": "f-1"}
        assert await paged(billing, f"{V1}/buildings", 1) == rows


async def test_a_building_reads_the_market_that_it_bids_in_and_who_its_partners_may_be(
    served: Api, own: httpx.AsyncClient
) -> None:
    await served.site.projector.catch_up()
    async with served.client("operator") as operator:
        for path in (
            "buildings", "market", "market/rules", "market/rules/2", "market/tariffs", "market/tariffs/1",
        ):  # fmt: skip
            mine, theirs = [await each.get(f"{V1}/{path}") for each in (own, operator)]
            assert mine.status_code == 200, path
            assert mine.json() == theirs.json(), path
    assert len((await own.get(f"{V1}/buildings")).json()["items"]) == 3
    (rules,) = (await own.get(f"{V1}/market")).json()["rules"]
    assert rules["gate_minutes"] == 0
    assert (await own.post(f"{V1}/market/rules", json={})).status_code == 403


# --- intervals -----------------------------------------------------------------------------------------


async def test_pages_of_intervals_meet_without_gap_or_overlap(own: httpx.AsyncClient) -> None:
    rows = await paged(own, f"{OWN}/intervals", 1_000, SPAN)
    starts = [MORNING + number * QUARTER for number in range(4)]
    assert [(each["start"], each["end"]) for each in rows] == [
        (rfc3339(start), rfc3339(start + QUARTER)) for start in starts
    ]
    assert {(each["import_wh"], each["export_wh"], each["quality"]) for each in rows} == {
        (0, 2_000, "measured")
    }
    for limit in (1, 2, 3, 4):
        assert await paged(own, f"{OWN}/intervals", limit, SPAN) == rows
    inner = {"begin": rfc3339(starts[1]), "until": rfc3339(starts[3])}
    assert await paged(own, f"{OWN}/intervals", 1, inner) == rows[1:3], "the end is not part of it"
    assert await paged(own, f"{OWN}/intervals", 10) == [], "nothing is known of today"


async def test_intervals_are_those_of_the_view_whatever_meters_came_and_went(served: Api) -> None:
    meters = [("m-a", 0, None), ("m-b", 3, 9), ("m-c", 3, 6), ("m-d", 6, None)]
    connection = await connect(served.backend.book.postgres, name="test", search_path="projection")
    for meter, since, until in meters:
        end = None if until is None else MORNING + until * QUARTER
        await connection.execute(
            "INSERT INTO meters VALUES ('campus', $1, 'connection', 'b-9', 'sdm630', 1, $2, $3)",
            meter, MORNING + since * QUARTER, end,
        )  # fmt: skip
        for number in range(12):
            if (number + 3 * since) % 5 != 4:  # some are missing
                quality = "estimated" if number % 4 == 1 else "measured"
                await connection.execute(
                    "INSERT INTO meter_intervals VALUES ('campus', $1, $2, $3, $4, 0, 0, $5, $5, 0, 0, 0)",
                    meter, MORNING + number * QUARTER, 10 * number, since, quality,
                )  # fmt: skip
    view = await connection.fetch(
        "SELECT extract(epoch FROM start)::bigint, import_wh, export_wh, quality"
        " FROM building_intervals WHERE building = 'b-9'"
        " ORDER BY start"
    )
    store = BuildingStore(served.backend.pool, "campus")
    pages = {
        most: await store.intervals("b-9", MORNING, MORNING + 12 * QUARTER, most) for most in (1, 4, 11, 100)
    }
    await connection.execute(
        "DELETE FROM meter_intervals WHERE meter = ANY ($1)", [each[0] for each in meters]
    )
    await connection.execute("DELETE FROM meters WHERE building = 'b-9'")
    await close(connection)
    for most, found in pages.items():
        assert list(zip(*found, strict=True)) == [tuple(row) for row in view][:most]
    assert {row["quality"] for row in view} == {"measured", "estimated", "incomplete"}


@pytest.mark.parametrize("path", ["intervals", "trades"])
async def test_spans_that_are_none_are_refused(own: httpx.AsyncClient, path: str) -> None:
    begin, until = "2026-06-01T00:00:00Z", "2027-06-03T00:00:00Z"
    for bad in ("yesterday", "2026-06-01", "2026-06-01T00:00:00", "0001-01-01T00:00:00+14:00"):
        assert await refused(own, f"{OWN}/{path}", begin=bad) == (422, "bad-instant")
        assert await refused(own, f"{OWN}/{path}", until=bad) == (422, "bad-instant")
    assert await refused(own, f"{OWN}/{path}", begin=until, until=begin) == (422, "bad-span")
    assert await refused(own, f"{OWN}/{path}", begin=begin, until=begin) == (422, "bad-span")
    assert await refused(own, f"{OWN}/{path}", begin=begin, until=until) == (422, "bad-span")
    local = {"begin": "2026-06-01T07:00:00+07:00", "until": "2027-06-02T07:00:00+07:00"}
    assert (await own.get(f"{OWN}/{path}", params=local)).status_code == 200


@pytest.mark.parametrize("path", ["intervals", "trades"])
async def test_a_cursor_leads_nowhere_but_on(own: httpx.AsyncClient, path: str) -> None:
    page = (await own.get(f"{OWN}/{path}", params={**SPAN, "limit": 2})).json()
    later = {"begin": "2026-06-02T00:00:00Z", "after": page["next"]}
    assert await refused(own, f"{OWN}/{path}", **later) == (422, "bad-cursor")
    for bad in ("x", "WyJhIl0", "WzFd", "W10"):
        assert await refused(own, f"{OWN}/{path}", **SPAN, after=bad) == (422, "bad-cursor")


# --- money ---------------------------------------------------------------------------------------------


async def test_both_sides_read_the_same_trade_and_pages_meet(served: Api, own: httpx.AsyncClient) -> None:
    sold = await paged(own, f"{OWN}/trades", 1_000, SPAN)
    assert len(sold) == 8
    assert {each["side"] for each in sold} == {"sell"}
    assert {each["partner"] for each in sold} == {"b-2", "b-3"}
    assert all(each["fees"] is None for each in sold)
    for limit in (1, 3, 8):
        assert await paged(own, f"{OWN}/trades", limit, SPAN) == sold
    async with served.client("building", "b-3") as other:
        bought = await paged(other, f"{V1}/buildings/b-3/trades", 3, SPAN)
    assert {(each["side"], each["partner"]) for each in bought} == {("buy", "b-1")}
    one = bought[0]
    assert one["fees"]["wheeling"] == {"micro": 0, "decimal": "0.000000", "currency": "THB"}
    mine = [each for each in sold if each["partner"] == "b-3"]
    for name in ("start", "number", "energy_milliwh", "price", "amount"):
        assert [each[name] for each in mine] == [each[name] for each in bought]
    price = one["price"]["micro_per_kwh"]
    assert one["amount"]["micro"] == one["energy_milliwh"] * price // 1_000_000
    assert one["price"]["decimal"] == f"{price // 1_000_000}.{price % 1_000_000:06d}"


async def test_partners_are_told_to_nobody_but_the_two(served: Api) -> None:
    for role in ("operator", "billing"):
        async with served.client(role) as client:
            rows = await paged(client, f"{OWN}/trades", 1_000, SPAN)
            assert len(rows) == 8
            assert {each["partner"] for each in rows} == {None}


async def test_only_the_newest_run_of_an_interval_counts(
    database: str, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with api(database, nats_server, tmp_path) as served:
        site = served.site
        await quarters(site, 0, 4)
        await site.clock.sleep_until(MORNING + HOUR)
        await site.settle()
        dearer = FLAT.replace("energy_per_kwh = 4", "energy_per_kwh = 5")
        await site.tell(OPERATOR, "market", TariffPublished(tariff="flat", document=dearer))
        (again,) = await site.settle()
        assert again.revised == 4
        async with served.client("building", "b-1") as own:
            rows = await paged(own, f"{OWN}/trades", 3, SPAN)
            saved = (await own.get(f"{OWN}/savings", params={"month": "2026-06"})).json()
        ((newest,),) = await site.rows(
            "SELECT DISTINCT price_micro_per_kwh FROM settlement.trades WHERE run = 2"
        )
        assert [each["price"]["micro_per_kwh"] for each in rows] == [newest] * 8
        assert saved["intervals"] == 4
        assert saved["earned"]["micro"] == sum(each["amount"]["micro"] for each in rows)


async def test_a_statement_is_what_the_accounts_say(served: Api, own: httpx.AsyncClient) -> None:
    found = await Accounts("campus", served.site.settlement).statement("b-1", JUNE)
    answer = (await own.get(f"{OWN}/statement/2026-06")).json()
    assert (answer["building"], answer["month"], answer["currency"]) == ("b-1", "2026-06", "THB")
    assert answer["days"][0]["sold_milliwh"] == found.days[0].brought.sold_milliwh == 8_000_000
    assert answer["total"]["cost"]["micro"] == found.total.cost_micro < 0
    assert "day" not in answer["total"]
    assert answer["charges"]["micro"] == found.charges_micro
    assert answer["unbilled"]["micro"] == found.unbilled_micro
    assert answer["documents"] == []
    july = (await own.get(f"{OWN}/statement/2026-07")).json()
    assert (july["days"], july["total"], july["charges"]) == ([], None, None)
    for bad in ("2026-13", "2026", "0000-01", "june"):
        assert await refused(own, f"{OWN}/statement/{bad}") == (422, "not-a-month")
        assert await refused(own, f"{OWN}/savings", month=bad) == (422, "not-a-month")


async def test_a_building_that_asks_for_its_money_reads_neither_the_whole_book_nor_others_documents(
    served: Api, own: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await issue(served.site)
    await own.get(f"{OWN}/statement/2026-06")
    rows: list[Any] = []
    events, issued_to = SettlementStore.events, BillingStore.issued_to

    async def counted(store: SettlementStore, *span: Any) -> Any:
        rows.extend(found := await events(store, *span))
        return found

    async def counted_documents(store: BillingStore, *of: Any) -> Any:
        rows.extend(found := await issued_to(store, *of))
        return found

    monkeypatch.setattr(SettlementStore, "events", counted)
    monkeypatch.setattr(BillingStore, "issued_to", counted_documents)
    for is_projected in (False, True):
        if is_projected:
            await served.site.projector.catch_up()
        rows.clear()
        told = (await own.get(f"{OWN}/statement/2026-06")).json()
        assert [each.number for each in rows] == told["documents"], "the rest was read before"
        assert told["unbilled"]["micro"] == 0
        await own.get(f"{OWN}/savings?month=2026-06")
        assert len(rows) == 1


async def test_documents_are_those_of_the_book_and_of_the_building(
    served: Api, own: httpx.AsyncClient
) -> None:
    issued = await issue(served.site)
    await served.site.projector.catch_up()
    (listed,) = await paged(own, f"{OWN}/invoices", 1)
    mine = next(each for each in issued if each.building == "b-1")
    assert (listed["number"], listed["code"]) == (mine.number, mine.code)
    assert listed["total"]["micro"] == mine.total_micro
    path = f"{OWN}/invoices/{mine.number}"
    recorded = await own.get(path)
    assert recorded.headers["content-type"] == "application/json"
    assert sha256(recorded.content).hexdigest() == mine.code
    assert recorded.headers["etag"] == f'W/"{mine.code}"'
    printed = await own.get(f"{path}.pdf")
    assert printed.headers["content-type"] == "application/pdf"
    assert printed.content.startswith(b"%PDF-")
    for tag, url in ((f'"{mine.code}"', path), (printed.headers["etag"], f"{path}.pdf")):
        assert (await own.get(url, headers={"If-None-Match": tag})).status_code == 304
        assert (await own.get(url, headers={"If-None-Match": '"x"'})).status_code == 200
    statement = (await own.get(f"{OWN}/statement/2026-06")).json()
    assert statement["documents"] == [mine.number]
    for other in (each for each in issued if each.building != "b-1"):
        for ending in ("", ".pdf", "/proof"):
            assert await refused(own, f"{OWN}/invoices/{other.number}{ending}") == (404, "not-found")


async def test_savings_are_those_of_a_comparison_with_no_market(served: Api) -> None:
    site = served.site
    async with site.settlement.transaction("campus") as size:
        book = BookState("campus", site.settlement)
        await book.follow(size)
        begin, until = datetime(2026, 5, 31, 17, tzinfo=UTC), datetime(2026, 6, 30, 17, tzinfo=UTC)
        found = await compare(book, {"": as_published}, begin, until)
    expected = {row.building: row for row in found.ways[""].standings.rows()}
    async with served.client("billing") as billing:
        for building, row in expected.items():
            path = f"{V1}/buildings/{building}/savings"
            told = (await billing.get(path, params={"month": "2026-06"})).json()
            assert told["intervals"] == 4
            for name in ("import", "export", "bought", "sold"):
                assert told[f"{name}_milliwh"] == getattr(row, f"{name}_milliwh")
            for name in (
                "paid", "earned", "fees", "grid_cost", "grid_income", "cost", "cost_without_market", "saving"
            ):  # fmt: skip
                assert told[name]["micro"] == getattr(row, f"{name}_micro")
        this_month = (await billing.get(f"{OWN}/savings")).json()
    assert this_month["intervals"] == 0
    assert this_month["saving"]["micro"] == 0


# --- meters --------------------------------------------------------------------------------------------


async def test_a_chain_can_be_computed_again_page_by_page(served: Api, own: httpx.AsyncClient) -> None:
    (meter,) = await paged(own, f"{OWN}/meters", 1)
    assert (meter["meter"], meter["role"], meter["until"]) == ("m-0", "connection", None)
    for limit in (1, 2, 5, 1_000):
        links = await paged(own, f"{OWN}/meters/m-0/chain", limit)
        bodies = [each["body"].encode() for each in links]
        computed = chain("campus", "meter/m-0", EMPTY, bodies)
        assert [each["hash"] for each in links] == [each.entry_hash.hex() for each in computed]
        assert [each["body_hash"] for each in links] == [each.body_hash.hex() for each in computed]
        assert [each["previous"] for each in links] == ["0" * 64, *(each["hash"] for each in links[:-1])]
        assert meter["head"] == {"sequence": len(links), "hash": links[-1]["hash"]}
    page = (await own.get(f"{OWN}/meters/m-0/chain", params={"limit": 1})).json()
    assert (page["stream"], page["head"]) == ("meter/m-0", meter["head"])


async def test_an_extract_proves_itself_and_tells_nothing_of_others(
    served: Api, own: httpx.AsyncClient, tmp_path: Path
) -> None:
    async with own.stream("GET", f"{OWN}/meters/m-0/extract") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/jsonl"
        assert 'filename="campus-m-0-' in answer.headers["content-disposition"]
        data = await answer.aread()
    file = tmp_path / "extract.jsonl"
    file.write_bytes(data)
    assert verify_file(file, str(served.site.campus.verifier)).verified
    assert b"meter/m-0" in data
    assert b'"building":"b-2"' not in data
    async with served.client("operator") as operator:
        assert (await operator.get(f"{OWN}/meters/m-0/extract")).status_code == 200


# --- what need not be sent again -----------------------------------------------------------------------


async def test_every_json_answer_has_a_tag_by_which_it_is_not_sent_again(served: Api) -> None:
    paths = (
        f"{V1}/buildings",
        f"{OWN}/intervals?begin=2026-06-01T00:00:00Z",
        f"{OWN}/trades?begin=2026-06-01T00:00:00Z",
        *(f"{OWN}/{path}" for path in (*MONEY[1:-1], *METERED[1:-1])),
    )
    async with served.client("operator") as operator:
        for path in paths:
            answer = await operator.get(path)
            assert answer.status_code == 200, path
            assert answer.headers["cache-control"] == "private, no-cache"
            again = await operator.get(path, headers={"If-None-Match": answer.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == answer.headers["etag"]
