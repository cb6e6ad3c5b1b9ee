"""What a request may tell: in its query its handler's parameters, by their names on the wire, and no others.

What is told of a parameter or a field that does not fit comes from where it is described.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args
from urllib.parse import unquote_plus

import msgspec
from litestar.params import QueryParameter
from litestar.types import ASGIApp, Receive, Scope, Send

from api.http.layer import Layer
from api.http.openapi_fields import described
from ledger.errors import BadInput

NAME_LENGTH_MAX = 80
DATA = "data"
"""What handlers call the body."""
_NAMED = re.compile("(?:missing required|contains unknown) field `([^`]{1,80})`")
"""Where the decoder names a field that is not at the place it tells."""


class UnknownParameter(BadInput):
    """A parameter in the query that this operation does not have: what it was to change would not change."""

    code = "unknown-parameter"


class RepeatedParameter(BadInput):
    """A parameter that the query tells twice: which of the two was meant cannot be known."""

    code = "repeated-parameter"


class Known(NamedTuple):
    """A parameter: what it is called on the wire, what may be told, and what it is."""

    name: str
    annotation: Any
    description: str


class KnowingQuery(Layer):
    """Refuses a parameter that the handler does not have, or that is told twice: one of them would be left
    aside."""

    def __init__(self) -> None:
        self._names: dict[Any, frozenset[str]] = {}

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass a request on. Raises `UnknownParameter`, `RepeatedParameter`."""
        if query := scope["query_string"]:
            names, told = self._names_of(scope["route_handler"]), set()
            for part in filter(None, query.decode("latin-1").split("&")):
                name = unquote_plus(part.partition("=")[0])
                if name not in names:
                    raise _unknown(name[:NAME_LENGTH_MAX], names)
                if name in told:
                    raise RepeatedParameter("this parameter is told twice", where=name, hint="tell it once")
                told.add(name)
        await next_app(scope, receive, send)

    def _names_of(self, handler: Any) -> frozenset[str]:
        known = self._names.get(handler.fn)
        if known is None:
            known = self._names[handler.fn] = frozenset(each.name for each in query_of(handler).values())
        return known


def _unknown(name: str, names: frozenset[str]) -> UnknownParameter:
    hint = _known(names) or "this operation has no parameters in its query"
    return UnknownParameter(f"there is no parameter {name!r} here", where=name, hint=hint)


def query_of(handler: Any) -> Mapping[str, Known]:
    """The parameters in the query of a handler, by what the handler calls them."""
    return {
        field: Known(kwarg.name or field, told.annotation, kwarg.description or "")
        for field, told in handler.parsed_fn_signature.parameters.items()
        if isinstance(kwarg := told.kwarg_definition, QueryParameter)
    }


def told_of(handler: Any, key: str, message: str, *, is_body: bool) -> tuple[str, str]:
    """What the library refuses: its name on the wire, and what may be told as it.

    `key` is a parameter as the handler calls it or, of the body, where in it: `wheeling[0].loss_ppm`. A field
    that is missing, or that there is not, is named in the `message` alone.
    """
    if not is_body:
        known = query_of(handler).get(key)
        return (known.name, _words(known.description, known.annotation)) if known else (key, "")
    parts = [] if key == DATA else key.split(".")
    if (named := _NAMED.search(message)) is not None:
        parts.append(named[1])
    body = handler.parsed_fn_signature.parameters.get(DATA)
    return ".".join(parts), _words_of(body.annotation, parts) if body and parts else ""


def _words_of(kind: Any, parts: Sequence[str]) -> str:
    """What may be told at a place of a body."""
    words = ""
    for part in parts:
        struct = _struct_in(kind)
        fields = {each.encode_name: each for each in msgspec.structs.fields(struct)} if struct else {}
        name = part.partition("[")[0]
        if struct is None or name not in fields:
            return _known(fields)
        kind = fields[name].type
        words = _words(described(struct.__name__, name), kind)
    return words


def _known(names: Iterable[str]) -> str:
    listed = ", ".join(f"`{each}`" for each in sorted(names))
    return f"known are {listed}" if listed else ""


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """The struct that a type is, or is a list or an optional of."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next((found for each in get_args(kind) if (found := _struct_in(each)) is not None), None)


def _words(description: str, kind: Any) -> str:
    """What it is, and which values there are where they are few."""
    allowed = ", ".join(f"`{each}`" for each in _allowed(msgspec.json.schema(kind)))
    return f"{description} One of {allowed}." if allowed else description


def _allowed(schema: Mapping[str, Any]) -> Iterator[str]:
    for each in (schema, *schema.get("anyOf", ())):
        yield from (str(value) for value in each.get("enum", ()) if value is not None)
