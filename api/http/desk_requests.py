"""What requests about orders and agreements have in common: a building's desk, prices, pages."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from hashlib import sha256
from itertools import islice
from typing import Any, TypeVar

from litestar import Request
from litestar.datastructures import State

from api.http.backend import Backend
from api.http.desk import Made, OrderDesk, Written
from api.http.guard import OWN
from api.http.pages import Page, page_of
from api.http.principal import Principal
from ledger.entry import is_name
from settlement.known_building import UnknownBuilding, check_building
from settlement.order_book import FIRST, BookedAgreement, BookedOrder, Key
from settlement.ordering import Desk, price_micro
from settlement.plain.values import BadCell

OWNERS = OWN | {"operator"}
AGAIN = {"Idempotent-Replayed": "true"}
"""Headers of an answer to a request whose event was in the book already."""

Req = Request[Principal, Any, State]
Booked = TypeVar("Booked", BookedOrder, BookedAgreement)
Shape = TypeVar("Shape")


async def desk_at(state: State, building: str) -> Desk:
    """What the book has by now, for a building in it. Raises `UnknownBuilding`."""
    orders: OrderDesk = state.desk
    desk = await orders.desk()
    check_building(building, desk.registry.buildings)
    return desk


async def write(request: Req, state: State, building: str, made: Made) -> Written:
    """Append what `made` makes of the book and a salt; for the same request no second time. A building has a
    bound, the operator who does it on one's behalf has none.

    Raises `UnknownBuilding` and what `OrderDesk.write` raises.
    """
    orders: OrderDesk = state.desk
    if not is_name(building):
        raise UnknownBuilding("the book has no such building", building, where=building[:80])

    backend: Backend = state.backend
    a_day = backend.settings.events_a_day if request.user.role == "building" else None
    return await orders.write(building, await _identity(request), made, a_day)


async def _identity(request: Req) -> bytes | None:
    """What a request with an Idempotency-Key has in common with itself when it is sent again."""
    name = request.headers.get("idempotency-key")
    if not name:
        return None
    told = [request.user.prefix, name, request.url.path, request.url.query]
    return sha256(b"\0".join([*(each.encode() for each in told), await request.body()])).digest()


def price_told(decimal: str | None, micro: int | None, field: str) -> int:
    """A price that is told once, in one of its two ways. Raises `BadCell`."""
    if decimal is not None and micro is None:
        return price_micro(Decimal(decimal), field)
    if micro is not None and decimal is None:
        return micro
    raise BadCell(
        f"{field} is told {'twice' if decimal is not None else 'not at all'}",
        where=field,
        hint=f"give {field} as a decimal number, or {field}_micro_per_kwh",
    )


async def paged(
    cursor: str, limit: int, after: Callable[[Key], Iterator[Booked]], shape: Callable[[Booked], Shape]
) -> Page[Shape]:
    """A page of what stands `after` a place of a list. Raises `BadCursor`."""

    async def read(key: Sequence[Any], count: int) -> Sequence[Booked]:
        begin, name, last = key
        return list(islice(after((begin, name, last)), count))

    return await page_of(cursor, limit, FIRST, read, shape, lambda each: each.key)


def currency_of(state: State) -> str:
    """The community's."""
    backend: Backend = state.backend
    return backend.book.community.currency
