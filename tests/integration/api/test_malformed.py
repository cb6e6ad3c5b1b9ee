"""What clients do that they should not: malformed, huge, slow, half-closed, too far ahead. It goes on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from api.http import connection
from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from tests.support.api import V1, Api, api
from tests.support.raw import BODY_MAX, SLOW, Slow, connected, head, problem_of, said, slow_campus
from tests.support.store import migrated


@pytest.fixture(scope="module")
async def campus(
    postgres_server: EmbeddedPostgres, nats_server: EmbeddedNats, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Api, Slow]]:
    dsn = await postgres_server.create_database("malformed")
    await migrated(dsn)
    async with slow_campus(dsn, nats_server, tmp_path_factory.mktemp("api")) as found:
        yield found


@pytest.fixture
async def slow(campus: tuple[Api, Slow]) -> Slow:
    found = campus[1]
    found.begun.clear()
    found.go.set()
    return found


@pytest.fixture
async def served(campus: tuple[Api, Slow], slow: Slow) -> AsyncIterator[Api]:
    found = campus[0]
    yield found
    slow.go.set()
    async with found.client() as client:
        assert (await client.get("/livez")).status_code == 200, "it goes on"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # a TLS hello
        b"GET /livez HTTP/9.9\r\nHost: x\r\n\r\n",
        b"\x00\x00\x00\x00\r\n\r\n",
        b"GET /\x00livez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_is_no_request_is_refused_and_the_connection_closed(served: Api, data: bytes) -> None:
    answer = await said(served, data)
    assert answer.split(b" ")[1] in (b"400", b"405"), answer
    assert b"connection: close" in answer.lower() or answer.count(b"HTTP/1.1") == 2


ODD_PATHS = (
    "/%00", "/livez%00", "/%ff%fe", "/..%2f..%2fetc/passwd", "/%0d%0aX-Evil:1", "/livez/../x", "/%F0%9F",
    f"{V1}/log/tile/0/%00", f"{V1}%00/log/checkpoint", "/problems/%00", "/problems/<script>",
    "/" + "a" * 8_000, "/" + "/" * 3_000, "/problems/" + "%41" * 3_000,
)  # fmt: skip
ODD_FIELDS = (
    "Authorization: Bearer \xff\xfe", "Authorization: Bearer a.b", "If-None-Match: \x80", "Cookie: a=\xff",
    "X-Request-Id: \xe9", "Accept-Encoding: \xff", "Authorization: " + "B" * 5_000, "Accept: \xff/\xff",
)  # fmt: skip


@pytest.mark.parametrize("path", ODD_PATHS)
async def test_odd_paths_are_not_found(served: Api, path: str) -> None:
    answer = await said(served, head("GET", path, "Connection: close"))
    assert answer.split(b" ")[1] in (b"404", b"400"), answer[:200]
    assert b"X-Evil" not in answer.partition(b"\r\n\r\n")[0]


async def test_odd_bytes_in_headers_and_queries_are_no_failure_of_ours(served: Api) -> None:
    for field in ODD_FIELDS:
        answer = await said(served, head("GET", "/livez", field, "Connection: close"))
        assert answer.split(b" ")[1] in (b"200", b"401"), (field, answer)
    for query in ("?%00", "?a=%ff", "?limit=%00", "?" + "a&" * 2_000, "?a[=1"):
        answer = await said(served, head("GET", f"/livez{query}", "Connection: close"))
        assert problem_of(answer)["code"] == "unknown-parameter", (query, answer)


# --- too much ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [BODY_MAX + 1, 300_000])
async def test_a_body_beyond_the_limit_is_refused_told_or_not(served: Api, size: int) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for begin in range(0, size, 1_000):
            yield bytes(min(1_000, size - begin))

    async with served.client() as client:
        for content in (bytes(size), parts()):
            answer = await client.post(SLOW, content=content)
            assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    async with served.client("operator", headers={"Idempotency-Key": f"k-{size}"}) as client:
        for content in (bytes(size), parts()):
            answer = await client.post(SLOW, content=content)
            assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
        fits = await client.post(SLOW, content=bytes(BODY_MAX))
        assert fits.text == f"{BODY_MAX} bytes"


async def test_a_body_that_is_told_to_be_huge_is_refused_before_it_comes(served: Api) -> None:
    answer = await said(served, head("POST", SLOW, "Content-Length: 999999999999", "Connection: close"))
    assert problem_of(answer)["status"] == 413


@pytest.mark.parametrize(
    "fields", [["A: " + "x" * 40_000], [f"A{n}: b" for n in range(5_000)], ["A: " + "x" * 600_000]]
)
async def test_a_flood_of_headers_is_refused(served: Api, fields: list[str]) -> None:
    answer = await said(served, head("GET", "/livez", *fields))
    assert answer == b"" or problem_of(answer)["code"] == "headers-too-large"


async def test_a_head_without_end_is_refused(served: Api) -> None:
    answer = await said(served, b"GET /livez HTTP/1.1\r\nHost: x\r\n", *[b"A: b\r\n" for _ in range(8_000)])
    assert answer == b"" or problem_of(answer)["code"] == "headers-too-large"


async def test_connections_beyond_the_limit_are_closed_and_others_go_on(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 3)
    async with connected(served), connected(served), connected(served) as (reader, writer):
        await asyncio.sleep(0.1)
        assert await said(served, head("GET", "/livez", "Connection: close")) == b""
        writer.write(head())
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    await asyncio.sleep(0.1)


# --- too slow ---------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"GET /livez HTTP/1.1\r\nHost:", b"\r\n", head() + b"GET /l"])
async def test_a_head_that_does_not_come_is_not_waited_for(
    served: Api, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    answer = await said(served, data)
    assert problem_of(answer[answer.rfind(b"HTTP/1.1") :])["code"] == "too-slow"


async def test_drops_of_a_head_do_not_make_the_time_longer(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    async with connected(served) as (reader, writer), asyncio.timeout(5):
        for each in b"GET /livez HTTP/1.1\r\nHost: x\r\nAccept: a/b\r\n":
            if reader.at_eof() or writer.is_closing():
                break
            writer.write(bytes([each]))
            await asyncio.sleep(0.05)
            if reader._buffer:  # type: ignore[attr-defined]  # whether something came, without waiting
                break
        assert problem_of(await reader.read())["code"] == "too-slow"


async def test_a_body_that_does_not_come_is_not_waited_for(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BODY_SECONDS", 0.3)
    answer = await said(served, head("POST", SLOW, "Content-Length: 10") + b"half")
    assert problem_of(answer)["code"] == "too-slow"


async def test_a_slow_answer_is_not_a_slow_client(
    served: Api, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(connection, "BODY_SECONDS", 0.2)
    slow.go.clear()
    async with connected(served) as (reader, writer), asyncio.timeout(10):
        writer.write(head("POST", SLOW, "Content-Length: 2") + b"abGET /li")
        await slow.begun.wait()
        await asyncio.sleep(0.7)
        slow.go.set()
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"


# --- ahead, and half closed -------------------------------------------------------------------


async def test_requests_sent_ahead_are_answered_in_their_order(served: Api) -> None:
    requests = [head("POST", SLOW, f"Content-Length: {size}") + bytes(size) for size in range(20)]
    answer = await said(served, b"".join(requests) + head("GET", "/livez", "Connection: close"))
    assert [part for part in answer.decode().split("\r\n") if part.endswith(" bytes") or " bytes" in part]
    sizes = [
        int(text.split(" bytes")[0].split()[-1])
        for text in answer.decode().split("\r\n\r\n")
        if " bytes" in text
    ]
    assert sizes == list(range(20))


async def test_too_many_requests_sent_ahead_are_refused(served: Api, slow: Slow) -> None:
    slow.go.clear()
    request = head("POST", SLOW, "Content-Length: 0")
    coming = asyncio.ensure_future(said(served, request * (connection.PIPELINED_MAX + 5)))
    await asyncio.sleep(0.2)
    assert not coming.done(), "what was taken is answered first"
    slow.go.set()
    answer = await coming
    assert answer.count(b"HTTP/1.1 200 ") == connection.PIPELINED_MAX + 1
    assert problem_of(answer[answer.rfind(b"HTTP/1.1 ") :])["status"] == 400


async def test_a_client_that_closed_its_side_is_still_answered(served: Api, slow: Slow) -> None:
    slow.go.clear()
    waiting = asyncio.ensure_future(said(served, head("POST", SLOW, "Content-Length: 2") + b"ab", end=True))
    await slow.begun.wait()
    await asyncio.sleep(0.1)
    slow.go.set()
    assert (await waiting).endswith(b"2 bytes")


async def test_a_client_that_closed_its_side_in_the_middle_is_let_go(served: Api, slow: Slow) -> None:
    assert await said(served, head("POST", SLOW, "Content-Length: 9") + b"ab", end=True) == b""
    assert await said(served, b"GET /liv", end=True) == b""
    assert not slow.begun.is_set()


# --- the end ----------------------------------------------------------------------------------


async def test_requests_that_were_taken_are_answered_before_the_end(
    database: str, nats_server: EmbeddedNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow()
    monkeypatch.setattr("api.http.app.OF_A_COMMUNITY", slow.handlers())
    async with httpx.AsyncClient(timeout=20) as client:
        async with api(database, nats_server, tmp_path) as found:
            waiting = [
                asyncio.ensure_future(client.post(found.address + SLOW, content=b"ab")) for _ in range(10)
            ]
            await slow.begun.wait()
            await asyncio.sleep(0.3)
            asyncio.get_running_loop().call_later(0.5, slow.go.set)
        answers = await asyncio.gather(*waiting)
        assert [answer.text for answer in answers] == ["2 bytes"] * 10
        with pytest.raises(httpx.ConnectError):
            await client.get(found.address + "/livez")
