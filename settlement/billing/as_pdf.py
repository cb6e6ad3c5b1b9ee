"""A document as PDF, in Thai and English, by the template `invoice.typ`.

PDF/A-3a: it can be read in fifty years and by those who cannot see, and it carries the record that its code
is the hash of as the file `invoice.json`. Fonts come from our own folder, the date from the document, so the
same document is the same bytes on every machine with the same typst.
"""

from datetime import UTC, datetime, time
from io import BytesIO
from pathlib import Path

import msgspec
import segno
from typst import Compiler, Fonts, TypstError

from ledger.errors import BadInput
from settlement.billing.invoice import Invoice
from settlement.billing.printed import page
from settlement.billing.totals import check

_FOLDER = Path(__file__).parent


class NotPrintable(BadInput):
    """A document cannot be printed."""

    code = "not-printable"


class Printer:
    """Prints one document after the other; not from two threads at once."""

    def __init__(self) -> None:
        fonts = Fonts(
            include_system_fonts=False, include_embedded_fonts=False, font_paths=[_FOLDER / "fonts"]
        )
        self._typst = Compiler(_FOLDER / "invoice.typ", root=_FOLDER, font_paths=fonts)

    def pdf(self, invoice: Invoice) -> bytes:
        """The PDF. Raises `InvoiceInvalid` and `NotPrintable`."""
        issued_at = datetime.combine(invoice.issued_on, time(), UTC)
        check(invoice)
        values = page(invoice)
        inputs = {"page": msgspec.json.encode(values).decode(), "qr": _qr(values.proof)}
        try:
            printed = self._typst.compile(
                format="pdf", sys_inputs=inputs, pdf_standards="a-3a", timestamp=issued_at
            )
        except TypstError as error:
            raise NotPrintable(
                f"cannot be printed: {error.message}",
                where=invoice.number or f"preview of {invoice.building}",
                hint="names, addresses and reasons are in Thai or Latin letters",
            ) from error
        assert isinstance(printed, bytes)  # noqa: S101 - a PDF is one file, whatever its pages
        return printed


def _qr(text: str) -> str:
    """The code as SVG. Level M: 15 % of it may be soiled."""
    if not text:
        return ""
    drawn = BytesIO()
    segno.make_qr(text, error="m").save(drawn, kind="svg", border=0, xmldecl=False, svgns=True)
    return drawn.getvalue().decode()
