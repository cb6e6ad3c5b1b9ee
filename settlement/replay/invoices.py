"""The invoices that a book tells of: numbered without a gap, and each in agreement with itself.

A document is judged by what it says of itself; what its lines sum up is asked of the runs (`documents`).
"""

from collections.abc import Iterator
from hashlib import sha256

import msgspec

from ledger.canonical import UNREADABLE, encode
from ledger.errors import BadInput
from ledger.market_events import InvoiceIssued
from settlement.billing.invoice import Invoice
from settlement.billing.numbering import next_number, parse
from settlement.billing.totals import check


class Invoices:
    """The documents of one community in order of issue."""

    def __init__(self, community: str) -> None:
        self.count = 0
        self._community = community
        self._last: dict[str, str] = {}  # number of each series

    def faults(self, event: InvoiceIssued, newest_run: int) -> Iterator[str]:
        """What is wrong with the next document, before which the book has runs up to `newest_run`."""
        self.count += 1
        for what in (*self._of_number(event), *self._of_document(event, newest_run)):
            yield f"invoice {event.number}: {what}"

    def _of_number(self, event: InvoiceIssued) -> Iterator[str]:
        try:
            number = parse(event.number)
            last = self._last.get(number.series, "")
            self._last[number.series] = event.number
            due = next_number(number.series, number.year, last)
        except BadInput as error:
            yield error.what
            return
        if due != event.number:
            yield f"the number {due} was due"

    def _of_document(self, event: InvoiceIssued, newest_run: int) -> Iterator[str]:
        data = event.document.encode()
        if sha256(data).hexdigest() != event.code:
            yield "its code is not the SHA-256 of its document"
        try:
            invoice = msgspec.json.decode(data, type=Invoice)
        except UNREADABLE as error:
            yield f"its document cannot be read: {error}"
            return
        if encode(invoice) != data:
            yield "its document is not canonical JSON"
        told = (event.number, event.building, self._community)
        if (invoice.number, invoice.building, invoice.community) != told:
            yield "its document is another building's, or has another number"
        if event.run > newest_run or (invoice.kind != "credit-note" and event.run != newest_run):
            yield f"it counts run {event.run}, the newest before it is {newest_run}"
        yield from _of_law(invoice)
        try:
            check(invoice)
        except BadInput as error:
            yield error.what


def _of_law(invoice: Invoice) -> Iterator[str]:
    """What a tax document has to say, or must not."""
    if invoice.vat_ppm and not invoice.seller.tax_id:
        yield "it shows a tax, and its seller has no tax ID"
    if invoice.kind == "credit-note" and not invoice.reason:
        yield "it cancels an invoice, and gives no reason"
    if invoice.kind != "credit-note" and invoice.reason:
        yield "it gives a reason, and cancels nothing"
    try:
        year = parse(invoice.number).year
    except BadInput:
        return  # told already
    if year != invoice.issued_on.year:
        yield f"its number is of {year}, it is issued on {invoice.issued_on}"
