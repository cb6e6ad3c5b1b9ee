"""How requests are framed: what RFC 9112 forbids is refused, what it allows is read in one way only, and
nobody keeps the server waiting by sending or reading in drops.
"""

import asyncio
import gzip
import re
import socket
from collections.abc import AsyncIterator

import pytest

from api.http import connection
from ledger.embedded import EmbeddedNats, EmbeddedPostgres
from tests.support.api import V1, Api
from tests.support.raw import BODY_MAX, LARGE, SLOW, connected, head, problem_of, said, slow_campus
from tests.support.store import migrated

CLOSE = "Connection: close"
CHUNKED = "Transfer-Encoding: chunked"
SOCKET = (
    "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip


@pytest.fixture(scope="module")
async def campus(
    postgres_server: EmbeddedPostgres, nats_server: EmbeddedNats, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    dsn = await postgres_server.create_database("framing")
    await migrated(dsn)
    async with slow_campus(dsn, nats_server, tmp_path_factory.mktemp("api")) as (found, slow):
        slow.go.set()
        yield found


@pytest.fixture
async def served(campus: Api) -> AsyncIterator[Api]:
    yield campus
    async with campus.client() as client:
        assert (await client.get("/livez")).status_code == 200, "it goes on"


def chunked(*chunks: bytes, fields: tuple[str, ...] = ()) -> bytes:
    return head("POST", SLOW, CHUNKED, CLOSE, *fields) + b"".join(chunks)


def statuses(answer: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", answer)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /livez HTTP/1.1\nHost: x\n\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"FOO /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        head("POST", SLOW, "Content-Length: 2", "Content-Length: 2") + b"ab",
        head("POST", SLOW, "Content-Length: 2, 2") + b"ab",
        head("POST", SLOW, "Content-Length: +2") + b"ab",
        head("POST", SLOW, "Content-Length: 0x2") + b"ab",
        head("POST", SLOW, "Content-Length: " + "9" * 30) + b"ab",
        head("POST", SLOW, "Transfer-Encoding: identity") + b"ab",
        head("POST", SLOW, "Transfer-Encoding: xchunked") + b"2\r\nab\r\n0\r\n\r\n",
        head("POST", SLOW, "Transfer-Encoding : chunked") + b"2\r\nab\r\n0\r\n\r\n",
        head("POST", SLOW, "Transfer-Encoding: chunked, chunked") + b"2\r\nab\r\n0\r\n\r\n",
        chunked(b"f" * 17, b"\r\nab\r\n0\r\n\r\n"),
        chunked(b"-2\r\nab\r\n0\r\n\r\n"),
        chunked(b"2\r\nabc\r\n0\r\n\r\n"),
        chunked(b"2\nab\n0\n\n"),
        head() + b"\x00\xff\xfe garbage\r\n\r\n",
        head("POST", "/livez", *SOCKET, "Content-Length: 2") + b"ab",
        head() + head("GET", "/livez", *SOCKET),
    ],
)
async def test_what_the_rules_of_framing_forbid_is_refused_and_the_connection_closed(
    served: Api, request_: bytes
) -> None:
    answer = await said(served, request_)
    assert statuses(answer)[-1] == b"400", answer
    assert problem_of(answer[answer.rfind(b"HTTP/1.1 ") :])["code"] == "bad-request"


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET /livez HTTP/2.0\r\nHost: x\r\n\r\n", b"505", "other-http-version"),
        (b"GET /livez HTTP/0.9\r\nHost: x\r\n\r\n", b"505", "other-http-version"),
        (head("POST", SLOW, "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", b"501", "not-implemented"),
        (head("POST", SLOW, "Transfer-Encoding: gzip", CHUNKED) + b"0\r\n\r\n", b"501", "not-implemented"),
    ],
)
async def test_what_is_not_spoken_here_is_told_as_that(
    served: Api, request_: bytes, status: bytes, code: str
) -> None:
    answer = await said(served, request_)
    assert statuses(answer) == [status], answer
    assert problem_of(answer)["code"] == code


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (b"GET /livez HTTP/1.0\r\n\r\n", b'{"status":"ok"}'),
        (head("GET", "/livez", CLOSE, "Content-Length: 3") + b"abc", b'{"status":"ok"}'),
        (b"GET http://elsewhere/livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b'{"status":"ok"}'),
        (head("GET", "/livez", CLOSE, "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"), b'{"status":"ok"}'),
        (chunked(b"2\r\nab\r\n0\r\n\r\n"), b"2 bytes"),
        (chunked(b"2;a=b\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), b"3 bytes"),
        (head("POST", SLOW, CLOSE, "Expect: 100-continue", "Content-Length: 2") + b"ab", b"2 bytes"),
        (head("POST", SLOW, CLOSE, "Content-Length: 2") + b"ab" + head(), b"2 bytes"),
    ],
)
async def test_what_they_allow_is_read(served: Api, request_: bytes, body: bytes) -> None:
    answer = await said(served, request_)
    assert statuses(answer)[-1] == b"200", answer
    assert answer.endswith(b"\r\n\r\n" + body)


async def test_a_field_behind_the_body_does_not_count_as_one_before_it(served: Api) -> None:
    body = b"2\r\nab\r\n0\r\n"
    told = await said(served, chunked(body, b"\r\n", fields=("Tell: head",)))
    assert b"x-told: head" in told
    for name in (b"Tell", b"Authorization", b"X-Request-Id", b"Host"):
        answer = await said(served, chunked(body, name + b": behind\r\n\r\n"))
        assert statuses(answer) == [b"200"], name
        assert b"behind" not in answer


async def test_more_around_chunks_than_in_them_is_refused(served: Api) -> None:
    many = 1_000_000
    for flood in (
        chunked(b"2;a=", b"x" * many, b"\r\nab\r\n0\r\n\r\n"),
        chunked(b"2\r\nab\r\n0\r\n", b"X: y\r\n" * many, b"\r\n"),
        chunked(b"2\r\nab\r\n0\r\nX: ", b"y" * many, b"\r\n\r\n"),
        chunked(b"0" * many, b"\r\n\r\n"),
    ):
        answer = await said(served, flood)
        assert answer == b"" or statuses(answer)[-1] in (b"400", b"431"), answer
    small = chunked(b"1\r\na\r\n" * BODY_MAX, b"0\r\n\r\n")
    assert (await said(served, small)).endswith(b"%d bytes" % BODY_MAX)


async def test_a_compressed_body_is_never_blown_up(served: Api) -> None:
    bomb = gzip.compress(bytes(3_000_000))
    request = head("POST", SLOW, CLOSE, "Content-Encoding: gzip", f"Content-Length: {len(bomb)}")
    answer = await said(served, request + bomb)
    assert answer.endswith(b"%d bytes" % len(bomb)), "it is what it is"


@pytest.mark.parametrize(
    "fields",
    [
        SOCKET[:3],
        (*SOCKET[:3], "Sec-WebSocket-Key: x"),
        (*SOCKET[:2], "Sec-WebSocket-Version: 99", SOCKET[3]),
        (*SOCKET, SOCKET[3]),
        (*SOCKET, "Sec-WebSocket-Extensions: \xff\xfe;;,,", "Sec-WebSocket-Protocol: ,,\xff"),
        SOCKET,  # well said, but nothing there speaks by it
        (*SOCKET, "Content-Length: 1"),
        (*SOCKET, "Content-Length: 500"),
        (*SOCKET, CHUNKED),
    ],
)
async def test_a_handshake_for_a_websocket_that_is_none_is_refused(
    served: Api, fields: tuple[str, ...]
) -> None:
    for path in ("/livez", SLOW, f"{V1}/nowhere"):
        answer = await said(served, head("GET", path, *fields) + b"\xff" * 500)
        assert statuses(answer)[0] in (b"400", b"404", b"405"), (path, answer)


@pytest.mark.parametrize(
    "junk", [b"\x00junk\r\n\r\n", b"GET /livez HTTP/1.1\r\n\r\n", head("GET", "/livez", *SOCKET)]
)
async def test_what_was_taken_is_answered_before_the_junk_behind_it_is_refused(
    served: Api, junk: bytes
) -> None:
    good = head("POST", SLOW, "Content-Length: 2") + b"ab"
    answer = await said(served, good + junk)
    assert statuses(answer) == [b"200", b"400"]
    assert b"2 bytes" in answer
    assert statuses(await said(served, good * 3 + junk)) == [b"200"] * 3 + [b"400"]
    many = await said(served, good * (connection.PIPELINED_MAX + 5))
    assert statuses(many)[-1] == b"400"
    assert statuses(many)[:-1] == [b"200"] * (connection.PIPELINED_MAX + 1)


async def test_an_upgrade_to_what_is_not_spoken_here_is_answered_and_ends_the_connection(served: Api) -> None:
    wanted = head("GET", "/livez", "Connection: Upgrade", "Upgrade: foo")
    async with asyncio.timeout(5):
        assert statuses(await said(served, wanted + head())) == [b"200"]


# --- in drops ---------------------------------------------------------------------------------


async def test_drops_of_a_body_do_not_make_the_time_longer(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BODY_SECONDS", 0.5)
    for begin, drop in (
        (head("POST", SLOW, "Content-Length: 1000"), b"a"),
        (chunked(), b"1\r\na\r\n"),
        (chunked(b"2\r\nab\r\n0\r\n"), b"X: y\r\n"),
    ):
        async with connected(served) as (reader, writer), asyncio.timeout(5):
            writer.write(begin)
            coming = asyncio.ensure_future(reader.read())
            while not coming.done():
                writer.write(drop)
                await asyncio.sleep(0.05)
            assert problem_of(await coming)["code"] == "too-slow"


async def test_who_does_not_read_its_answers_is_hung_up_on(
    served: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SEND_SECONDS", 0.5)
    host, port = served.address.removeprefix("http://").split(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, (host, int(port)))
        await loop.sock_sendall(client, head("GET", SLOW) * 8)
        await asyncio.sleep(1.5)
        came = 0
        async with asyncio.timeout(10):
            try:
                while data := await loop.sock_recv(client, 65_536):
                    came += len(data)
            except ConnectionResetError:
                pass
    assert came < 8 * LARGE
