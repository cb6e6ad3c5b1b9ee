"""Answers that need not be sent again (RFC 9110, section 13): an ETag over the body, and If-None-Match."""

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Any, TypeVar, cast

import msgspec
from litestar import MediaType, Request, Response

FOREVER = "public, max-age=31536000, immutable"
SECONDS = "public, max-age=5"
PRIVATE = "private, no-cache"

Shape = TypeVar("Shape", bound=msgspec.Struct)


def etag(body: bytes) -> str:
    """A weak one: compressed or not, it is the same answer."""
    return f'W/"{urlsafe_b64encode(blake2b(body, digest_size=12).digest()).decode()}"'


def matches(request: Request[Any, Any, Any], tag: str) -> bool:
    """Whether who asks has this answer already; the comparison is the weak one (section 8.8.3.2)."""
    has = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    return has == ["*"] or tag.removeprefix("W/") in has


def answered(
    request: Request[Any, Any, Any], body: bytes, media_type: str, cache: str = PRIVATE, tag: str = ""
) -> Response[bytes]:
    """The body with its ETag, or 304 for who has it; `tag` is that of a body which has a name of its own."""
    tag = tag or etag(body)
    headers = {"ETag": tag, "Cache-Control": cache}
    if matches(request, tag):
        return Response(b"", status_code=304, headers=headers, media_type=media_type)
    return Response(body, headers=headers, media_type=media_type)


def told(request: Request[Any, Any, Any], found: Shape, cache: str = PRIVATE) -> Response[Shape]:
    """A struct as JSON with its ETag, or 304 for who has it.

    The type is what the description of the API reads; the content is encoded already, once.
    """
    body = msgspec.json.encode(found)
    return cast(Response[Shape], answered(request, body, MediaType.JSON, cache))
