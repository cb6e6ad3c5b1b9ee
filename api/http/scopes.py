"""The headers of a request, as the server hands them over."""

from litestar.types import Scope


def headers_of(scope: Scope, name: bytes) -> list[str]:
    """Every value of a header."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def header(scope: Scope, name: bytes) -> str:
    """A header's first value; empty where there is none."""
    return next(iter(headers_of(scope, name)), "")
