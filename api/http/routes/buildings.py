"""For buildings: what each took and gave, traded, pays and saved, and its own meters' chains.

A building sees its own alone, and who the others are; the operator sees every one's, and billing where money
is told.
"""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from litestar import Request, Response, Router, get
from litestar.datastructures import State

from api.http.backend import Backend
from api.http.building_shapes import BuildingShape, IntervalShape, building_shape, interval_shapes
from api.http.caching import told
from api.http.guard import MEMBERS, OWN
from api.http.known_building import BuildingPath, known_building
from api.http.pages import BadCursor, Cursor, Limit, Page, page_of, shaped_page_of
from api.http.routes import building_meters, building_money, live
from api.http.span import Begin, Until, span_of
from ledger.postgres.buildings import BuildingStore

Req = Request[Any, Any, State]


@get("/", may=MEMBERS, has_etag=True, summary="All buildings, by name")
async def buildings(
    request: Req, state: State, limit: Limit = 100, after: Cursor = ""
) -> Response[Page[BuildingShape]]:
    """The buildings of the community and their feeders: whom agreements can be made with."""
    backend: Backend = state.backend
    store = BuildingStore(backend.pool.whole, backend.community)
    page = await page_of(after, limit, ("",), store.buildings, building_shape, lambda row: (row.building,))
    return told(request, page)


@get(
    "/{building:str}/intervals",
    may=OWN | {"operator"},
    has_etag=True,
    summary="A building's energy by interval",
)
async def intervals(
    request: Req,
    building: BuildingPath,
    begin: Begin = None,
    until: Until = None,
    limit: Limit = 100,
    after: Cursor = "",
) -> Response[Page[IntervalShape]]:
    """What the building took from the grid's side and gave to it, as its connection meters show it together.
    Intervals of which nothing is known are left out."""
    state = request.app.state  # as an argument it would be copied twice
    backend: Backend = state.backend
    store = await known_building(state, building)
    community = backend.book.community
    span = span_of(begin, until, ZoneInfo(community.zone), backend.clock.now())
    step = timedelta(minutes=community.interval_minutes)

    async def read(key: Any, most: int) -> list[IntervalShape]:
        (first,) = key
        if not span.begin <= first <= span.until:
            raise BadCursor("this cursor is of another span", where="after", hint="leave it out to begin")
        return interval_shapes(await store.intervals(building, first, span.until, most), step)

    page = await shaped_page_of(after, limit, (span.begin,), read, lambda shape: (shape.end,))
    return told(request, page)


router = Router(
    "/buildings",
    route_handlers=[
        buildings, intervals, *building_money.HANDLERS, *building_meters.HANDLERS, *live.HANDLERS,
    ],
    tags=["Buildings"],
)  # fmt: skip
