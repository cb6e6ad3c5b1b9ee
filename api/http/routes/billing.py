"""For billing: runs, documents in every form, a month's preview, and billing it for good.

What is issued is a fact of the book and is never touched again; what is wrong is cancelled by a credit note.
The billing of the settings counts as it was when the service started.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from io import BytesIO
from typing import Annotated, Any, cast
from zoneinfo import ZoneInfo

from litestar import Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, PathParameter, QueryParameter

from api.http.backend import Backend
from api.http.billing_shapes import (
    BalanceShape,
    CreditRequest,
    DocumentShape,
    IssuedShape,
    JournalShape,
    PreviewShape,
    RunShape,
    balance_shape,
    document_shape,
    journal_shape,
    month_word,
    not_billed,
    preview_shape,
    run_shape,
)
from api.http.caching import answered
from api.http.documents import PDF, PRINTED, document_answer
from api.http.pages import Cursor, Limit, Page, page_of
from api.http.problems import NotThere
from api.http.waiting import held
from ledger.postgres.issued import ALL, IssuedStore
from ledger.postgres.lent import lent_store
from settlement.billing.accounts import Accounts
from settlement.billing.as_json import read_document
from settlement.billing.as_xlsx import write_invoices, write_journal
from settlement.billing.biller import Biller, Bills
from settlement.billing.files import as_csv
from settlement.billing.invoice import Invoice
from settlement.billing.tables import INVOICES, JOURNAL, LINES, Entry, billed_lines, booked
from settlement.told_month import told_month

BILLING = frozenset({"billing", "operator"})
RUNS = BILLING | {"auditor"}
CSV = "text/csv"
JSON = "application/json"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
NUMBER_MAX = 2**53

Req = Request[Any, Any, State]
MonthPath = Annotated[str, PathParameter(description="Such as 2026-06.")]
NumberPath = Annotated[str, PathParameter(description="A document's number, such as campus-2026-000001.")]


def _issued(backend: Backend) -> IssuedStore:
    return IssuedStore(backend.pool, backend.community)


def _today(backend: Backend) -> date:
    return backend.clock.now().astimezone(ZoneInfo(backend.book.community.zone)).date()


@asynccontextmanager
async def _biller(backend: Backend) -> AsyncIterator[Biller]:
    async with lent_store(backend.pool) as store:
        yield Biller(backend.community, store, backend.billing)


@asynccontextmanager
async def _accounts(backend: Backend) -> AsyncIterator[Accounts]:
    async with lent_store(backend.pool) as store:
        yield Accounts(backend.community, store)


# --- runs ----------------------------------------------------------------------------------------------


@get("/runs", may=RUNS, summary="Settlement runs, the first one first")
async def runs(state: State, limit: Limit = 100, after: Cursor = "") -> Page[RunShape]:
    """What was settled when, and the digests by which anyone can hold a recomputed run against it."""
    return await page_of(
        after, limit, (0,), _issued(state.backend).runs, run_shape, lambda row: (row.number,)
    )


@get("/runs/{number:int}", may=RUNS, summary="One settlement run")
async def run(
    state: State, number: Annotated[int, PathParameter(ge=1, le=NUMBER_MAX, description="The run's number.")]
) -> RunShape:
    """A run by its number."""
    found = await _issued(state.backend).run(number)
    if found is None:
        raise NotThere("there is no such run", where=str(number))
    return run_shape(found)


# --- documents -----------------------------------------------------------------------------------------


@get("/invoices", may=BILLING, summary="Invoices and credit notes, the first one first")
async def invoices(
    state: State,
    month: Annotated[str, QueryParameter(description="Of one month only, such as 2026-06.")] = "",
    limit: Limit = 100,
    after: Cursor = "",
) -> Page[DocumentShape]:
    """The documents that were issued, in the order of that."""
    issued, first = _issued(state.backend), told_month(month) if month else None
    return await page_of(
        after, limit, (0,), lambda key, most: issued.documents(key, most, first),
        lambda row: document_shape(row.event), lambda row: (row.sequence,),
    )  # fmt: skip


@get(
    "/invoices/{number:str}",
    may=BILLING,
    has_etag=True,
    printed=PDF,
    summary="A document, as JSON or as PDF",
)
async def invoice(request: Req, state: State, number: NumberPath) -> Response[Invoice]:
    """The canonical JSON as it stands in the book. Its SHA-256 is its code, which is the ETag. With `.pdf`
    behind the number it is printed in Thai and English, PDF/A-3 with that JSON inside: the same bytes every
    time."""
    name = number.removesuffix(PRINTED)
    found = await _issued(state.backend).document(name)
    if found is None:
        raise NotThere("there is no such document", where=name[:80])
    return cast(Response[Invoice], await document_answer(request, found, printed=name != number))


@get(
    "/months/{month:str}/invoices.csv",
    may=BILLING,
    has_etag=True,
    media_type=CSV,
    summary="A month's documents as CSV",
)
async def invoices_csv(request: Req, state: State, month: MonthPath) -> Response[bytes]:
    """A row a document."""
    return answered(request, as_csv(INVOICES, await _of_month(state, told_month(month))), CSV)


@get(
    "/months/{month:str}/lines.csv", may=BILLING, has_etag=True, media_type=CSV, summary="Their lines as CSV"
)
async def lines_csv(request: Req, state: State, month: MonthPath) -> Response[bytes]:
    """A row a line of each document, with the intervals it is about and the run that decided them."""
    documents = await _of_month(state, told_month(month))
    return answered(request, as_csv(LINES, billed_lines(documents)), CSV)


@get(
    "/months/{month:str}/invoices.xlsx",
    may=BILLING,
    has_etag=True,
    media_type=XLSX,
    summary="Both as a workbook",
)
async def invoices_xlsx(request: Req, state: State, month: MonthPath) -> Response[bytes]:
    """Documents and lines as sheets of one workbook."""
    first = told_month(month)
    documents = await _of_month(state, first)
    on = max((each.issued_on for each in documents), default=first)
    return answered(request, await asyncio.to_thread(_workbook, documents, on), XLSX)


def _workbook(documents: list[Invoice], on: date) -> bytes:
    file = BytesIO()
    write_invoices(documents, file, on)
    return file.getvalue()


async def _of_month(state: State, month: date) -> list[Invoice]:
    rows = await _issued(state.backend).documents((0,), ALL, month)
    return [read_document(row.event.document) for row in rows]


# --- billing a month -----------------------------------------------------------------------------------


@get("/months/{month:str}/preview", may=BILLING, problems={409}, summary="What a month's invoices would be")
async def preview(state: State, month: MonthPath) -> PreviewShape:
    """Drafts for all buildings that have no invoice of the month, as far as it is settled."""
    backend: Backend = state.backend
    first = told_month(month)
    async with _biller(backend) as biller:
        return preview_shape(first, await biller.preview(first, _today(backend)))


@post(
    "/months/{month:str}/issue",
    may=BILLING,
    summary="Bill a month for good",
    responses={200: ResponseSpec(IssuedShape, False, "There was nothing to bill")},
)
async def issue(state: State, month: MonthPath) -> Response[IssuedShape]:
    """Give the month's invoices their numbers and record them in the book. 201 when the book has them, 200
    when there is nothing to bill. 409 `not-settled` as long as the month is not closed, `already-issued` when
    it was billed before; 503 when somebody else bills right now or the book does not answer: issuing again
    goes on with the buildings that are left."""
    backend: Backend = state.backend
    first = told_month(month)
    bills = await backend.recorder.unbroken(issue_month(backend, first))
    numbers = [each.number for each in bills.invoices]
    shape = IssuedShape(month_word(first), numbers, not_billed(bills))
    return Response(shape, status_code=201 if numbers else 200)


async def issue_month(backend: Backend, month: date) -> Bills:
    """Bill a month, in a turn of this process and of the store."""
    async with held(backend.recorder.turn, "issuing"), _biller(backend) as biller:
        return await biller.issue(month, _today(backend), await backend.recorder.record())


@post("/invoices/{number:str}/credit", may=BILLING, summary="Cancel an invoice")
async def credit(state: State, number: NumberPath, data: JSONBody[CreditRequest]) -> DocumentShape:
    """Cancel an invoice by a credit note, which this answers with. Issuing its month bills the building anew.
    409 `already-cancelled` names the credit note that is there."""
    backend: Backend = state.backend
    note = await backend.recorder.unbroken(_cancel(backend, number, data.reason))
    recorded = await _issued(state.backend).document(note.number)
    assert recorded is not None  # noqa: S101 - the ledger signed that it has it
    return document_shape(recorded)


async def _cancel(backend: Backend, number: str, reason: str) -> Invoice:
    async with held(backend.recorder.turn, "issuing"), _biller(backend) as biller:
        return await biller.credit(number, reason, _today(backend), await backend.recorder.record())


# --- accounts ------------------------------------------------------------------------------------------


@get("/months/{month:str}/journal", may=BILLING, summary="A month's journal")
async def journal(state: State, month: MonthPath) -> list[JournalShape]:
    """Debits and credits by kind and account, the last row their totals: they balance. Empty where nothing
    was posted. The journal of a month that is closed and over never changes."""
    backend: Backend = state.backend
    entries = await _entries(backend, month)
    return [journal_shape(row, backend.book.community.currency) for row in booked(entries)]


@get(
    "/months/{month:str}/journal.csv",
    may=BILLING,
    has_etag=True,
    media_type=CSV,
    summary="A month's journal as CSV",
)
async def journal_csv(request: Req, state: State, month: MonthPath) -> Response[bytes]:
    """The same as a file for the books."""
    return answered(request, as_csv(JOURNAL, booked(await _entries(state.backend, month))), CSV)


@get(
    "/months/{month:str}/journal.xlsx",
    may=BILLING,
    has_etag=True,
    media_type=XLSX,
    summary="The same as a workbook",
)
async def journal_xlsx(request: Req, state: State, month: MonthPath) -> Response[bytes]:
    """The journal as a workbook of one sheet."""
    entries = await _entries(state.backend, month)
    return answered(request, await asyncio.to_thread(_journal, entries, told_month(month)), XLSX)


def _journal(entries: list[Entry], on: date) -> bytes:
    file = BytesIO()
    write_journal(entries, file, on)
    return file.getvalue()


async def _entries(backend: Backend, month: str) -> list[Entry]:
    first = told_month(month)
    async with _accounts(backend) as accounts:
        return await accounts.journal(first)


@get("/months/{month:str}/balances", may=BILLING, summary="A month's balances")
async def balances(state: State, month: MonthPath) -> list[BalanceShape]:
    """What every account got and gave, in all nothing; tax and rounding in the month that billed them."""
    backend: Backend = state.backend
    first = told_month(month)
    async with _accounts(backend) as accounts:
        found = await accounts.balances(first)
    return [balance_shape(row, backend.book.community.currency) for row in found]


router = Router(
    "/",
    route_handlers=[
        runs, run, invoices, invoice, invoices_csv, lines_csv, invoices_xlsx, preview, issue,
        credit, journal, journal_csv, journal_xlsx, balances,
    ],
    tags=["Billing"],
)  # fmt: skip
