"""Who may listen to a live stream, how many, how fast, and what ends it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import websockets

from api.http.desk import OrderDesk
from api.http.live import hub, listener
from api.http.live.hub import Hub
from api.http.live.listener import Shown
from api.http.live.pages import View
from api.http.server import served as serving
from api.passwords import Passwords
from ledger.access import parts
from ledger.clock import SystemClock
from ledger.embedded import EmbeddedNats
from ledger.people import Person, new_person_id
from tests.support.api import V1, Api, api
from tests.support.live import (
    LIVE,
    WAIT_SECONDS,
    another,
    ended,
    heard,
    refusal,
    sse,
    told_campus,
    told_on,
    ws,
)

PASSWORD = "mango under the ferry"


@pytest.fixture
async def served(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> AsyncIterator[Api]:
    async with told_campus(database, nats_server, tmp_path) as found:
        yield found


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
    monkeypatch.setattr(hub, "WATCH_SECONDS", 0.05)
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


async def test_a_persons_session_hears_until_it_ends(served: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it listens does not keep it from ending: a page may be open with nobody before it."""
    monkeypatch.setattr(hub, "WATCH_SECONDS", 0.05)
    now = SystemClock().now()
    password = Passwords().hashed(PASSWORD)
    person = Person(new_person_id(), "campus", "lek", "building", "b-1", password, now, now)
    assert await served.backend.people.add(person)
    async with served.client() as client:
        begun = await client.post(f"{V1}/session", json={"name": "lek", "password": PASSWORD})
        async with sse(client, after="0.0") as messages:
            await heard(messages, 5)
            await asyncio.sleep(0.3)
            token = {"X-CSRF-Token": begun.json()["csrf_token"]}
            assert (await client.delete(f"{V1}/session", headers=token)).status_code == 204
            assert (await ended(messages))[-1]["code"] == "not-authenticated"


async def test_the_access_log_tells_who_listens_as_soon_as_somebody_does(served: Api) -> None:
    async with served.client("building", "b-1") as client, sse(client), ws(served):
        for _ in range(100):
            rows = await served.site.rows("SELECT status, role FROM access.requests WHERE path LIKE '%/live'")
            if len(rows) == 2:
                break
            await asyncio.sleep(0.05)
    assert sorted(rows) == [(101, "building"), (200, "building")]


# --- bounds --------------------------------------------------------------------------------------------


async def test_a_failure_in_the_first_look_is_told_to_whoever_waits_for_it(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise ValueError("nobody thought of it")

    async with served.client("building", "b-1") as client:
        with monkeypatch.context() as patch:
            patch.setattr(Hub, "_look", fails)
            async with asyncio.timeout(5):
                assert await refusal(client) == (503, "unavailable")
        async with sse(client, after="0.0") as messages:
            await heard(messages, 1)


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
    counts: list[int] = []
    live = Hub(served.backend, OrderDesk(served.backend), counts.append)
    split = parts(await served.token("building", "b-1"))
    assert split is not None
    view = View("b-1", with_partner=True)
    slow, quick = (live.messages(view, Shown(split[0]), None) for _ in range(2))
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
    again = live.messages(view, Shown(split[0]), last.place)
    await anext(again)
    missed = [message async for each in _first(again, 6) for message in each]
    assert [message.place.part for message in missed] == [1] * 6
    for each in (quick, again):
        await each.aclose()
    assert len(live) == 0
    assert (max(counts), counts[-1]) == (2, 0)


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
