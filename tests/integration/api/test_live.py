"""The live stream: whoever comes back with an id is told what it missed, once, whoever answers."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import websockets

from api.http.backend import Backend
from api.http.desk import OrderDesk
from api.http.live import hub, listener
from api.http.live.hub import Hub
from api.http.live.pages import View
from api.http.live.place import Place
from api.http.server import served as serving
from ledger.access import parts
from ledger.clock import SystemClock, rfc3339
from ledger.embedded import EmbeddedNats
from ledger.events import MeterRead
from tests.support.api import V1, Api, api
from tests.support.campus import GATEWAY, MORNING, SALT
from tests.support.trading import HOUR, quarters

LIVE = f"{V1}/buildings/b-1/live"
WAIT_SECONDS = 20
Message = dict[str, Any]


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    """A campus whose first hour is settled; then a late reading has settled part of it anew."""
    async with api(database, nats_server, tmp_path) as found:
        site = found.site
        await quarters(site, 0, 2)
        await site.read("m-0", (4, 0, 8_000))
        await site.read("m-1", (3, 3_000, 0), (4, 4_000, 0))
        await site.read("m-2", (3, 9_000, 0), (4, 12_000, 0))
        await site.clock.sleep_until(MORNING + HOUR)
        await site.settle()
        await site.read("m-0", (3, 0, 5_000))
        await site.settle()
        await site.projector.catch_up()
        yield found


@asynccontextmanager
async def sse(
    client: httpx.AsyncClient, path: str = LIVE, *, last: str = "", **params: str
) -> AsyncIterator[AsyncIterator[Message]]:
    """The messages of a stream of Server-Sent Events, `opened` taken off."""
    headers = {"Last-Event-ID": last} if last else {}
    async with client.stream("GET", path, params=params, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        messages = events(answer)
        assert (await anext(messages))["event"] == "opened"
        yield messages


async def events(answer: httpx.Response) -> AsyncIterator[Message]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if "data" in fields:
                told = msgspec.json.decode(fields["data"])
                assert told["event"] == fields["event"]
                yield {"id": fields["id"], **told}
            elif "" in fields:
                yield {"id": fields["id"], "event": "heartbeat"}
            fields = {}


@asynccontextmanager
async def ws(
    found: Api, path: str = LIVE, token: str | None = None, address: str = ""
) -> AsyncIterator[websockets.ClientConnection]:
    """A WebSocket of the building b-1, `opened` taken off."""
    shown = token or await found.token("building", "b-1")
    url = (address or found.address).replace("http", "ws") + path
    async with websockets.connect(url, additional_headers={"Authorization": f"Bearer {shown}"}) as socket:
        assert msgspec.json.decode(await socket.recv())["event"] == "opened"
        yield socket


async def heard(messages: AsyncIterator[Message], count: int) -> list[Message]:
    """The next so many messages."""
    async with asyncio.timeout(WAIT_SECONDS):
        return [await anext(messages) for _ in range(count)]


async def ended(messages: AsyncIterator[Message]) -> list[Message]:
    """All messages up to the end."""
    async with asyncio.timeout(WAIT_SECONDS):
        return [message async for message in messages]


async def told_on(socket: websockets.ClientConnection) -> AsyncIterator[Message]:
    async for text in socket:
        yield msgspec.json.decode(text)


async def everything(client: httpx.AsyncClient) -> list[Message]:
    """All that there is to tell of the campus's beginning: 5 readings, 4 intervals, and what was mended."""
    async with sse(client, after="0.0") as messages:
        first = await heard(messages, 5 + 2 * 4)
        again = [message for message in first if message.get("revised")]
        return first + await heard(messages, 4 - len(again))


def another(found: Api) -> Backend:
    """As another process has it, beside the first."""
    one = found.backend
    return Backend(one.book, one.settings, one.pool, one.bus, one.ledger, one.clock)


async def refusal(client: httpx.AsyncClient, path: str = LIVE, **params: str) -> tuple[int, str]:
    answer = await client.get(path, params=params)
    return answer.status_code, answer.json()["code"]


# --- what is told --------------------------------------------------------------------------------------


async def test_what_is_told_is_what_the_lists_say(served: Api) -> None:
    span = {"begin": rfc3339(MORNING), "until": rfc3339(MORNING + HOUR)}
    async with served.client("building", "b-1") as client:
        told = await everything(client)
        intervals = (await client.get(f"{V1}/buildings/b-1/intervals", params=span)).json()["items"]
        trades = (await client.get(f"{V1}/buildings/b-1/trades", params=span)).json()["items"]
        chain = (await client.get(f"{V1}/buildings/b-1/meters/m-0/chain")).json()
    readings = [each for each in told if each["event"] == "reading"]
    energies = {each["start"]: each for reading in readings for each in reading["energy"]}
    assert [energies[start] for start in sorted(energies)] == intervals
    assert [reading["hash"] for reading in readings] == [link["hash"] for link in chain["items"]]
    settled = {each["start"]: each["trades"] for each in told if each["event"] == "settled"}
    assert [trade for start in sorted(settled) for trade in settled[start]] == trades


async def test_what_a_late_reading_changes_is_told_as_revised(served: Api) -> None:
    async with served.client("building", "b-1") as client:
        told = await everything(client)
    revised = [each for each in told if each.get("revised")]
    assert [(each["event"], each["run"]) for each in revised] == [("settled", 2), ("price", 2)] * 2
    first = {each["start"]: each for each in told if each["event"] == "settled" and not each["revised"]}
    for each in revised[::2]:
        assert first[each["start"]]["sold_milliwh"] == 2_000_000, "half of the gap"
    assert [each["sold_milliwh"] for each in revised[::2]] == [1_000_000, 3_000_000]
    assert {each["grid_import"]["micro_per_kwh"] for each in revised[1::2]} == {4_000_000}
    assert {each["grid_export"]["micro_per_kwh"] for each in revised[1::2]} == {2_000_000}
    assert all(2_000_000 <= each["p2p_lowest"]["micro_per_kwh"] <= 4_000_000 for each in revised[1::2])


async def test_partners_are_told_to_the_building_itself_alone(served: Api) -> None:
    def partners(told: Sequence[Message]) -> set[Any]:
        return {trade["partner"] for each in told if each["event"] == "settled" for trade in each["trades"]}

    async with served.client("building", "b-1") as own, served.client("operator") as operator:
        assert partners(await everything(own)) == {"b-2", "b-3"}
        assert partners(await everything(operator)) == {None}


async def test_a_websocket_tells_the_same_as_server_sent_events(served: Api) -> None:
    async with served.client("building", "b-1") as client:
        told = await everything(client)
    async with ws(served, f"{LIVE}?after=0.0") as socket:
        assert await heard(told_on(socket), len(told)) == told


async def test_what_comes_is_told_while_it_comes(served: Api) -> None:
    async with (
        served.client("building", "b-1") as client,
        served.client("operator") as operator,
        sse(client) as first,
        sse(operator) as second,
        ws(served) as socket,
    ):
        await served.site.read("m-0", (5, 0, 10_000))
        await served.site.read("m-1", (5, 5_000, 0))
        await served.site.projector.catch_up()
        found = [(await heard(each, 1))[0] for each in (first, second, told_on(socket))]
    assert found[0] == found[1] == found[2]
    assert found[0]["export_wh"] == 10_000


# --- without a gap -------------------------------------------------------------------------------------


async def test_whoever_was_cut_off_goes_on_after_any_message(served: Api) -> None:
    async with served.client("building", "b-1") as client:
        told = await everything(client)
        for cut in range(len(told) - 1):
            async with sse(client, last=told[cut]["id"], after="0.0") as messages:
                assert await heard(messages, len(told) - cut - 1) == told[cut + 1 :], cut
        async with sse(client, last=told[-1]["id"]) as messages:
            await served.site.read("m-0", (5, 0, 10_000))
            await served.site.projector.catch_up()
            (message,) = await heard(messages, 1)
            assert (message["event"], message["sequence"]) == ("reading", 6)


async def test_ids_hold_for_every_process_and_over_restarts(served: Api) -> None:
    """One process ends in the middle; what came meanwhile, and what is told twice as often, is told once."""
    async with served.client("building", "b-1") as client:
        told = await everything(client)
    headers = {"Authorization": f"Bearer {await served.token('building', 'b-1')}"}
    server = AsyncExitStack()
    address = await server.enter_async_context(serving(another(served)))
    async with (
        httpx.AsyncClient(base_url=address, headers=headers) as client,
        sse(client, last=told[6]["id"]) as messages,
    ):
        assert await heard(messages, len(told) - 7) == told[7:]
        closing = asyncio.ensure_future(server.aclose())
        (last,) = await ended(messages)
        assert (last["event"], last["code"]) == ("ending", "stopping")
        assert Place.told(last["id"]) >= Place.told(told[-1]["id"])
    await closing
    await served.site.read("m-0", (5, 0, 10_000))
    await served.site.projector.catch_up()
    async with (
        serving(another(served)) as address,
        httpx.AsyncClient(base_url=address, headers=headers) as client,
        sse(client, last=last["id"]) as messages,
    ):
        assert [each["sequence"] for each in await heard(messages, 1)] == [6]


async def test_whoever_comes_and_goes_while_the_book_grows_misses_nothing(served: Api) -> None:
    """Many who come at any time, are cut at any time and come back: each hears the one sequence."""
    count, draw = 40, random.Random(7)
    async with served.client("building", "b-1") as client:
        begin = (await everything(client))[-1]["id"]

        async def follow(seed: int) -> list[Message]:
            found: list[Message] = []
            chance = random.Random(seed)
            while len(found) < count:
                await asyncio.sleep(chance.random() / 10)
                async with sse(client, last=found[-1]["id"] if found else begin) as messages:
                    found += await heard(messages, min(chance.randint(1, 8), count - len(found)))
            return found

        listeners = [asyncio.ensure_future(follow(seed)) for seed in range(8)]
        for quarter in range(5, 5 + count):
            await served.site.read("m-0", (quarter, 0, 2_000 * quarter))
            if draw.random() < 0.5:
                await served.site.projector.catch_up()
            await asyncio.sleep(draw.random() / 20)
        await served.site.projector.catch_up()
        heard_by = await asyncio.wait_for(asyncio.gather(*listeners), WAIT_SECONDS)
    assert [each["sequence"] for each in heard_by[0]] == list(range(6, 6 + count))
    assert all(each == heard_by[0] for each in heard_by)


async def test_pages_of_any_size_tell_the_same(served: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served.client("building", "b-1") as client:
        told = await everything(client)
        for size in (1, 2, 3):
            for name in ("EVENTS_MAX", "INTERVALS_MAX", "POSITIONS_MAX"):
                monkeypatch.setattr(f"api.http.live.pages.{name}", size)
            assert await everything(client) == told


async def test_a_quiet_building_learns_how_far_the_book_is(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever was cut off after a quiet month does not have it searched."""
    monkeypatch.setattr(hub, "HEARTBEAT_SECONDS", 0.05)
    async with served.client("building", "b-1") as client, sse(client) as messages, ws(served) as socket:
        await served.site.read("m-1", (5, 5_000, 0))
        size = (await served.site.rows("SELECT size FROM book.communities"))[0][0]
        await served.site.projector.catch_up()
        for each in (messages, told_on(socket)):
            async with asyncio.timeout(WAIT_SECONDS):
                while (message := await anext(each))["id"] != str(Place(size)):
                    assert message["event"] == "heartbeat"


# --- who may -------------------------------------------------------------------------------------------


async def test_others_are_refused_before_anything_is_told(served: Api) -> None:
    async with served.client("building", "b-1") as own, served.client("operator") as operator:
        assert await refusal(own, f"{V1}/buildings/b-2/live") == (403, "not-allowed")
        assert await refusal(operator, f"{V1}/buildings/nowhere/live") == (404, "not-found")
        for odd in ("x", "1", "1.", "-1.0", "1.1.1", "1.1 "):
            assert await refusal(own, after=odd) == (422, "bad-live-id")
        assert await refusal(own, after="99999.0") == (422, "bad-live-id")
    async with served.client() as client:
        assert await refusal(client) == (401, "not-authenticated")
    for role in ("auditor", "billing"):
        async with served.client(role) as client:
            assert await refusal(client) == (403, "not-allowed")


@pytest.mark.parametrize(
    ("path", "shows", "status", "code"),
    [
        (LIVE, False, 401, "not-authenticated"),
        (f"{V1}/buildings/b-2/live", True, 403, "not-allowed"),
        (f"{LIVE}?after=x", True, 422, "bad-live-id"),
        (f"{V1}/buildings/b-1/nothing", True, 404, "not-found"),
        ("/v1/communities/elsewhere/buildings/b-1/live", True, 404, "not-found"),
    ],
)
async def test_a_websocket_is_refused_by_the_same_rules_in_the_same_words(
    served: Api, path: str, shows: bool, status: int, code: str
) -> None:
    token = await served.token("building", "b-1")
    headers = {"Authorization": f"Bearer {token}"} if shows else {}
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with websockets.connect(
            served.address.replace("http", "ws") + path, additional_headers=headers
        ):
            pass
    answer = refused.value.response
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.body is not None
    assert msgspec.json.decode(bytes(answer.body))["code"] == code
    assert answer.headers["X-Request-Id"]


async def test_a_key_that_is_revoked_or_expires_hears_no_more(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "KEYS_SECONDS", 0.05)
    token = await served.token("building", "b-1")
    split = parts(token)
    assert split is not None
    async with (
        served.client("building", "b-1") as client,
        served.client("operator") as operator,
        sse(client) as messages,
        ws(served) as socket,
        sse(operator) as others,
    ):
        await served.backend.access.end("campus", split[0], SystemClock().now())
        assert [(each["event"], each["code"]) for each in await ended(messages)] == [
            ("ending", "not-authenticated")
        ]
        assert (await heard(told_on(socket), 1))[0]["code"] == "not-authenticated"
        await socket.wait_closed()
        assert socket.close_code == 1008
        await served.site.read("m-0", (5, 0, 10_000))
        await served.site.projector.catch_up()
        assert (await heard(others, 1))[0]["event"] == "reading"


async def test_the_access_log_tells_who_listens_as_soon_as_somebody_does(served: Api) -> None:
    async with served.client("building", "b-1") as client, sse(client), ws(served):
        for _ in range(100):
            rows = await served.site.rows("SELECT status, role FROM access.requests WHERE path LIKE '%/live'")
            if len(rows) == 2:
                break
            await asyncio.sleep(0.05)
    assert sorted(rows) == [(101, "building"), (200, "building")]


# --- bounds --------------------------------------------------------------------------------------------


async def test_so_many_may_listen_by_a_key_and_a_place_comes_free_at_once(
    database: str, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with (
        api(database, nats_server, tmp_path, listeners=3, listeners_a_key=2) as found,
        found.client("building", "b-1") as client,
        found.client("operator") as operator,
    ):
        await found.site.projector.catch_up()
        async with sse(client), ws(found):
            answer = await client.get(LIVE)
            assert (answer.status_code, answer.json()["code"]) == (429, "too-many-listeners")
            assert "Retry-After" in answer.headers
            async with sse(operator):
                assert await refusal(operator) == (429, "too-many-listeners")
        for _ in range(3):
            async with asyncio.timeout(5):
                while (await client.head(LIVE, headers={"Connection": "close"})).status_code != 200:
                    await asyncio.sleep(0.01)
                while not await opens(client) or not await opens_socket(found):
                    await asyncio.sleep(0.01)


async def opens(client: httpx.AsyncClient) -> bool:
    async with client.stream("GET", LIVE) as answer:
        return answer.status_code == 200


async def opens_socket(found: Api) -> bool:
    try:
        async with ws(found):
            return True
    except websockets.InvalidStatus:
        return False


async def test_who_is_too_slow_is_told_so_and_holds_nobody(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And hears all of it when it comes back with the id of its last message."""
    monkeypatch.setattr(listener, "WAITING_MAX", 3)
    live = Hub(served.backend, OrderDesk(served.backend))
    split = parts(await served.token("building", "b-1"))
    assert split is not None
    view = View("b-1", with_partner=True)
    slow, quick = (live.messages(view, split[0], None) for _ in range(2))
    for each in (slow, quick):
        assert len(await anext(each)) == 1
    taking: Callable[[], Any] = lambda: anext(quick)  # noqa: E731 - what the quick one does each time
    waits = asyncio.ensure_future(anext(slow))
    for quarter in range(5, 12):
        await served.site.read("m-0", (quarter, 0, 2_000 * quarter))
        await served.site.projector.catch_up()
        assert len(await asyncio.wait_for(taking(), WAIT_SECONDS)) == 1
    (first,) = await waits
    (last,) = await anext(slow)
    assert (last.ending, last.place) == ("too-slow", first.place)
    assert [each async for each in slow] == []
    again = live.messages(view, split[0], last.place)
    await anext(again)
    missed = [message async for each in _first(again, 6) for message in each]
    assert [message.place.part for message in missed] == [1] * 6
    for each in (quick, again):
        await each.aclose()
    assert len(live) == 0


async def _first(messages: AsyncIterator[Sequence[Any]], count: int) -> AsyncIterator[Sequence[Any]]:
    async with asyncio.timeout(WAIT_SECONDS):
        while count > 0:
            each = await anext(messages)
            count -= len(each)
            yield each


async def test_nothing_is_kept_back_and_nothing_cached(served: Api) -> None:
    async with (
        served.client("building", "b-1", {"Accept-Encoding": "gzip"}) as client,
        client.stream("GET", LIVE) as answer,
    ):
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert "Content-Encoding" not in answer.headers
        assert (await anext(answer.aiter_lines())).startswith("retry: ")


async def test_head_ends(served: Api) -> None:
    async with served.client("building", "b-1") as client:
        answer = await client.head(LIVE)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_websocket_that_talks_is_hung_up_on(served: Api) -> None:
    async with ws(served) as socket:
        await socket.send("hello")
        await socket.wait_closed()
        assert socket.close_code == 1003
    async with ws(served) as socket:
        await socket.send("x" * 2_000)
        await socket.wait_closed()
        assert socket.close_code == 1009


async def test_the_servers_end_is_told_to_websockets(served: Api) -> None:
    server = AsyncExitStack()
    address = await server.enter_async_context(serving(another(served)))
    async with ws(served, address=address) as socket:
        closing = asyncio.ensure_future(server.aclose())
        (message,) = await heard(told_on(socket), 1)
        assert message["code"] == "stopping"
        await socket.wait_closed()
        assert socket.close_code == 1012
    await closing


# --- power ---------------------------------------------------------------------------------------------


async def test_power_is_the_newest_that_the_book_knows_and_named_as_what_it_is(served: Api) -> None:
    async with served.client("building", "b-1") as client:
        found = (await client.get(f"{V1}/buildings/b-1/power")).json()
        (meter,) = found["meters"]
        assert meter["power"] == found["total"]
        average = found["total"]
        assert (average["kind"], average["power_w"], average["stale"]) == ("interval-average", -12_000, True)
        assert average["until"] == rfc3339(MORNING + HOUR)
        later = MORNING + HOUR + timedelta(minutes=15)
        read = MeterRead(
            import_wh=0, export_wh=9_000, measured_at=later, quality="measured", salt=SALT, power_w=-4_321
        )
        await served.site.tell(GATEWAY, "meter/m-0", read)
        await served.site.projector.catch_up()
        instant = (await client.get(f"{V1}/buildings/b-1/power")).json()["total"]
        assert (instant["kind"], instant["power_w"]) == ("instantaneous", -4_321)
        assert instant["since"] == instant["until"] == rfc3339(later)
        assert await refusal(client, f"{V1}/buildings/b-2/power") == (403, "not-allowed")
