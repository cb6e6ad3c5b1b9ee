"""What a request tells, as the server hands it over: its headers, and what is noted of it on the way."""

from litestar.types import Scope

IS_HEAD = "is_head"
"""Where the state of a request says that it asks with HEAD, which is answered as GET."""
OPEN_ENDED = "open_ended"
"""Where it says that the answer has no end: it is noted when it begins, and goes with its client."""


def headers_of(scope: Scope, name: bytes) -> list[str]:
    """Every value of a header."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def header(scope: Scope, name: bytes) -> str:
    """A header's first value; empty where there is none."""
    return next(iter(headers_of(scope, name)), "")
