"""A document as JSON: the record that its code is the hash of, and the same amounts as decimals.

    {"code": "<64 hex>", "decimals": {"currency": "THB", "total": "107.000000", ..}, "invoice": {..}}

`invoice` is canonical (RFC 8785), so anyone can compute the code: `jq -cjS .invoice FILE | sha256sum`.
"""

from typing import Any

import msgspec

from ledger.canonical import UNREADABLE, Malformed, encode
from ledger.errors import BadInput
from settlement.billing.figures import exact
from settlement.billing.invoice import Invoice, InvoiceLine
from settlement.billing.totals import line_micro


class CodeMismatch(BadInput):
    """A document is not the one that its code was made of."""

    code = "code-mismatch"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: str
    decimals: dict[str, Any]
    invoice: Invoice


def as_json(invoice: Invoice) -> bytes:
    """The canonical bytes of the file."""
    decimals = {
        "currency": invoice.currency,
        "lines": [_decimals(line) for line in invoice.lines],
        "net": exact(invoice.total_micro - line_micro(invoice, "vat")),
        "total": exact(invoice.total_micro),
        "vat": exact(line_micro(invoice, "vat")),
    }
    return encode(_File(invoice.code, decimals, invoice))


def read_json(data: bytes) -> Invoice:
    """The document of a file. Raises `Malformed`, and `CodeMismatch` where anything in it was changed."""
    try:
        file = msgspec.json.decode(data, type=_File)
    except UNREADABLE as error:
        raise Malformed(f"not the JSON of an invoice: {error}") from error
    if as_json(file.invoice) != data:
        raise CodeMismatch("the document is not the one that its code was made of", where=file.invoice.number)
    return file.invoice


def read_document(text: str) -> Invoice:
    """The document in an event of the book. Raises `Malformed` where it is none in canonical form."""
    try:
        invoice = msgspec.json.decode(text, type=Invoice)
    except UNREADABLE as error:
        raise Malformed(f"not a document: {error}") from error
    if encode(invoice).decode() != text:
        raise Malformed("the document is not in canonical form", where=invoice.number)
    return invoice


def _decimals(line: InvoiceLine) -> dict[str, str]:
    found = {"amount": exact(line.amount_micro), "kind": line.kind}
    if line.energy_milliwh is not None:
        found["energy_kwh"] = exact(line.energy_milliwh)
    return found
