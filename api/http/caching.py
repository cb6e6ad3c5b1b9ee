"""Answers that need not be sent again (RFC 9110, section 13): an ETag over the body, and If-None-Match."""

from base64 import urlsafe_b64encode
from hashlib import sha256
from http import HTTPStatus
from typing import Any, TypeVar, cast

import msgspec
from litestar import Request, Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from api.http.scopes import headers_of

FOREVER = "public, max-age=31536000, immutable"
SECONDS = "public, max-age=5"
PRIVATE = "private, no-cache"
JSON = "application/json"
_OK, _NOT_MODIFIED = HTTPStatus.OK.value, HTTPStatus.NOT_MODIFIED.value

Shape = TypeVar("Shape", bound=msgspec.Struct)


def etag(body: bytes) -> str:
    """A weak one: compressed or not, it is the same answer."""
    return f'W/"{urlsafe_b64encode(sha256(body).digest()[:12]).decode()}"'


def matches(request: Request[Any, Any, Any], tag: str) -> bool:
    """Whether who asks has this answer already; the comparison is the weak one (section 8.8.3.2)."""
    given = headers_of(request.scope, b"if-none-match")
    if not given:
        return False
    has = [each.strip().removeprefix("W/") for each in ",".join(given).split(",")]
    return has == ["*"] or tag.removeprefix("W/") in has


class _Ready(Response[bytes]):
    """An answer whose body is encoded already."""

    def to_asgi_response(self, app: Any, request: Any, **_: Any) -> ASGIResponse:
        """As it is: the library would copy headers and body five times, for what no handler here asks for."""
        return _Sent(self)


class _Sent(ASGIResponse):
    """Two messages."""

    def __init__(self, answer: _Ready) -> None:
        self.status_code = answer.status_code or _OK
        self.body = answer.content
        self._told = [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
        if self.status_code != _NOT_MODIFIED:
            kind = str(answer.media_type)
            kind += "; charset=utf-8" if kind.startswith("text/") else ""
            self._told += [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(self.body))]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self._told})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def answered(
    request: Request[Any, Any, Any], body: bytes, media_type: str, cache: str = PRIVATE, tag: str = ""
) -> Response[bytes]:
    """The body with its ETag, or 304 for who has it; `tag` is that of a body which has a name of its own."""
    tag = tag or etag(body)
    headers = {"ETag": tag, "Cache-Control": cache}
    if matches(request, tag):
        return _Ready(b"", status_code=_NOT_MODIFIED, headers=headers, media_type=media_type)
    return _Ready(body, headers=headers, media_type=media_type)


def told(request: Request[Any, Any, Any], found: Shape, cache: str = PRIVATE) -> Response[Shape]:
    """A struct as JSON with its ETag, or 304 for who has it.

    The type is what the description of the API reads; the content is encoded already, once.
    """
    body = msgspec.json.encode(found)
    return cast(Response[Shape], answered(request, body, JSON, cache))
