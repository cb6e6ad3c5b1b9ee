"""Orders over the API: in the book when they are answered, once each, and told apart when they are not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Never

import httpx
import pytest

from api.http.backend import Backend
from api.http.server import served as serve
from ledger.bus import Bus, BusUnavailable
from ledger.clock import SystemClock, VirtualClock
from ledger.embedded import EmbeddedNats
from ledger.event import new_salt
from ledger.market_events import OrderPlaced
from ledger.postgres.pool import Pool
from ledger.writer import Writer
from tests.support.api import V1, Api, api
from tests.support.campus import MORNING, QUARTER
from tests.support.store import Book, check_book, read_book

ORDERS = f"{V1}/buildings/b-1/orders"
SELL = {"side": "sell", "limit": "3.20", "until": "2030-01-01T00:00:00Z"}
FAR = "2029-01-01T00:00:00Z"


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    """A campus with a market."""
    async with api(database, nats_server, tmp_path) as found:
        yield found


@pytest.fixture
async def client(served: Api) -> AsyncIterator[httpx.AsyncClient]:
    """The building b-1."""
    async with served.client("building", "b-1") as client:
        yield client


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a receipt."""
    monkeypatch.setattr("ledger.client.ANSWER_SECONDS", 0.6)


@asynccontextmanager
async def another_process(served: Api, client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """The API once more beside the first, with a pool and a bus of its own, for the same key."""
    first = served.backend
    pool = await Pool.open(first.book.postgres, 8)
    async with await Bus.connect(first.book.nats, "another api") as bus:
        backend = Backend(first.book, first.settings, pool, bus, first.ledger, first.clock)
        async with (
            serve(backend) as address,
            httpx.AsyncClient(base_url=address, headers=client.headers, timeout=30) as elsewhere,
        ):
            yield elsewhere
    await pool.close()


async def book_of(served: Api) -> Book:
    """The book, with all hashes and signatures in it recomputed."""
    book = await read_book(served.site.store, "campus")
    campus = served.site.campus
    check_book(book, campus.verifier, [held.public for held in campus.keys.values()])
    return book


async def of_building(served: Api, building: str = "b-1") -> int:
    """How many events its stream has."""
    heads = (await book_of(served)).heads
    return heads[f"building/{building}"].sequence if f"building/{building}" in heads else 0


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    found: dict[str, Any] = answer.json()
    return found


# --- what is placed ----------------------------------------------------------------------------------


async def test_an_order_is_in_the_book_and_in_the_list_when_it_is_answered(
    served: Api, client: httpx.AsyncClient
) -> None:
    wanted = {**SELL, "order": "night", "energy_wh": 500, "clock_from": "22:00", "clock_until": "06:00"}
    answer = await client.post(ORDERS, json=wanted)
    assert answer.status_code == 201, answer.text
    placed, receipt = answer.json()["order"], answer.json()["receipt"]
    assert (receipt["stream"], receipt["sequence"]) == ("building/b-1", 1)
    assert receipt["counts_from"] == placed["begin"]
    assert placed["state"] == "will hold"
    assert datetime.fromisoformat(placed["begin"]) - SystemClock().now() <= QUARTER + timedelta(seconds=10)
    assert placed["limit"] == {"micro": 3_200_000, "decimal": "3.200000", "currency": "THB"}
    assert (placed["energy_wh"], placed["clock_from"], placed["clock_until"]) == (500, "22:00", "06:00")
    assert answer.headers["location"] == f"{ORDERS}/night"
    assert (await client.get(answer.headers["location"])).json() == placed
    assert (await client.get(ORDERS)).json() == {"items": [placed], "next": None}
    row = (await book_of(served)).events[receipt["position"]]
    assert (row["stream"], row["sequence"]) == ("building/b-1", 1)


async def test_an_order_without_a_name_gets_one_and_a_price_may_be_told_in_micro_units(
    client: httpx.AsyncClient,
) -> None:
    wanted = {"side": "buy", "limit_micro_per_kwh": 1, "until": FAR}
    names = {(await client.post(ORDERS, json=wanted)).json()["order"]["order"] for _ in range(3)}
    assert len(names) == 3
    listed = (await client.get(ORDERS)).json()["items"]
    assert {each["order"] for each in listed} == names
    assert {(each["limit"]["micro"], each["energy_wh"]) for each in listed} == {(1, None)}


async def test_orders_at_the_same_time_are_all_in_the_book_and_none_is_a_fork(
    served: Api, client: httpx.AsyncClient
) -> None:
    async def place(number: int) -> httpx.Response:
        return await client.post(ORDERS, json={**SELL, "order": f"o-{number}"})

    answers = await asyncio.gather(*map(place, range(10)))
    assert [answer.status_code for answer in answers] == [201] * 10
    assert sorted(answer.json()["receipt"]["sequence"] for answer in answers) == [*range(1, 11)]
    listed = (await client.get(ORDERS)).json()["items"]
    assert {each["order"] for each in listed} == {f"o-{number}" for number in range(10)}
    book = await book_of(served)
    assert book.heads["building/b-1"].sequence == 10
    assert book.codes() == []


async def test_two_processes_take_turns_at_a_buildings_stream(served: Api, client: httpx.AsyncClient) -> None:
    async with another_process(served, client) as elsewhere:
        both = [client, elsewhere]
        answers = await asyncio.gather(
            *(both[at % 2].post(ORDERS, json={**SELL, "order": f"o-{at}"}) for at in range(10))
        )
        assert [answer.status_code for answer in answers] == [201] * 10
        for each in both:
            assert len((await each.get(ORDERS)).json()["items"]) == 10
    assert (await book_of(served)).codes() == []


async def test_a_list_comes_in_pages_and_by_state(served: Api, client: httpx.AsyncClient) -> None:
    for number in range(5):
        begin = f"2029-01-0{5 - number}T00:00:00Z"
        await client.post(ORDERS, json={**SELL, "order": f"o-{number}", "begin": begin})
    past = OrderPlaced(
        order="past", side="sell", limit_micro_per_kwh=1, begin=datetime(2026, 6, 2, tzinfo=UTC),
        until=datetime(2026, 6, 3, tzinfo=UTC), salt=new_salt(),
    )  # fmt: skip
    async with served.backend.operator.turn("building/b-1") as turn:
        await turn.append(past)
    names: list[str] = []
    after: str | None = ""
    while after is not None:
        page = (await client.get(ORDERS, params={"limit": 2, "after": after})).json()
        assert len(page["items"]) <= 2
        names += [each["order"] for each in page["items"]]
        after = page["next"]
    assert names == ["past", "o-4", "o-3", "o-2", "o-1", "o-0"]
    held = (await client.get(ORDERS, params={"state": "held"})).json()["items"]
    assert [each["order"] for each in held] == ["past"]
    assert len((await client.get(ORDERS, params={"state": "will hold"})).json()["items"]) == 5
    problem(await client.get(ORDERS, params={"state": "asleep"}), 400, "bad-request")
    problem(await client.get(ORDERS, params={"after": "!"}), 422, "bad-cursor")


# --- what ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_an_order_that_is_cancelled_holds_no_longer_and_stays_in_the_list(
    client: httpx.AsyncClient, method: str
) -> None:
    await client.post(ORDERS, json={**SELL, "order": "o-1"})
    if method == "POST":
        answer = await client.post(f"{ORDERS}/o-1/cancel", json={"since": FAR})
    else:
        answer = await client.delete(f"{ORDERS}/o-1", params={"since": FAR})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["order"]["until"], answer.json()["receipt"]["counts_from"]) == (FAR, FAR)
    assert (await client.get(f"{ORDERS}/o-1")).json()["until"] == FAR
    at_once = await client.post(f"{ORDERS}/o-1/cancel", json={})
    assert at_once.json()["order"]["state"] == "never held"
    problem(await client.delete(f"{ORDERS}/o-1"), 404, "unknown-order")


# --- what is refused -----------------------------------------------------------------------------------


async def test_a_closed_gate_is_told_with_the_instant_from_which_it_can_hold(
    served: Api, client: httpx.AsyncClient
) -> None:
    late = {**SELL, "begin": "2026-06-01T00:00:00Z"}
    found = problem(await client.post(ORDERS, json=late), 409, "gate-closed")
    first = datetime.fromisoformat(found["hint"].removeprefix("it can hold from ").removesuffix(" on"))
    assert timedelta() < first - SystemClock().now() <= QUARTER + timedelta(seconds=10)
    assert await of_building(served) == 0


async def test_a_name_that_is_in_use_and_one_that_nothing_has_are_told(client: httpx.AsyncClient) -> None:
    await client.post(ORDERS, json={**SELL, "order": "o-1"})
    problem(await client.post(ORDERS, json={**SELL, "order": "o-1"}), 409, "name-in-use")
    for answer in (
        await client.get(f"{ORDERS}/o-2"),
        await client.delete(f"{ORDERS}/o-2"),
        await client.post(f"{ORDERS}/o-2/cancel", json={}),
    ):
        problem(answer, 404, "unknown-order")


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"energy_wh": 0}, 400, "energy_wh"),
        ({"energy_wh": 1.5}, 400, "energy_wh"),
        ({"energy_wh": 10**13}, 422, "energy_wh"),
        ({"limit": "3.1234567"}, 400, "limit"),
        ({"limit": "-1"}, 400, "limit"),
        ({"limit": 3.2}, 400, "limit"),
        ({"limit": "999999999"}, 422, "limit"),
        ({"limit": None}, 422, "limit"),
        ({"limit_micro_per_kwh": 3}, 422, "limit"),
        ({"limit": None, "limit_micro_per_kwh": -1}, 400, "limit_micro_per_kwh"),
        ({"side": "give"}, 400, "side"),
        ({"order": "../x"}, 400, "order"),
        ({"until": "soon"}, 422, "until"),
        ({"begin": "2029-13-01"}, 422, "begin"),
        ({"clock_from": "25:00", "clock_until": "06:00"}, 400, "clock_from"),
        ({"clock_from": "22:00"}, 422, "clock_from"),
        ({"clock_from": "22:00", "clock_until": "22:00"}, 422, "clock_until"),
        ({"nonsense": 1}, 400, "nonsense"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_told_by_its_field(
    client: httpx.AsyncClient, change: dict[str, Any], status: int, field: str
) -> None:
    answer = await client.post(ORDERS, json={**SELL, **change})
    assert answer.status_code == status, answer.text
    assert field in answer.json()["where"] + answer.json()["detail"], answer.text


async def test_only_the_building_and_the_operator_may(served: Api, client: httpx.AsyncClient) -> None:
    theirs = f"{V1}/buildings/b-2/orders"
    for answer in (
        await client.get(theirs), await client.post(theirs, json=SELL), await client.delete(f"{theirs}/o-1"),
    ):  # fmt: skip
        problem(answer, 403, "not-allowed")
    async with served.client("billing") as billing, served.client() as nobody:
        problem(await billing.get(ORDERS), 403, "not-allowed")
        problem(await nobody.post(ORDERS, json=SELL), 401, "not-authenticated")
    async with served.client("operator") as operator:
        assert (await operator.post(theirs, json=SELL)).status_code == 201
        assert len((await operator.get(theirs)).json()["items"]) == 1
        nowhere = f"{V1}/buildings/b-9/orders"
        problem(await operator.get(nowhere), 404, "unknown-building")
        problem(await operator.post(nowhere, json=SELL), 404, "unknown-building")
        for name in ("%00", "B-1", "x" * 70):
            problem(await operator.post(f"{V1}/buildings/{name}/orders", json=SELL), 404, "unknown-building")


# --- sent again -----------------------------------------------------------------------------------------


async def test_the_same_key_and_body_get_the_first_answer_and_another_body_none(
    served: Api, client: httpx.AsyncClient
) -> None:
    named = {"Idempotency-Key": "k-1"}
    first = await client.post(ORDERS, json=SELL, headers=named)
    again = await client.post(ORDERS, json=SELL, headers=named)
    assert (first.status_code, first.headers.get("idempotent-replayed")) == (201, None)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.headers["location"] == first.headers["location"]
    assert again.content == first.content
    other = await client.post(ORDERS, json={**SELL, "limit": "4"}, headers=named)
    problem(other, 422, "idempotency-key-reused")
    assert (await client.post(ORDERS, json=SELL, headers={"Idempotency-Key": "k-2"})).status_code == 201
    assert await of_building(served) == 2


async def test_the_same_request_twice_at_once_is_done_once(served: Api, client: httpx.AsyncClient) -> None:
    named = {"Idempotency-Key": "k-1"}
    both = await asyncio.gather(*(client.post(ORDERS, json=SELL, headers=named) for _ in range(2)))
    assert {answer.status_code for answer in both} <= {201, 409}
    assert len({answer.content for answer in both if answer.status_code == 201}) == 1
    assert await of_building(served) == 1


async def test_after_a_lost_receipt_the_same_request_finds_its_order_in_the_book(
    served: Api, client: httpx.AsyncClient, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> None:
        """Nobody hears."""

    named = {"Idempotency-Key": "k-1"}
    with monkeypatch.context() as deaf:
        deaf.setattr(Bus, "publish_receipt", lost)
        failed = await client.post(ORDERS, json=SELL, headers=named)
        problem(failed, 503, "no-receipt")
        assert int(failed.headers["retry-after"]) > 0
    again = await client.post(ORDERS, json=SELL, headers=named)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.json()["receipt"]["sequence"] == 1
    (listed,) = (await client.get(ORDERS)).json()["items"]
    assert listed == again.json()["order"]
    book = await book_of(served)
    assert (book.heads["building/b-1"].sequence, book.codes()) == (1, [])
    third = await client.post(ORDERS, json=SELL, headers=named)
    assert third.content == again.content


async def test_after_a_lost_receipt_another_process_finds_the_order_too(
    served: Api, client: httpx.AsyncClient, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> None:
        """Nobody hears."""

    named = {"Idempotency-Key": "k-1"}
    with monkeypatch.context() as deaf:
        deaf.setattr(Bus, "publish_receipt", lost)
        problem(await client.post(ORDERS, json=SELL, headers=named), 503, "no-receipt")
    async with another_process(served, client) as elsewhere:
        again = await elsewhere.post(ORDERS, json=SELL, headers=named)
    assert (again.status_code, again.json()["receipt"]["sequence"]) == (201, 1)
    assert await of_building(served) == 1


async def test_after_a_lost_receipt_an_order_that_is_sent_without_a_key_is_told_by_its_name(
    served: Api, client: httpx.AsyncClient, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> None:
        """Nobody hears."""

    with monkeypatch.context() as deaf:
        deaf.setattr(Bus, "publish_receipt", lost)
        problem(await client.post(ORDERS, json={**SELL, "order": "o-1"}), 503, "no-receipt")
    problem(await client.post(ORDERS, json={**SELL, "order": "o-1"}), 409, "name-in-use")
    assert await of_building(served) == 1


@pytest.mark.parametrize("is_done", [False, True], ids=["failed", "failed but done"])
async def test_an_envelope_that_the_bus_did_not_confirm_is_placed_once(
    served: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    publish = Bus.publish_envelope

    async def fails(bus: Bus, community: str, device: str, data: bytes) -> None:
        if is_done:
            await publish(bus, community, device, data)
        raise BusUnavailable("the envelope was not stored")

    named = {"Idempotency-Key": "k-1"}
    with monkeypatch.context() as broken:
        broken.setattr(Bus, "publish_envelope", fails)
        problem(await client.post(ORDERS, json=SELL, headers=named), 503, "bus-unavailable")
    assert (await client.post(ORDERS, json={**SELL, "order": "another"})).status_code == 201
    again = await client.post(ORDERS, json=SELL, headers=named)
    assert (again.status_code, again.json()["receipt"]["sequence"]) == (201, 1)
    book = await book_of(served)
    assert (book.heads["building/b-1"].sequence, book.codes()) == (2, [])


async def test_what_the_writer_has_not_taken_yet_is_sent_again_as_it_was(
    served: Api, client: httpx.AsyncClient, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = asyncio.Event()
    group = Writer._group

    async def late(*given: Any) -> None:
        await answered.wait()
        await group(*given)

    named = {"Idempotency-Key": "k-1"}
    monkeypatch.setattr(Writer, "_group", late)
    problem(await client.post(ORDERS, json=SELL, headers=named), 503, "no-receipt")
    again = asyncio.ensure_future(client.post(ORDERS, json=SELL, headers=named))
    await asyncio.sleep(0.2)
    answered.set()
    assert (await again).status_code == 201
    book = await book_of(served)
    assert (book.heads["building/b-1"].sequence, book.codes()) == (1, [])


async def test_without_nats_nothing_is_half_done_and_reading_goes_on(
    database: str, server_folder: Path, tmp_path: Path
) -> None:
    async with EmbeddedNats(server_folder) as nats, api(database, nats, tmp_path) as served:
        async with served.client("building", "b-1") as client:
            assert (await client.post(ORDERS, json={**SELL, "order": "o-1"})).status_code == 201
            await nats.stop()
            failed = await client.post(ORDERS, json=SELL, headers={"Idempotency-Key": "k-1"})
            problem(failed, 503, "bus-unavailable")
            assert int(failed.headers["retry-after"]) > 0
            assert len((await client.get(ORDERS)).json()["items"]) == 1
            await nats.start()
            while (
                again := await client.post(ORDERS, json=SELL, headers={"Idempotency-Key": "k-1"})
            ).status_code == 503:
                await asyncio.sleep(0.2)
            assert again.status_code == 201
        book = await book_of(served)
        assert (book.heads["building/b-1"].sequence, book.codes()) == (2, [])


# --- what one building can hold up ------------------------------------------------------------------


async def test_what_is_refused_takes_no_turn(
    served: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await client.post(ORDERS, json={**SELL, "order": "o-1"})).status_code == 201

    def never(_: str) -> Never:
        raise AssertionError("others wait for this")

    monkeypatch.setattr(served.backend.operator, "turn", never)
    for named in ({}, {"Idempotency-Key": "k-1"}):
        refused = [
            await client.post(ORDERS, json=body, headers=named)
            for body in (
                {**SELL, "order": "o-1"}, {**SELL, "limit": "-1"},
                {**SELL, "begin": "2026-06-01T00:00:00Z"}, {**SELL, "until": "2020-01-01T00:00:00Z"},
            )
        ]  # fmt: skip
        refused.append(await client.post(f"{ORDERS}/o-2/cancel", json={}, headers=named))
        assert {answer.status_code for answer in refused} <= {400, 404, 409, 422}


async def test_a_building_that_orders_much_waits_for_itself_and_lets_others_through(
    served: Api, client: httpx.AsyncClient
) -> None:
    places = [
        asyncio.ensure_future(client.post(ORDERS, json={**SELL, "order": f"o-{number}"}))
        for number in range(20)
    ]
    await asyncio.wait(places, return_when=asyncio.FIRST_COMPLETED)
    async with served.client("building", "b-2") as other:
        answer = await other.post(f"{V1}/buildings/b-2/orders", json=SELL)
    positions = [(await each).json()["receipt"]["position"] for each in places]
    mine = answer.json()["receipt"]["position"]
    assert sum(position > mine for position in positions) >= 10


async def test_a_building_writes_so_many_events_a_day_and_may_end_what_it_has_begun(
    database: str, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with (
        api(database, nats_server, tmp_path, events_a_day=3) as served,
        served.client("building", "b-1") as client,
        served.client("operator") as operator,
    ):
        served.backend.clock = served.site.ledgers_clock
        for number in range(3):
            named = {"Idempotency-Key": f"k-{number}"}
            placed = await client.post(ORDERS, json={**SELL, "order": f"o-{number}"}, headers=named)
            assert placed.status_code == 201, placed.text
        refused = await client.post(ORDERS, json=SELL)
        assert "3 events in a day" in problem(refused, 429, "too-many-events")["detail"]
        assert int(refused.headers["retry-after"]) == 86_400
        await served.site.rows("DELETE FROM access.answers RETURNING name")
        again = await client.post(ORDERS, json={**SELL, "order": "o-2"}, headers=named)
        assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
        for number in range(3):
            assert (await client.post(f"{ORDERS}/o-{number}/cancel", json={})).status_code == 200
        assert (await operator.post(ORDERS, json={**SELL, "order": "o-9"})).status_code == 201
        problem(await client.post(f"{ORDERS}/o-9/cancel", json={}), 429, "too-many-events")
        async with served.client("building", "b-2") as other:
            assert (await other.post(f"{V1}/buildings/b-2/orders", json=SELL)).status_code == 201
        served.backend.clock = VirtualClock(MORNING + timedelta(hours=23))
        problem(await client.post(ORDERS, json=SELL), 429, "too-many-events")
        served.backend.clock = VirtualClock(MORNING + timedelta(days=1))
        assert (await client.post(ORDERS, json=SELL)).status_code == 201
