"""What happens to every request, also for a WebSocket, before it is looked at what it asks for.

Traced        gives it an id, binds that to its log lines, measures it, notes it in the access log
Identifying   finds out who asks, and refuses who asks too often
"""

from collections.abc import Callable, Iterable
from random import getrandbits
from typing import Any, cast

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send

from api.http.access_log import HAS_DONE, AccessLog
from api.http.backend import Backend
from api.http.cookies import session_token
from api.http.limits import network_of
from api.http.metrics import Metrics
from api.http.principal import Principal
from api.http.problems import NotKnown, failed, refusal_of, refuse
from api.http.scopes import IS_HEAD, OPEN_ENDED, header, headers_of
from api.http.sessions import check_own_page, principal_of
from ledger.clock import monotonic_seconds
from ledger.errors import LedgerError

ID_HEADER = b"x-request-id"
ID_LENGTH_MAX = 40
"""Enough for a UUID or a trace's id, and too little for the secret of a key, which must not become one."""
SWITCHED = 101
GONE = 499
"""What is noted of a request whose client went away before it was answered; nobody is sent it."""

SECURITY_HEADERS: list[tuple[bytes, bytes]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; style-src 'self'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
]  # fmt: skip
UNLESS_SAID: dict[bytes, bytes] = {
    b"cache-control": b"private, no-cache",
    b"vary": b"Accept-Encoding, Authorization, Cookie",
}


class TwoCredentials(NotKnown):
    """A request shows a key and a session's cookie: whose it is cannot be told."""

    code = "two-credentials"


class Traced:
    """The whole application, each of its answers traced: also those for paths that are not there.

    HEAD is answered as GET; the server leaves the body out (RFC 9110, section 9.3.2).
    """

    def __init__(self, app: ASGIApp, log: AccessLog, metrics: Metrics) -> None:
        self._app = app
        self._log = log
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_http = scope["type"] == ScopeType.HTTP
        method, given = str(scope.get("method", "GET")), header(scope, ID_HEADER)
        is_fit = len(given) <= ID_LENGTH_MAX and given.isascii() and given.isalnum()
        name = given if is_fit else f"{getrandbits(64):016x}"  # nobody needs to be unable to guess it
        inner = cast(Scope, {**scope, "method": "GET"} if method == "HEAD" else scope)
        inner.setdefault("state", {}).update({"request_id": name, IS_HEAD: method == "HEAD"})
        begin, is_noted = monotonic_seconds(), False

        def note(status: int) -> None:
            nonlocal is_noted
            if is_noted:
                return
            seconds, is_noted = monotonic_seconds() - begin, True
            principal: Principal | None = inner.get("user")
            self._metrics.request(method, status, seconds)
            has_done = bool(inner["state"].get(HAS_DONE))
            self._log.note(name, principal, method, inner["path"], status, seconds, has_done=has_done)

        answer: _Answer | _Handshake
        answer = (_Answer if is_http else _Handshake)(inner, receive, send, name, note)
        structlog.contextvars.bind_contextvars(request=name)  # each request has a context of its own
        try:
            await self._app(inner, answer.receive, answer.send)
        except Exception as error:  # nobody behind this could answer it
            if answer.is_begun:
                raise  # the server closes the connection: half an answer is none
            await failed(inner, error)(answer.send)
        finally:
            note(answer.status)


Note = Callable[[int], None]
"""Notes the request with its status; once, however often it is called."""


def _completed(told: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """A header; `Vary` with what every answer here depends on, `Allow` with HEAD, which is asked as GET, and
    without OPTIONS, which nobody may."""
    key, value = told
    match key.lower():
        case b"vary" if b"authorization" not in value.lower():
            return key, value + b", Authorization, Cookie"
        case b"allow":
            methods = {each.strip() for each in value.split(b",")} - {b"OPTIONS"}
            return key, b", ".join(sorted(methods | ({b"HEAD"} if b"GET" in methods else set())))
    return told


class _Answer:
    """What goes out to one request, with the headers that every answer has."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, name: str, note: Note) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._name = name
        self._note = note
        self._is_gone = False
        self.is_begun = False
        self.status = GONE

    async def receive(self) -> HTTPReceiveMessage:
        """What came in; that nobody waits any more is noted."""
        message = cast(HTTPReceiveMessage, await self._receive())
        self._is_gone = self._is_gone or (message["type"] == "http.disconnect" and not self.is_begun)
        return message

    async def send(self, message: Message) -> None:
        """Pass it on."""
        if message["type"] == "http.response.start":
            self.is_begun = True
            self.status = GONE if self._is_gone else message["status"]
            message["headers"] = _headers(message["headers"], self._name)
            if self._scope["state"].get(OPEN_ENDED):
                self._note(self.status)
        await self._send(message)


def _headers(given: Iterable[tuple[bytes, bytes]], name: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, with those that every answer has."""
    given = list(given)
    said = {key.lower() for key, _ in given}
    added = [(key, value) for key, value in UNLESS_SAID.items() if key not in said]
    return [*map(_completed, given), *added, *SECURITY_HEADERS, (ID_HEADER, name.encode())]


class _Handshake:
    """What goes out to a WebSocket: it is opened, or the request for it is answered as any other.

    The library closes what it refuses, without saying why; what was wrong is answered as a problem here
    (ASGI's extension `websocket.http.response`).
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, name: str, note: Note) -> None:
        self._scope = scope
        self._send = send
        self._name = name
        self._note = note
        self.receive = receive
        self.is_begun = False
        self.status = GONE

    async def send(self, message: Message) -> None:
        """Pass it on."""
        sent = cast(dict[str, Any], message)
        match message["type"]:
            case "websocket.close" if not self.is_begun:
                await refusal_of(self._scope)(self.send)
                return
            case "websocket.accept":
                self._begin(SWITCHED)
                sent["headers"] = [*sent.get("headers", ()), (ID_HEADER, self._name.encode())]
            case "http.response.start":
                self._begin(sent["status"])
                headers = _headers(sent["headers"], self._name)
                sent = {**sent, "type": "websocket.http.response.start", "headers": headers}
            case "http.response.body":
                sent = {**sent, "type": "websocket.http.response.body"}
        await self._send(cast(Message, sent))

    def _begin(self, status: int) -> None:
        self.is_begun, self.status = True, status
        self._note(status)


class Identifying:
    """Puts who asks into the scope. A key that opens nothing is refused here; none is let through, and so is
    a session's cookie that opens nothing: browsers show it unasked, also to log in anew.

    Each key and each person has a limit. Without one, or with what has not opened anything yet, it is the
    address that is counted, and who is let in is not counted twice.
    """

    def __init__(self, app: ASGIApp, backend: Backend) -> None:
        self._app = app
        self._backend = backend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            scope["user"] = await self._principal(scope)
        except LedgerError as error:
            await refuse(scope, error)(send)
            return
        await self._app(scope, receive, send)

    async def _principal(self, scope: Scope) -> Principal | None:
        """Who shows the key or the session of a request.

        Raises `NotKnown`, `TwoCredentials`, `CrossSite`, `TooMany`, `StoreUnavailable`.
        """
        client = scope.get("client")
        address = network_of(client[0] if client else "")
        shown, session = headers_of(scope, b"authorization"), session_token(scope)
        if shown and session is not None:
            self._backend.strangers.take(address)
            raise TwoCredentials("this shows a key and a session", hint="show the one or the other")
        if session is not None:
            return await self._in_session(scope, session, address)
        if shown:
            return await self._with_key(shown, address)
        self._backend.strangers.take(address)
        return None

    async def _in_session(self, scope: Scope, token: str, address: str) -> Principal | None:
        sessions, strangers = self._backend.sessions, self._backend.strangers
        is_new = not sessions.remembers(token)
        if is_new:
            strangers.take(address)
        session = await sessions.session(token)
        if session is None:
            if not is_new:  # it did once, and counts as a stranger's from now on
                strangers.take(address)
            return None
        if is_new:
            strangers.give_back(address)
        self._backend.limit.take(session.person)
        check_own_page(scope, token)
        return principal_of(session)

    async def _with_key(self, shown: list[str], address: str) -> Principal:
        keys, limit, strangers = self._backend.keys, self._backend.limit, self._backend.strangers
        scheme, _, token = shown[0].partition(" ")
        token = token.strip() if scheme.lower() == "bearer" and len(shown) == 1 else ""
        if (known := keys.remembered(token)) is not None:
            limit.take(known.prefix)
            return known
        is_new = not keys.remembers(token)
        if is_new:
            strangers.take(address)
        principal = await keys.principal(token)
        if principal is None:
            if not is_new:  # it did once, and counts as a stranger's from now on
                strangers.take(address)
            raise NotKnown(
                "this key opens nothing", hint="it may have expired or been revoked: ask the operator"
            )
        if is_new:
            strangers.give_back(address)
        limit.take(principal.prefix)
        return principal
