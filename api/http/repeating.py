"""POSTs that may be sent again: with an `Idempotency-Key` one is answered once, and then the same again.

    begin -> the handler -> finish      the answer is kept for a day, beside the key and the name
          -> refused, or failed here    forgotten: nothing was done, and it may be tried again
          -> sets a cookie              forgotten: a session begins and ends once
          -> the process died           taken over by whoever sends it again after `TAKEN_OVER_AFTER`

Answers are kept sealed (`api.seal`), and requests are known again by a tag: both may hold secrets. They are
shown to whoever shows the key that the first was made with, and nobody stores them on the way.

A request that was taken over may have been done already; what it asks for has a name in the book, which
refuses it a second time. No request runs for so long that it could be taken over while it is under way.

What is kept of one key has bounds: in a day so many answers, beyond which it is told to wait, and so many
bytes of them, beyond which only that an answer was given is kept.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

import structlog
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.http.backend import Backend
from api.http.layer import Layer
from api.http.principal import Principal
from api.http.problems import InProgress, NotKept, OtherRequest, TooMany
from api.http.scopes import headers_of
from api.seal import Seal, SealBroken
from ledger.clock import Clock
from ledger.errors import BadInput, LedgerError, Unavailable
from ledger.postgres.access import AccessStore

log = structlog.get_logger(__name__)

KEY_HEADER = b"idempotency-key"
KEY_LENGTH_MAX = 128
ANSWER_BYTES_MAX = 256 * 1024
"""A longer answer is not kept; that it was given is."""
ANSWER_SECONDS = 45
TAKEN_OVER_AFTER = timedelta(seconds=60)
KEPT = timedelta(hours=24)
FORGET_EVERY_SECONDS = 600.0
ANSWERS_A_DAY = 10_000
"""Of each key, and of each person."""
BYTES_A_DAY = 16 * 1024 * 1024
"""Of their answers: more than so many of orders take."""
REFUSED = 400
"""From this status on nothing was done: sent again, it is judged anew."""


class TookTooLong(Unavailable):
    """A request was not answered in time; it may have been done all the same."""

    code = "took-too-long"


class Repeating(Layer):
    """Keeps the answer to a POST beside its key and name."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._seal = Seal("answer-seal", backend.community, backend.ledger.service)
        who, day = "with an Idempotency-Key, who asks", KEPT.total_seconds()
        self._answers = backend.limits.limit("answers", ANSWERS_A_DAY, who, day)
        self._bytes = backend.limits.limit("answer-bytes", BYTES_A_DAY, who, day)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if scope.get("method") != "POST":  # a WebSocket has none
            await next_app(scope, receive, send)
            return
        told, principal = headers_of(scope, KEY_HEADER), cast(Principal | None, scope.get("user"))
        if not told or principal is None:
            await next_app(scope, receive, send)
            return
        name = told[0]
        if len(told) > 1 or not 0 < len(name) <= KEY_LENGTH_MAX or not name.isprintable():
            raise BadInput(
                "there is one Idempotency-Key, of 1 to 128 printable characters", where="Idempotency-Key"
            )
        body = await self._body(receive)
        if body is None:
            return  # whoever sent half of it is gone
        request = self._seal.tag(b"\0".join([scope["path"].encode(), scope["query_string"], body]))
        access, prefix = self._backend.access, principal.prefix
        begun = self._backend.clock.now()
        if not await access.begin(prefix, name, request, begun, begun - TAKEN_OVER_AFTER):
            await self._again(prefix, name, request, send)
            return
        try:
            self._answers.take(prefix)
        except TooMany:
            await access.drop(prefix, name, begun)
            raise
        # What is kept is the plain answer, whichever encodings the client takes this time.
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
        answer = _Answer(send)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await next_app(scope, _received(body, receive), answer.take)
        except TimeoutError as error:
            raise TookTooLong("this took too long", hint="send the same again in a minute") from error
        except Exception:
            await self._forget(prefix, name, begun)
            raise
        await self._keep(prefix, name, begun, answer)
        await answer.end()

    async def _keep(self, prefix: str, name: str, begun: datetime, answer: "_Answer") -> None:
        """Keep what was answered, before its end is sent: whoever has it may send the same again. It was done
        by then, so a store that fails is told to the log."""
        try:
            if answer.status >= REFUSED or answer.sets_cookie:
                await self._forget(prefix, name, begun)
            else:
                body = self._closed(prefix, name, answer.body)
                told = (answer.status, answer.media_type, body, answer.location)
                await self._backend.access.finish(prefix, name, begun, *told)
        except LedgerError as error:
            log.warning("an answer was not kept", code=error.code)

    async def _forget(self, prefix: str, name: str, begun: datetime) -> None:
        self._answers.give_back(prefix)
        await self._backend.access.drop(prefix, name, begun)

    def _closed(self, prefix: str, name: str, body: bytes | None) -> bytes | None:
        """An answer as it is kept; none where it is too long, or too much is kept of that key already."""
        if body is None:
            return None
        try:
            self._bytes.take(prefix, len(body))
        except TooMany:
            return None
        return self._seal.close(_place(prefix, name), body)

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body, as far as one may be large: what is longer is refused where it is read. None where
        the client went away before its end."""
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            parts.append(message["body"])
            size += len(parts[-1])
            if not message["more_body"] or size > self._backend.settings.body_bytes_max:
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
        body = self._opened(prefix, name, before.body)
        if body is None:
            raise NotKept(
                f"this was done before and answered with {before.status}; the answer itself is not kept",
                where="Idempotency-Key", hint="ask for what it has made",
            )  # fmt: skip
        headers = [
            (b"content-type", (before.media_type or "").encode()), (b"idempotent-replayed", b"true"),
            (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store"),
        ]  # fmt: skip
        if before.location is not None:
            headers.append((b"location", before.location.encode("latin-1")))
        await send(
            cast(Message, {"type": "http.response.start", "status": before.status, "headers": headers})
        )
        await send(cast(Message, {"type": "http.response.body", "body": body, "more_body": False}))

    def _opened(self, prefix: str, name: str, sealed: bytes | None) -> bytes | None:
        """An answer as it was; none where it was too long to keep, or kept under another service key."""
        try:
            return None if sealed is None else self._seal.open(_place(prefix, name), sealed)
        except SealBroken:
            return None


def _place(prefix: str, name: str) -> str:
    return f"{prefix}\n{name}"


class _Answer:
    """Passes an answer on, but for its end, and remembers it, if it is not too long."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._parts: list[bytes] = []
        self._size = 0
        self.status = 500
        self.media_type = ""
        self.location: str | None = None
        self.sets_cookie = False
        self._end: Message | None = None

    @property
    def body(self) -> bytes | None:
        return b"".join(self._parts) if self._size <= ANSWER_BYTES_MAX else None

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            told = {key.lower(): value.decode("latin-1") for key, value in message["headers"]}
            self.media_type, self.location = told.get(b"content-type", ""), told.get(b"location")
            self.sets_cookie = b"set-cookie" in told
        elif message["type"] == "http.response.body":
            self._size += len(message["body"])
            if self._size <= ANSWER_BYTES_MAX:
                self._parts.append(message["body"])
            if not message["more_body"]:
                self._end = message
                return
        await self._send(message)

    async def end(self) -> None:
        """Pass on what was held back."""
        if self._end is not None:
            await self._send(self._end)


def _received(body: bytes, receive: Receive) -> Callable[[], Any]:
    """A body that was read, to be read again; then what comes from the connection."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def received() -> Any:
        return next(messages, None) or await receive()

    return received


async def keep_forgetting(store: AccessStore, clock: Clock, stop: asyncio.Event) -> None:
    """Forget answers that are a day old, until `stop` is set."""
    while not stop.is_set():
        try:
            await store.forget(clock.now() - KEPT)
        except LedgerError as error:
            log.warning("old answers stay for now", code=error.code)
        except Exception as error:
            log.error("old answers stay for now", exc_info=error)
        try:
            async with asyncio.timeout(FORGET_EVERY_SECONDS):
                await stop.wait()
        except TimeoutError:
            pass
