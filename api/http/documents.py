"""A document of billing as it is answered: the JSON that the book holds, or printed."""

import asyncio
from typing import Any

from litestar import Request, Response

from api.http.caching import JSON, answered, matches
from ledger.market_events import InvoiceIssued
from settlement.billing.as_json import read_document
from settlement.billing.as_pdf import Printer

PDF = "application/pdf"
PRINTED = ".pdf"
"""Behind a number, which ends with a digit: printed is meant."""


async def document_answer(
    request: Request[Any, Any, Any], event: InvoiceIssued, *, printed: bool
) -> Response[bytes]:
    """The canonical JSON, its code the ETag; or PDF with that JSON inside, printed for who has it not yet."""
    if not printed:
        return answered(request, event.document.encode(), JSON, tag=f'W/"{event.code}"')
    tag = f'W/"{event.code}-pdf"'
    body = b"" if matches(request, tag) else await asyncio.to_thread(_printed, event)
    return answered(request, body, PDF, tag=tag)


def _printed(event: InvoiceIssued) -> bytes:
    return Printer().pdf(read_document(event.document))
