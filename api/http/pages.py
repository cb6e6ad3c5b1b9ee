"""Long lists, a page at a time, by the key of the last row seen: rows that come meanwhile shift nothing."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from ledger.errors import BadInput

LIMIT_MAX = 1_000
CURSOR_LENGTH_MAX = 500

Row = TypeVar("Row")
Shape = TypeVar("Shape")

Limit = Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="Rows on a page at most.")]
Cursor = Annotated[
    str,
    QueryParameter(
        max_length=CURSOR_LENGTH_MAX, description="`next` of the page before; nothing for the first."
    ),
]


_PARTS: Mapping[type, Any] = {
    int: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    str: Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*\Z")],
    datetime: Annotated[datetime, msgspec.Meta(tz=True)],
}
"""What a part of a key can be: no more than the store can be asked for."""


class BadCursor(BadInput):
    """A cursor that no page has given."""

    code = "bad-cursor"


class Page(msgspec.Struct, Generic[Shape], frozen=True):
    """Rows, and the cursor of the next page; none on the last one."""

    items: list[Shape]
    next: str | None = None


def cursor_of(key: Sequence[Any]) -> str:
    """Where a page ends, in one word."""
    return urlsafe_b64encode(msgspec.json.encode(list(key))).decode().rstrip("=")


def key_of(cursor: str, first: Sequence[Any]) -> Sequence[Any]:
    """The key that a cursor stands for, typed as `first`, the one before all rows. Raises `BadCursor`."""
    if not cursor:
        return first
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        kinds = tuple(_PARTS.get(type(part), type(part)) for part in first)
        found: Sequence[Any] = msgspec.json.decode(
            urlsafe_b64decode(padded.encode()),
            type=tuple[kinds],  # type: ignore[valid-type]  # known at run time only
        )
        return [part.astimezone(UTC) if isinstance(part, datetime) else part for part in found]
    except (ValueError, OverflowError, msgspec.DecodeError) as error:  # overflow: before or after all years
        raise BadCursor(
            "this is no cursor of this list", where="after", hint="leave it out to begin"
        ) from error


async def page_of(
    cursor: str,
    limit: int,
    first: Sequence[Any],
    read: Callable[[Sequence[Any], int], Awaitable[Sequence[Row]]],
    shape: Callable[[Row], Shape],
    key: Callable[[Row], Sequence[Any]],
) -> Page[Shape]:
    """The page after `cursor`, of rows that are each to be shaped. Raises `BadCursor`."""
    page = await shaped_page_of(cursor, limit, first, read, key)
    return Page([shape(row) for row in page.items], page.next)


async def shaped_page_of(
    cursor: str,
    limit: int,
    first: Sequence[Any],
    read: Callable[[Sequence[Any], int], Awaitable[Sequence[Row]]],
    key: Callable[[Row], Sequence[Any]],
) -> Page[Row]:
    """The page after `cursor`; one row more is read, to know whether there is another. Raises `BadCursor`."""
    rows = await read(key_of(cursor, first), limit + 1)
    shown = list(rows[:limit])
    return Page(shown, cursor_of(key(shown[-1])) if len(rows) > limit else None)
