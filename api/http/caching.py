"""Answers that need not be sent again (RFC 9110, section 13): an ETag over the body, and If-None-Match."""

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Any

from litestar import Request, Response

FOREVER = "public, max-age=31536000, immutable"
SECONDS = "public, max-age=5"
PRIVATE = "private, no-cache"


def etag(body: bytes) -> str:
    """A weak one: compressed or not, it is the same answer."""
    return f'W/"{urlsafe_b64encode(blake2b(body, digest_size=12).digest()).decode()}"'


def matches(request: Request[Any, Any, Any], tag: str) -> bool:
    """Whether who asks has this answer already."""
    told = request.headers.get("if-none-match", "")
    return told.strip() == "*" or tag in (each.strip() for each in told.split(","))


def answered(
    request: Request[Any, Any, Any], body: bytes, media_type: str, cache: str = PRIVATE
) -> Response[bytes]:
    """The body with its ETag, or 304 for who has it."""
    tag = etag(body)
    headers = {"ETag": tag, "Cache-Control": cache}
    if matches(request, tag):
        return Response(b"", status_code=304, headers=headers, media_type=media_type)
    return Response(body, headers=headers, media_type=media_type)
