"""What happens to every request, outside of its handler.

Traced        gives it an id, binds that to its log lines, measures it, notes it in the access log
Identifying   finds out who asks
Repeating     answers a POST with an Idempotency-Key once, and the same again when it is sent again
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, cast

import structlog
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.http.access_log import AccessLog
from api.http.backend import Backend
from api.http.metrics import Metrics
from api.http.principal import Principal
from api.http.problems import InProgress, NotKnown, OtherRequest
from ledger.clock import monotonic_seconds
from ledger.errors import BadInput
from ledger.event import new_salt

ID_HEADER = b"x-request-id"
KEY_HEADER = b"idempotency-key"
KEY_LENGTH_MAX = 128
ID_LENGTH_MAX = 64

SECURITY_HEADERS: list[tuple[bytes, bytes]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; style-src 'self'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
]  # fmt: skip


def header(scope: Scope, name: bytes) -> str:
    """A header's value; empty where there is none."""
    value = next((value for key, value in scope["headers"] if key == name), b"")
    return value.decode("latin-1")


class Traced:
    """The whole application, each of its answers traced: also those for paths that are not there."""

    def __init__(self, app: ASGIApp, log: AccessLog, metrics: Metrics) -> None:
        self._app = app
        self._log = log
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        given = header(scope, ID_HEADER)
        name = given if 0 < len(given) <= ID_LENGTH_MAX and given.isalnum() else new_salt()
        scope.setdefault("state", {})["request_id"] = name
        begin, status = monotonic_seconds(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *SECURITY_HEADERS, (ID_HEADER, name.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request=name):
            try:
                await self._app(scope, receive, sent)
            finally:
                seconds = monotonic_seconds() - begin
                principal: Principal | None = scope.get("user")
                self._metrics.request(scope["method"], status, seconds)
                self._log.note(name, principal, scope["method"], scope["path"], status, seconds)


class Identifying(ASGIMiddleware):
    """Puts who asks into the scope; a token that opens nothing is refused here, none is let through."""

    scopes = (ScopeType.HTTP, ScopeType.WEBSOCKET)

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        scope["user"] = None
        if shown := header(scope, b"authorization"):
            scheme, _, token = shown.partition(" ")
            principal = None
            if scheme.lower() == "bearer":
                principal = await self._backend.keys.principal(token.strip())
            if principal is None:
                raise NotKnown(
                    "this key opens nothing", hint="it may have expired or been revoked: ask the operator"
                )
            scope["user"] = principal
        await next_app(scope, receive, send)


class Repeating(ASGIMiddleware):
    """Keeps the answer to a POST beside its key and name. What failed on our side may be tried again."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        name, principal = header(scope, KEY_HEADER), cast(Principal | None, scope.get("user"))
        if scope.get("method") != "POST" or not name or principal is None:
            await next_app(scope, receive, send)
            return
        if len(name) > KEY_LENGTH_MAX or not name.isprintable():
            raise BadInput("an Idempotency-Key has 1 to 128 printable characters", where="Idempotency-Key")
        body = await self._body(receive)
        request = sha256(b"\n".join([scope["path"].encode(), scope["query_string"], body])).digest()
        access, prefix = self._backend.access, principal.prefix
        if not await access.begin(prefix, name, request, self._backend.clock.now()):
            await self._again(prefix, name, request, send)
            return
        answer = _Answer(send)
        try:
            await next_app(scope, _received(body), answer.take)
        except BaseException:
            await access.drop(prefix, name)
            raise
        if answer.status >= 500 or answer.status in (401, 403, 429):
            await access.drop(prefix, name)
        else:
            await access.finish(prefix, name, answer.status, answer.media_type, answer.body)

    async def _body(self, receive: Receive) -> bytes:
        """The whole body, as far as one may be large; what is longer is refused where it is read."""
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                break
            parts.append(message["body"])
            size += len(parts[-1])
            if not message["more_body"] or size > self._backend.settings.body_bytes_max:
                break
        return b"".join(parts)

    async def _again(self, prefix: str, name: str, request: bytes, send: Send) -> None:
        before = await self._backend.access.answered(prefix, name)
        if before is not None and before.request != request:
            raise OtherRequest(
                "this Idempotency-Key was used for another request", where="Idempotency-Key",
                hint="use a new one for each request; the same one only to send the same again",
            )  # fmt: skip
        if before is None or before.status is None:
            raise InProgress("the same request is being answered", hint="try again in a moment")
        headers = [
            (b"content-type", (before.media_type or "").encode()), (b"idempotent-replayed", b"true"),
            (b"content-length", str(len(before.body or b"")).encode()),
        ]  # fmt: skip
        await send(
            cast(Message, {"type": "http.response.start", "status": before.status, "headers": headers})
        )
        await send(
            cast(Message, {"type": "http.response.body", "body": before.body or b"", "more_body": False})
        )


class _Answer:
    """Passes an answer on and remembers it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._parts: list[bytes] = []
        self.status = 500
        self.media_type = ""

    @property
    def body(self) -> bytes:
        return b"".join(self._parts)

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            types = [value for key, value in message["headers"] if key.lower() == b"content-type"]
            self.media_type = types[0].decode("latin-1") if types else ""
        elif message["type"] == "http.response.body":
            self._parts.append(message["body"])
        await self._send(message)


def _received(body: bytes) -> Callable[[], Any]:
    """A body that was read, to be read again; then the connection stays as it is."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        return next(messages, {"type": "http.disconnect"})

    return receive
