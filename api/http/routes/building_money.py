"""What a building trades, pays and saves, and its documents."""

from datetime import date
from functools import partial
from typing import Annotated, Any, cast
from zoneinfo import ZoneInfo

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.params import PathParameter, QueryParameter

from api.http.backend import Backend
from api.http.billing_shapes import DocumentShape, document_shape
from api.http.building_shapes import (
    HeldShape,
    SavingsShape,
    StatementShape,
    TradeShape,
    link_shape,
    savings_shape,
    statement_shape,
    trade_shape,
)
from api.http.caching import told
from api.http.desk import OrderDesk
from api.http.documents import PDF, PRINTED, document_answer
from api.http.guard import OWN
from api.http.known_building import BuildingPath, known_building
from api.http.pages import BadCursor, Cursor, Limit, Page, page_of
from api.http.principal import Principal
from api.http.problems import NotThere
from api.http.span import Begin, Until, span_of
from ledger.entry import is_name
from ledger.postgres.buildings import TradeRow
from ledger.postgres.lent import lent_store
from ledger.postgres.log import LogStore
from settlement.billing.accounts import Accounts
from settlement.billing.invoice import Invoice
from settlement.savings import month_savings
from settlement.told_month import told_month

DocumentNumber = Annotated[str, PathParameter(description="Such as campus-2026-000001.")]
MONEY = OWN | {"operator", "billing"}

Req = Request[Any, Any, State]


@get("/{building:str}/trades", may=MONEY, has_etag=True, summary="What a building sold and bought")
async def trades(
    request: Req,
    state: State,
    building: BuildingPath,
    begin: Begin = None,
    until: Until = None,
    limit: Limit = 100,
    after: Cursor = "",
) -> Response[Page[TradeShape]]:
    """Its trades as they count: of each interval those of the newest run that settled it. Only the building
    itself is told who its partners were."""
    backend: Backend = state.backend
    store = await known_building(state, building)
    community = backend.book.community
    span = span_of(begin, until, ZoneInfo(community.zone), backend.clock.now())
    principal: Principal = request.scope["user"]

    async def read(key: Any, most: int) -> list[TradeRow]:
        start, number = key
        if not span.begin <= start < span.until:
            raise BadCursor("this cursor is of another span", where="after", hint="leave it out to begin")
        return await store.trades(building, span.until, (start, number), most)

    shape = partial(
        trade_shape, building=building, currency=community.currency,
        with_partner=principal.building == building,
    )  # fmt: skip
    first = (span.begin, -1)
    return told(request, await page_of(after, limit, first, read, shape, lambda row: (row.start, row.number)))


@get(
    "/{building:str}/statement/{month:str}", may=MONEY, has_etag=True, summary="A building's month day by day"
)
async def statement(
    request: Req,
    state: State,
    building: BuildingPath,
    month: Annotated[str, PathParameter(description="A local month, such as 2026-06.")],
) -> Response[StatementShape]:
    """Energy and cost of each local day, the building's part of the campus's charges, its documents, and what
    is not billed yet."""
    backend: Backend = state.backend
    first = told_month(month)
    await known_building(state, building)
    orders: OrderDesk = state.desk
    book = await orders.book()
    async with lent_store(backend.pool) as store:
        found = await Accounts(backend.community, store, book).statement(building, first)
    return told(request, statement_shape(found))


@get(
    "/{building:str}/savings", may=MONEY, has_etag=True, summary="What the market saved a building in a month"
)
async def savings(
    request: Req,
    state: State,
    building: BuildingPath,
    month: Annotated[
        str | None, QueryParameter(description="A local month, such as 2026-06; by default this one.")
    ] = None,
) -> Response[SavingsShape]:
    """What it paid and got in the intervals that are settled, beside what the grid alone would have asked and
    given for the same energy."""
    backend: Backend = state.backend
    community = backend.book.community
    first = _this_month(backend) if month is None else told_month(month)
    await known_building(state, building)
    orders: OrderDesk = state.desk
    book = await orders.book()
    async with lent_store(backend.pool) as store:
        found = await month_savings(store, book, building, first)
    return told(request, savings_shape(building, first, found, community.currency))


def _this_month(backend: Backend) -> date:
    return backend.clock.now().astimezone(ZoneInfo(backend.book.community.zone)).date().replace(day=1)


@get(
    "/{building:str}/invoices",
    may=MONEY,
    has_etag=True,
    summary="A building's documents, the first one first",
)
async def invoices(
    request: Req, state: State, building: BuildingPath, limit: Limit = 100, after: Cursor = ""
) -> Response[Page[DocumentShape]]:
    """Its invoices and credit notes in order of issue."""
    store = await known_building(state, building)
    page = await page_of(
        after, limit, (-1,), partial(store.documents, building), lambda row: document_shape(row.event),
        lambda row: (row.position,),
    )  # fmt: skip
    return told(request, page)


@get(
    "/{building:str}/invoices/{number:str}",
    may=MONEY,
    has_etag=True,
    printed=PDF,
    summary="One of a building's documents",
)
async def invoice(
    request: Req,
    state: State,
    building: BuildingPath,
    number: Annotated[
        str, PathParameter(description="Such as campus-2026-000001; with .pdf behind it, as it is printed.")
    ],
) -> Response[Invoice]:
    """The canonical JSON of the document exactly as it was recorded: its SHA-256 is the document's code, and
    that its ETag. With `.pdf` behind its number it comes as PDF/A, in which the same JSON is attached."""
    store = await known_building(state, building)
    told_number = number.removesuffix(PRINTED)
    found = await store.document(building, told_number) if is_name(told_number) else None
    if found is None:
        raise NotThere("the building has no such document", where=number[:80])
    return cast(Response[Invoice], await document_answer(request, found, printed=told_number != number))


@get(
    "/{building:str}/invoices/{number:str}/proof",
    may=MONEY,
    has_etag=True,
    summary="That the log holds a document of a building",
)
async def invoice_proof(
    request: Req, state: State, building: BuildingPath, number: DocumentNumber
) -> Response[HeldShape]:
    """The event that holds the document, with what its hash is made of, and the proof that the log has it:
    enough to check with SHA-256 and the log's key that the document is part of the book and never changed."""
    backend: Backend = state.backend
    store = await known_building(state, building)
    found = await store.document_link(building, number) if is_name(number) else None
    if found is None:
        raise NotThere("the building has no such document", where=number[:80])
    stream, link = found
    log = LogStore(backend.pool.whole, backend.community, backend.book.log)
    proof = await log.inclusion(stream, link.sequence)
    if proof is None:
        raise NotThere(
            "no checkpoint covers this document yet", where=number, hint="try again in a few seconds"
        )
    return told(request, HeldShape(stream, link_shape(link), str(proof)))


HANDLERS = (trades, statement, savings, invoices, invoice, invoice_proof)
