"""A client's connection: the library's, with a bound on everything that a client can keep waiting or growing.

    the head of a request       HEAD_SECONDS, HEAD_BYTES_MAX                        408, 431
    its body                    BODY_SECONDS; its size is the application's affair  408
    what is around its chunks   HEAD_BYTES_MAX, and FRAMING_MAX for each byte       431
    requests sent ahead         PIPELINED_MAX behind the one that is answered       400
    an answer nobody reads      SEND_SECONDS                                        closed
    between two requests        the library's keep-alive time                       closed
    all connections             CONNECTIONS_MAX                                     closed
    a WebSocket's messages      MESSAGE_BYTES_MAX, and SEND_SECONDS for what nobody reads

A request that was taken is answered before its connection is closed: also when what comes behind it is no
request, when the client has closed its own side (RFC 9112, section 9.6), and when the server ends: then an
open connection is kept for LAST_SECONDS more, for what was sent before its client could know. Only an answer
without end goes with its client.
"""

import asyncio
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from api.http.corked import Corked
from api.http.problems import LIBRARY, MEDIA_TYPE, problem
from api.http.scopes import OPEN_ENDED

HEAD_SECONDS = 10.0
HEAD_BYTES_MAX = 32 * 1024
BODY_SECONDS = 60.0
SEND_SECONDS = 60.0
FRAMING_MAX = 8
"""A chunk of one byte has five around it."""
LAST_SECONDS = 0.5
PIPELINED_MAX = 32
CONNECTIONS_MAX = 5_000
DESCRIPTORS_KEPT = 200
"""So many files the process may open besides: the store, the bus, a book that is exported."""
MESSAGE_BYTES_MAX = 1_024
"""Of a message to a WebSocket, which is there to tell and not to be told."""


def raise_descriptors() -> None:
    """Let the process have as many connections as its account may: the usual limit is for programs that wait
    with `select`, which this one does not."""
    soft, hard = getrlimit(RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + DESCRIPTORS_KEPT
    if soft < wanted:
        setrlimit(RLIMIT_NOFILE, (wanted if hard == RLIM_INFINITY else min(wanted, hard), hard))


def connections_max() -> int:
    """How many connections there may be at a time."""
    return min(CONNECTIONS_MAX, max(getrlimit(RLIMIT_NOFILE)[0] - DESCRIPTORS_KEPT, 1))


def _is_coded(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether chunks have to be decoded once more. What is no chunks at the end the parser refuses."""
    told = b",".join(value.lower() for name, value in headers if name == b"transfer-encoding")
    codings = [each.strip() for each in told.split(b",") if each.strip()]
    return len(codings) > 1 and codings[-1] == b"chunked" and b"chunked" not in codings[:-1]


class _Refused(Exception):
    """The request in hand is not read on."""


class _Sending(asyncio.Protocol):
    """Ends a connection whose other side does not read what it is sent."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    _unread: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        self._read()
        super().connection_lost(exc)

    def _read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()


class BoundedProtocol(_Sending, HttpToolsProtocol):
    """One connection."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._status, self._detail = 400, "this is not a request of HTTP/1.1"
        self._head_bytes = 0
        self._framing_bytes = 0
        self._is_in_head = False
        self._is_in_body = False
        self._is_ending = False
        self._is_refusing = False
        self._slow: asyncio.TimerHandle | None = None

    # --- what the transport tells -------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the library
        if len(self.connections) >= connections_max():
            transport.abort()
            return
        self._uncorked = transport
        self._corked = Corked(transport)
        super().connection_made(self._corked)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        if self.transport is not None:
            super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]  # the library always closes
        """A client that sends no more still waits for what is under way; then the connection is closed."""
        if self._is_in_body or self._is_idle() or self.cycle.scope["state"].get(OPEN_ENDED):
            return None
        self.cycle.keep_alive = False
        self._cancel()
        return True

    def data_received(self, data: bytes) -> None:
        if self.transport is None or self.transport.is_closing() or self._is_refusing:
            return
        if not self._is_in_body:
            self._head_bytes += len(data)
        self._framing_bytes += len(data) * self._is_in_body
        super().data_received(data)
        if self._slow is None and not self.transport.is_closing():
            self._expect_rest()
        if not self._is_in_body and self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(431, f"the head of a request has at most {HEAD_BYTES_MAX:,} bytes")
        if self._is_in_body and self._framing_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(431, "there is more around the chunks of the body than in them")

    # --- what the parser tells ----------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head. One behind the body must not count as such (RFC 9110, section 6.5.1)."""
        if not self._is_in_body:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= (1 + FRAMING_MAX) * len(body)
        super().on_body(body)

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._status, self._detail = 505, "this server speaks HTTP/1.1"
            raise _Refused
        if _is_coded(self.headers):  # RFC 9112, section 6.1
            self._status, self._detail = 501, "a body may be chunked, and nothing else"
            raise _Refused
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            self._detail = "a request has one Host"  # RFC 9112, section 3.2
            raise _Refused
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > HEAD_BYTES_MAX:
            self._status = 431
            self._detail = f"the head of a request has at most {HEAD_BYTES_MAX:,} bytes"
            raise _Refused
        if len(self.pipeline) >= PIPELINED_MAX:
            self._detail = f"at most {PIPELINED_MAX} requests may be sent ahead of their answers"
            raise _Refused
        super().on_headers_complete()
        if self._is_ending:
            self.cycle.keep_alive = False
        self._head_bytes, self._is_in_head, self._is_in_body = 0, False, True
        self._framing_bytes = 0
        self._cancel()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._head_bytes, self._is_in_body = 0, False
        self._cancel()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, if nothing else is under way on it."""
        self._cancel()
        has_body = any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in self.headers
        )
        is_get = self.scope["method"] == "GET" and not has_body
        if not self._is_idle() or not self.url.isascii() or not is_get:
            self._refuse(400, "this is not a request for a WebSocket")
            return
        self.transport = self._uncorked  # each message goes at once
        super().handle_websocket_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        """What it would rather speak is not spoken here: it is answered, and what follows is not read."""
        self.cycle.keep_alive = False

    # --- what the server tells ----------------------------------------------------------------

    def shutdown(self) -> None:
        """The server ends: the answer under way, or the next one, is the last."""
        self._is_ending = True
        if self._is_idle():
            self.loop.call_later(LAST_SECONDS, self._close_unused)
        else:
            self.cycle.keep_alive = False

    def _close_unused(self) -> None:
        if self._is_idle() and not self._is_in_head:
            self.transport.close()

    def on_response_complete(self) -> None:
        self._corked.uncork()
        super().on_response_complete()
        if self._is_refusing and self._is_idle():
            self._refuse_now()

    # --- refusing -----------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """What the parser could not read, in the words of the library; ours say more."""
        self._refuse(self._status, self._detail)

    def _expect_rest(self) -> None:
        """Most requests are whole when they come, and nothing is to be waited for."""
        if self._is_in_body:
            self._slow = self.loop.call_later(BODY_SECONDS, self._too_slow, "the body of this request")
        elif self._is_in_head or self._head_bytes:
            self._expect_head()

    def _expect_head(self) -> None:
        self._slow = self.loop.call_later(HEAD_SECONDS, self._too_slow, "the head of a request")

    def _too_slow(self, what: str) -> None:
        self._slow = None
        if self._is_in_body or self._is_idle():
            self._refuse(408, f"{what} took too long to arrive")
        else:
            self._expect_head()  # what is under way is answered first

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _cancel(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _refuse(self, status: int, detail: str) -> None:
        """Say why, behind the answers to all that was taken before, and close."""
        self._cancel()
        self._status, self._detail = status, detail
        is_answering = not self._is_idle() and not self._is_in_body
        if is_answering and not self.cycle.scope["state"].get(OPEN_ENDED):
            self._is_refusing = True
        else:
            self._refuse_now()

    def _refuse_now(self) -> None:
        if self.transport.is_closing():
            return
        if self._is_idle() or not self.cycle.response_started:
            body = msgspec.json.encode(problem(self._status, LIBRARY[self._status], self._detail))
            head = (
                f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
                "x-content-type-options: nosniff\r\n\r\n"
            )
            self.transport.write(STATUS_LINE[self._status] + head.encode() + body)
        self.transport.close()


class BoundedWebSocket(_Sending, WebSocketsSansIOProtocol):
    """A connection that became a WebSocket."""

    def data_received(self, data: bytes) -> None:
        """Read it. A handshake comes whole, and one that cannot be read is told by nobody."""
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(STATUS_LINE[400] + b"content-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

    async def send(self, message: Any) -> None:
        """Send it. A refusal completes the handshake too, which the library forgets to note."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True
