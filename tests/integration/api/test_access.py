"""Who is let in, how often, and what is kept of it; and requests that are sent again."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog
from litestar import Response, post
from litestar.datastructures import State

from api.http import repeating
from api.http.app import OF_A_COMMUNITY
from api.http.principal import REMEMBERED_SECONDS
from api.seal import Seal
from ledger.clock import SystemClock
from ledger.embedded import EmbeddedNats
from tests.support.api import V1, Api, api
from tests.support.store import owner

TOKEN = "0123456789ab." + "s" * 43
ORIGINAL = f"{V1}/counted"


class Counter:
    """A POST that counts how often it was really done."""

    def __init__(self) -> None:
        self.times = 0
        self.status = 201
        self.text = "done"
        self.go = asyncio.Event()
        self.go.set()
        self.begun = asyncio.Event()

    def handler(self) -> Any:
        @post("/counted", may={"operator"}, media_type="text/plain")
        async def counted(state: State) -> Response[str]:
            self.times += 1
            self.begun.set()
            await self.go.wait()
            if self.status == 500:
                raise RuntimeError("as if by a bug")
            return Response(f"{self.text} {self.times}", status_code=self.status, media_type="text/plain")

        return counted


@pytest.fixture
async def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    found = Counter()
    monkeypatch.setattr("api.http.app.OF_A_COMMUNITY", (*OF_A_COMMUNITY, found.handler()))
    return found


@pytest.fixture
async def served(
    database: str, nats_server: EmbeddedNats, tmp_path: Path, counter: Counter
) -> AsyncIterator[Api]:
    async with projected(database, nats_server, tmp_path) as found:
        yield found


@asynccontextmanager
async def projected(database: str, nats: EmbeddedNats, folder: Path, **settings: Any) -> AsyncIterator[Api]:
    async with api(database, nats, folder, **settings) as found:
        await found.site.projector.catch_up()
        yield found


# --- who is let in ----------------------------------------------------------------------------


async def test_a_revoked_key_is_refused_within_the_time_a_key_is_remembered(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert REMEMBERED_SECONDS <= 5
    monkeypatch.setattr("api.http.principal.REMEMBERED_SECONDS", 0.3)
    async with served.client("operator") as client:
        assert (await client.get("/metrics")).status_code == 200
        prefix = (await served.token("operator")).partition(".")[0]
        assert await served.backend.access.end("campus", prefix, SystemClock().now())
        await asyncio.sleep(0.35)
        refused = await client.get("/metrics")
    assert (refused.status_code, refused.json()["code"]) == (401, "not-authenticated")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_key_is_shown_in_one_way_only(served: Api) -> None:
    token = await served.token("operator")
    async with served.client() as client:
        for headers in (
            [("Authorization", f"Basic {token}")],
            [("Authorization", token)],
            [("Authorization", "Bearer")],
            [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")],
        ):
            assert (await client.get("/metrics", headers=headers)).status_code == 401, headers
        assert (await client.get("/metrics", params={"token": token})).status_code == 401
        assert (
            await client.get("/metrics", headers={"Authorization": f"bearer  {token}"})
        ).status_code == 200


async def test_wrong_keys_cannot_be_tried_without_bound(
    database: str, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with projected(database, nats_server, tmp_path, requests_a_minute_without_key=5) as found:
        async with found.client("operator") as client:
            assert (await client.get("/metrics")).status_code == 200
        prefix = (await found.token("operator")).partition(".")[0]
        async with found.client() as stranger:
            answers = [
                await stranger.get("/metrics", headers={"Authorization": f"Bearer {prefix}.{'x' * 42}{n}"})
                for n in range(8)
            ]
            assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
            assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
            assert (await stranger.get("/v1/nowhere")).status_code == 429, "no other path is a way round"
        async with found.client("operator") as client:
            assert (await client.get("/metrics")).status_code == 200, "who was known before still is"
        async with found.client("auditor") as client:
            assert (await client.get("/metrics")).status_code == 429, "a key not seen yet is not looked up"


async def test_a_key_that_opens_nothing_any_more_is_counted_as_a_strangers(
    database: str, nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.principal.REMEMBERED_SECONDS", 0.0)
    async with (
        projected(database, nats_server, tmp_path, requests_a_minute_without_key=5) as found,
        found.client("operator") as client,
    ):
        assert (await client.get("/metrics")).status_code == 200
        prefix = (await found.token("operator")).partition(".")[0]
        assert await found.backend.access.end("campus", prefix, SystemClock().now())
        statuses = [(await client.get("/metrics")).status_code for _ in range(8)]
    assert statuses == [401] * 5 + [429] * 3


async def test_a_key_has_a_limit_of_its_own(database: str, nats_server: EmbeddedNats, tmp_path: Path) -> None:
    async with projected(database, nats_server, tmp_path, requests_a_minute=3) as found:
        async with found.client("operator") as client:
            answers = [await client.get("/livez") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2
        assert answers[-1].json()["code"] == "too-many-requests"
        assert int(answers[-1].headers["Retry-After"]) >= 1
        async with found.client("auditor") as client:
            assert (await client.get("/livez")).status_code == 200


async def test_what_is_not_projected_yet_is_asked_for_again(
    database: str, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with api(database, nats_server, tmp_path) as found, found.client("operator") as client:
        early = await client.get("/metrics")
    assert (early.status_code, early.json()["code"]) == (503, "store-not-ready")
    assert int(early.headers["Retry-After"]) >= 1


# --- what every answer has --------------------------------------------------------------------


async def test_every_answer_has_a_request_id_and_the_headers_that_protect_a_browser(served: Api) -> None:
    async with served.client() as client:
        for method, path in (
            ("GET", "/livez"), ("GET", "/docs"), ("GET", "/v1/openapi.json"), ("GET", "/metrics"),
            ("GET", "/nowhere"), ("POST", "/livez"), ("OPTIONS", "/livez"), ("HEAD", "/livez"),
        ):  # fmt: skip
            answer = await client.request(method, path)
            assert len(answer.headers["X-Request-Id"]) >= 16, path
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Cache-Control"]
            assert "server" not in answer.headers
            if answer.status_code >= 400 and method != "HEAD":
                assert answer.headers["Content-Type"] == "application/problem+json", path
                assert answer.json()["instance"] == answer.headers["X-Request-Id"]
        told = await client.get("/livez", headers={"X-Request-Id": "abc123"})
        assert told.headers["X-Request-Id"] == "abc123"
        letters = b"x" * 43  # as long as the secret of a key
        for odd in (b"a b", letters, b"a\xe9", TOKEN.encode()):
            told = await client.get("/livez", headers={b"X-Request-Id": odd})
            assert told.headers["X-Request-Id"].encode("latin-1") != odd


async def test_who_uses_another_method_is_told_which_ones_there_are(served: Api) -> None:
    async with served.client() as client:
        for path, methods in (
            ("/livez", "GET, HEAD"),
            (ORIGINAL, "POST"),
            (f"{V1}/webhooks", "GET, HEAD, POST"),
        ):
            refused = await client.request("DELETE", path)
            assert (refused.status_code, refused.headers["Allow"]) == (405, methods)


async def test_head_answers_as_get_without_a_body(served: Api) -> None:
    async with served.client() as client:
        got, asked = await client.get("/livez"), await client.head("/livez")
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["Content-Length"] == got.headers["Content-Length"]


async def test_long_answers_are_compressed_and_say_that_they_vary(served: Api) -> None:
    async with served.client() as client:
        plain = await client.get("/docs/style.css", headers={"Accept-Encoding": "identity"})
        page = await client.get("/docs", headers={"Accept-Encoding": "gzip"})
    assert page.headers["Content-Encoding"] == "gzip"
    assert {"Accept-Encoding", "Authorization"} <= {*page.headers["Vary"].split(", ")}
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert "Content-Encoding" not in plain.headers


# --- what is kept -----------------------------------------------------------------------------


async def test_the_access_log_keeps_who_asked_also_at_the_end_and_is_append_only(
    database: str, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    async with projected(database, nats_server, tmp_path, requests_a_minute=4) as found:
        async with found.client("operator") as client:
            for path in ("/livez", "/metrics", "/nowhere?secret=not-kept", "/livez", "/livez"):
                await client.get(path)
        async with found.client("auditor") as client:
            await client.get(f"/v1/communities/{TOKEN}/log/checkpoint")
            await client.get("/a%0Ab%00c")
        async with found.client() as client:
            answers = [
                await client.get("/livez"), await client.get("/metrics"), await client.get("/nowhere"),
            ]  # fmt: skip
            answers += [
                await client.post("/problems/" + "x" * 290, json={}), await client.options("/livez"),
                await client.post(f"{V1}/session", content=b"[" * 3_000),
                await client.post(f"{V1}/devices/enrol", json={"token": "none"}),
                await client.post(f"{V1}/envelopes", json={"device": "nobody"}),
            ]  # fmt: skip
        assert {200, 400, 401, 404, 405, 422} == {answer.status_code for answer in answers}
        prefix = (await found.token("operator")).partition(".")[0]
        auditor = ((await found.token("auditor")).partition(".")[0], "auditor", "GET")
        store = found.site.store
    async with owner(store) as connection:
        rows = [
            tuple(row)
            for row in await connection.fetch(
                "SELECT prefix, role, method, path, status FROM access.requests"
            )
        ]
        who = (prefix, "operator", "GET")
        assert rows[:4] == [
            (*who, "/livez", 200),
            (*who, "/metrics", 200),
            (*who, "/nowhere", 404),
            (*who, "/livez", 200),
        ]
        assert rows[4:] == [
            (*auditor, "/v1/communities/0123456789ab.***/log/checkpoint", 404),
            (*auditor, "/a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c", 404),
        ], "strangers cannot fill it, whatever they are answered"
        for change in (
            "UPDATE access.requests SET path = ''",
            "DELETE FROM access.requests",
            "TRUNCATE access.requests",
        ):
            with pytest.raises(asyncpg.PostgresError, match="append-only"):
                await connection.execute(change)


async def test_no_secret_is_told_in_answers_or_logs(served: Api, capture: list[dict[str, Any]]) -> None:
    token = await served.token("auditor")
    secret = token.partition(".")[2]
    async with served.client() as client:
        answers = [
            await client.get(f"/v1/communities/{token}/log/checkpoint"),
            await client.get(f"/problems/{token}"),
            await client.get("/metrics", params={"key": token}),
            await client.get("/metrics", headers={"Authorization": f"Token {token}"}),
            await client.get("/metrics", headers={"Authorization": f"Bearer {token}x"}),
            await client.get("/metrics", headers={"X-Request-Id": token}),
            await client.get(f"/{token}"),
            await client.post("/metrics", headers={"Idempotency-Key": token}),
        ]
    async with served.client("auditor") as client:
        answers.append(await client.get(f"/{token}"))
    for answer in answers:
        assert answer.status_code in (401, 404, 405)
        assert secret not in answer.text
        assert secret not in str(answer.headers)
    assert capture
    assert secret not in repr(capture)


@pytest.fixture
def capture() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


# --- sent again -------------------------------------------------------------------------------


async def test_a_post_that_is_sent_again_is_done_once(served: Api, counter: Counter) -> None:
    async with served.client("operator", headers={"Idempotency-Key": "k-1"}) as client:
        first, again = await client.post(ORIGINAL), await client.post(ORIGINAL)
        assert counter.times == 1
        assert (first.status_code, first.text) == (again.status_code, again.text) == (201, "done 1")
        assert again.headers["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in first.headers
        other = await client.post(ORIGINAL, content=b"other")
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
        new = await client.post(ORIGINAL, headers={"Idempotency-Key": "k-2"})
        assert new.text == "done 2"


async def test_answers_and_requests_are_kept_unreadable(served: Api, counter: Counter) -> None:
    async with served.client("operator", headers={"Idempotency-Key": "k-1"}) as client:
        await client.post(ORIGINAL, content=b"a short secret")
    (newest, *_) = await served.site.rows("SELECT request, body FROM access.answers ORDER BY begun_at DESC")
    request, body = newest
    tried = [b"\0".join([ORIGINAL.encode(), b"", b"a short secret"]), b"a short secret"]
    assert request not in [sha256(each).digest() for each in tried]
    assert b"done" not in body


async def test_what_no_longer_opens_is_done_and_not_done_again(
    served: Api, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served.client("operator", headers={"Idempotency-Key": "k-1"}) as client:
        await client.post(ORIGINAL)
        monkeypatch.setattr("api.http.repeating._place", lambda *_: "elsewhere")
        again = await client.post(ORIGINAL)
    assert (again.status_code, again.json()["code"], counter.times) == (409, "answer-not-kept", 1)


async def test_an_answer_is_kept_as_it_is_whatever_encodings_the_client_takes(
    served: Api, counter: Counter
) -> None:
    counter.text = "long " * 1_000
    async with served.client("operator", headers={"Idempotency-Key": "k-1"}) as client:
        first = await client.post(ORIGINAL, headers={"Accept-Encoding": "gzip"})
        again = await client.post(ORIGINAL, headers={"Accept-Encoding": "identity"})
    assert first.text == again.text == counter.text + " 1"


async def test_an_answer_too_long_to_keep_is_not_made_twice(served: Api, counter: Counter) -> None:
    counter.text = "x" * (repeating.ANSWER_BYTES_MAX + 1)
    async with served.client("operator", headers={"Idempotency-Key": "k-1"}) as client:
        assert (await client.post(ORIGINAL)).status_code == 201
        again = await client.post(ORIGINAL)
    assert (again.status_code, again.json()["code"], counter.times) == (409, "answer-not-kept", 1)


async def test_what_failed_on_our_side_may_be_tried_again(served: Api, counter: Counter) -> None:
    counter.status = 500
    async with served.client("operator", headers={"Idempotency-Key": "k-1"}) as client:
        failed = await client.post(ORIGINAL)
        assert (failed.status_code, failed.json()["code"]) == (500, "internal-error")
        assert "bug" not in failed.text
        counter.status = 201
        assert (await client.post(ORIGINAL)).text == "done 2"
    async with served.client("auditor", headers={"Idempotency-Key": "k-1"}) as client:
        assert (await client.post(ORIGINAL)).status_code == 403
        assert (await client.post(ORIGINAL)).status_code == 403
    assert await rows(served, "SELECT count(*)::int FROM access.answers") == [(1,)]


@pytest.mark.parametrize("status", [400, 404, 409, 422, 429])
async def test_a_refusal_is_not_kept_and_judged_anew_also_with_another_body(
    served: Api, counter: Counter, status: int
) -> None:
    counter.status = status
    async with served.client("operator", headers={"Idempotency-Key": "k-1"}) as client:
        assert (await client.post(ORIGINAL)).status_code == status
        assert await rows(served, "SELECT count(*)::int FROM access.answers") == [(0,)]
        counter.status = 201
        assert (await client.post(ORIGINAL, content=b"mended")).text == "done 2"
        assert (await client.post(ORIGINAL, content=b"mended")).text == "done 2"
        assert (await client.post(ORIGINAL)).json()["code"] == "idempotency-key-reused"


async def test_a_key_has_so_many_answers_kept_in_a_day_and_refusals_count_as_none(
    database: str, nats_server: EmbeddedNats, tmp_path: Path, counter: Counter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(repeating, "ANSWERS_A_DAY", 2)
    async with (
        projected(database, nats_server, tmp_path) as found,
        found.client("operator") as client,
    ):
        counter.status = 422
        for number in range(4):
            refused = await client.post(ORIGINAL, headers={"Idempotency-Key": f"r-{number}"})
            assert refused.status_code == 422
        counter.status, counter.times = 201, 0
        answers = [await client.post(ORIGINAL, headers={"Idempotency-Key": f"k-{n}"}) for n in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        assert int(answers[-1].headers["Retry-After"]) <= 12 * 3_600
        assert (await client.post(ORIGINAL, headers={"Idempotency-Key": "k-1"})).text == "done 2"
        assert (await client.post(ORIGINAL)).status_code == 201, "without a name nothing is kept"
        assert await rows(found, "SELECT count(*)::int FROM access.answers") == [(2,)]


async def test_of_a_key_so_many_bytes_of_answers_are_kept_and_then_that_they_were_given(
    database: str, nats_server: EmbeddedNats, tmp_path: Path, counter: Counter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(repeating, "BYTES_A_DAY", 1_500)
    counter.text = "x" * 1_000
    async with (
        projected(database, nats_server, tmp_path) as found,
        found.client("operator") as client,
    ):
        for _ in range(2):
            answers = [await client.post(ORIGINAL, headers={"Idempotency-Key": f"k-{n}"}) for n in range(2)]
    assert (answers[0].status_code, answers[0].text) == (201, counter.text + " 1")
    assert (answers[1].status_code, answers[1].json()["code"]) == (409, "answer-not-kept")
    assert counter.times == 2, "what was done is not done again"


async def test_a_name_that_is_none_is_refused_and_nothing_is_done(served: Api, counter: Counter) -> None:
    async with served.client("operator") as client:
        for names in (("",), ("a", "a"), ("a", "b"), ("x" * 129,), ("a\tb",)):
            answer = await client.post(ORIGINAL, headers=[("Idempotency-Key", name) for name in names])
            assert (answer.status_code, answer.json()["where"]) == (422, "Idempotency-Key"), names
    assert counter.times == 0


async def test_the_same_request_at_the_same_time_is_told_to_wait(served: Api, counter: Counter) -> None:
    counter.go.clear()
    async with served.client("operator", headers={"Idempotency-Key": "k-1"}) as client:
        first = asyncio.ensure_future(client.post(ORIGINAL))
        await counter.begun.wait()
        second = await client.post(ORIGINAL)
        counter.go.set()
        assert (await first).status_code == 201
    assert (second.status_code, second.json()["code"]) == (409, "in-progress")
    assert int(second.headers["Retry-After"]) >= 1
    assert counter.times == 1


async def test_a_request_whose_process_died_is_taken_over_after_a_minute_and_not_before(
    served: Api, counter: Counter
) -> None:
    access, now = served.backend.access, SystemClock().now()
    prefix = (await served.token("operator")).partition(".")[0]
    seal = Seal("answer-seal", "campus", served.backend.ledger.service)
    request = seal.tag(b"\0".join([ORIGINAL.encode(), b"", b""]))
    early, late = now - repeating.TAKEN_OVER_AFTER + timedelta(seconds=20), now - repeating.TAKEN_OVER_AFTER
    for name, begun in (("early", early), ("late", late)):
        assert await access.begin(prefix, name, request, begun, begun)
    async with served.client("operator") as client:
        assert (await client.post(ORIGINAL, headers={"Idempotency-Key": "early"})).status_code == 409
        other = await client.post(ORIGINAL, headers={"Idempotency-Key": "late"}, content=b"other")
        assert other.status_code == 422, "only the same request takes over"
        assert (await client.post(ORIGINAL, headers={"Idempotency-Key": "late"})).text == "done 1"
        await access.finish(prefix, "late", late, 200, "text/plain", b"of the one that was taken over", None)
        assert (await client.post(ORIGINAL, headers={"Idempotency-Key": "late"})).text == "done 1"
    assert timedelta(seconds=repeating.ANSWER_SECONDS) < repeating.TAKEN_OVER_AFTER


async def test_a_request_that_takes_too_long_is_ended_before_it_can_be_taken_over(
    served: Api, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeating, "ANSWER_SECONDS", 0.2)
    counter.go.clear()
    async with served.client("operator", headers={"Idempotency-Key": "k-1"}) as client:
        slow = await client.post(ORIGINAL)
        assert (slow.status_code, slow.json()["code"]) == (503, "took-too-long")
        assert (await client.post(ORIGINAL)).status_code == 409, "it may have been done"


async def test_half_a_request_is_not_done(served: Api, counter: Counter) -> None:
    token = await served.token("operator")
    host, port = served.address.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {ORIGINAL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: k-1\r\n"
        "Content-Length: 100\r\n\r\nhalf".encode()
    )
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.close()
    await asyncio.sleep(0.2)
    assert counter.times == 0


async def test_answers_are_forgotten_after_a_day(served: Api, counter: Counter) -> None:
    access, now = served.backend.access, SystemClock().now()
    for name, begun in (("old", now - repeating.KEPT - timedelta(minutes=1)), ("new", now)):
        await access.begin("p", name, bytes(32), begun, begun)
        await access.finish("p", name, begun, 200, "text/plain", b"", None)
    stop = asyncio.Event()
    task = asyncio.ensure_future(repeating.keep_forgetting(access, SystemClock(), stop))
    async with asyncio.timeout(10):
        while await rows(served, "SELECT name FROM access.answers") != [("new",)]:
            await asyncio.sleep(0.02)
    stop.set()
    await task


async def rows(found: Api, query: str) -> list[tuple[Any, ...]]:
    async with owner(found.site.store) as connection:
        return [tuple(row) for row in await connection.fetch(query)]
