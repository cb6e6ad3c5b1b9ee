"""For a building: at what price it would sell and buy.

Orders are events of the book, signed in the operator's name for the building that the key is of. They are
sealed at gate closure: what begins or ends does so from an instant that is far enough ahead, never for the
past. An answer says where the event stands and from when on it counts.
"""

from collections.abc import Iterator
from typing import Annotated

from litestar import Response, Router, delete, get, post
from litestar.datastructures import State
from litestar.params import PathParameter, QueryParameter, RequestBody

from api.http.caching import told
from api.http.desk import Written, made_name
from api.http.desk_requests import (
    AGAIN,
    OWNERS,
    Req,
    currency_of,
    desk_at,
    paged,
    price_told,
    write,
)
from api.http.known_building import BuildingPath
from api.http.order_shapes import NewOrder, OrderEnd, OrderShape, OrderWritten, in_book, order_shape
from api.http.pages import Cursor, Limit, Page
from ledger.market_events import OrderCancelled, OrderPlaced
from settlement.order_book import BookedOrder, Key
from settlement.order_rows import OrderState, order_row, order_state
from settlement.ordering import Desk, NameInUse, UnknownOrder, clock_window

OrderPath = Annotated[str, PathParameter(description="The order's name.")]
Since = Annotated[
    str | None,
    QueryParameter(
        max_length=40, description="From when on; without it from the first interval whose gate is open."
    ),
]
Standing = Annotated[OrderState | None, QueryParameter(name="state", description="Those that stand so now.")]


@get("/", may=OWNERS, has_etag=True, summary="Orders")
async def orders(
    request: Req,
    state: State,
    building: BuildingPath,
    standing: Standing = None,
    limit: Limit = 100,
    after: Cursor = "",
) -> Response[Page[OrderShape]]:
    """What holds, has held and will hold, by when it begins. One that was placed a moment ago is there."""
    desk, currency = await desk_at(state, building), currency_of(state)

    def behind(key: Key) -> Iterator[BookedOrder]:
        rest = desk.orders.orders_after(building, key)
        return (each for each in rest if standing in (None, order_state(each, desk.now)))

    def shape(each: BookedOrder) -> OrderShape:
        return order_shape(order_row(each, desk.now), currency)

    return told(request, await paged(after, limit, behind, shape))


@get("/{order:str}", may=OWNERS, has_etag=True, summary="An order")
async def order(request: Req, state: State, building: BuildingPath, order: OrderPath) -> Response[OrderShape]:
    """The order of a name; where several had it one after the other, the one placed last."""
    desk = await desk_at(state, building)
    return told(request, order_shape(order_row(_newest(desk, building, order), desk.now), currency_of(state)))


@post("/", may=OWNERS, status_code=201, summary="Place an order")
async def place(
    request: Req, state: State, building: BuildingPath, data: RequestBody[NewOrder]
) -> Response[OrderWritten]:
    """Say at what price the building would sell or buy in every interval of a time to come.

    Answered once it is in the book. With an Idempotency-Key it is placed once, however often it is sent. A
    building has at most 500 orders that have not ended (`too-many-orders`), and writes so many events a day
    as the operator has set (`too-many-events`); to cancel and to end it may write as many again.
    """

    def made(desk: Desk, salt: str) -> OrderPlaced:
        price = price_told(data.limit, data.limit_micro_per_kwh, "limit")
        window = clock_window(data.clock_from, data.clock_until)
        name = data.order or made_name("order", salt)
        return desk.placed(building, name, data.side, price, data.energy_wh, (data.begin, data.until), window)

    written = await write(request, state, building, made)
    answer = _answer(state, building, written, 201)
    answer.headers["Location"] = f"{request.url.path.rstrip('/')}/{answer.content.order.order}"
    return answer


@post("/{order:str}/cancel", may=OWNERS, status_code=200, summary="Cancel an order")
async def cancel(
    request: Req, state: State, building: BuildingPath, order: OrderPath, data: RequestBody[OrderEnd]
) -> Response[OrderWritten]:
    """Let it hold no longer. What was traded until then stands."""
    written = await write(
        request, state, building, lambda desk, _: desk.cancelled(building, order, data.since)
    )
    return _answer(state, building, written, 200)


@delete("/{order:str}", may=OWNERS, status_code=200, summary="Cancel an order")
async def remove(
    request: Req, state: State, building: BuildingPath, order: OrderPath, since: Since = None
) -> Response[OrderWritten]:
    """The same as its `cancel`: nothing is removed from the book."""
    written = await write(request, state, building, lambda desk, _: desk.cancelled(building, order, since))
    return _answer(state, building, written, 200)


def _answer(state: State, building: str, written: Written, status: int) -> Response[OrderWritten]:
    event, desk = written.event, written.desk
    assert isinstance(event, OrderPlaced | OrderCancelled)  # noqa: S101 - made by the handlers above
    booked = _newest(desk, building, event.order)
    if isinstance(event, OrderPlaced):
        booked = _placed(desk, building, event)
    shape = order_shape(order_row(booked, desk.now), currency_of(state))
    return Response(
        OrderWritten(shape, in_book(written)), status_code=status, headers=AGAIN if written.was_there else {}
    )


def _newest(desk: Desk, building: str, name: str) -> BookedOrder:
    found = desk.orders.named(building, name)
    if not found:
        raise UnknownOrder("there is no order of this name", where=name[:80], hint="list them to see all")
    return found[-1]


def _placed(desk: Desk, building: str, event: OrderPlaced) -> BookedOrder:
    found = next((each for each in desk.orders.named(building, event.order) if each.placed == event), None)
    if found is None:
        raise NameInUse(
            "another order took this name in the same moment", where=event.order, hint="name another"
        )
    return found


router = Router(
    "/buildings/{building:str}/orders",
    route_handlers=[orders, order, place, cancel, remove],
    tags=["Orders"],
)
