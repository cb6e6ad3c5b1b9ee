"""Documents as files, in every form; each file appears when it is whole."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import BytesIO, TextIOWrapper
from pathlib import Path

from ledger.errors import BadInput
from settlement.billing.as_csv import write_csv
from settlement.billing.as_json import as_json
from settlement.billing.as_pdf import NotPrintable, Printer
from settlement.billing.as_xlsx import write_invoices
from settlement.billing.invoice import Invoice
from settlement.billing.tables import INVOICES, LINES, Row, Sheet, billed_lines


class CannotWrite(BadInput):
    """A file or folder cannot be written."""

    code = "cannot-write"


def write_documents(documents: Sequence[Invoice], folder: Path, *, tables: bool = True) -> None:
    """A PDF and a JSON file a document, and as `tables` all of them as CSV and as a workbook.

    Raises `CannotWrite`, and `NotPrintable` for the first that cannot be printed when all else is written.
    """
    printer = Printer()
    failed: list[NotPrintable] = []
    for each in documents:
        preview = f"preview-{each.building}"
        name = each.number or preview
        if each.number:  # what was a draft is none any more
            _remove(folder.joinpath(f"{preview}.json"), folder.joinpath(f"{preview}.pdf"))
        write_file(folder.joinpath(f"{name}.json"), as_json(each))
        try:
            write_file(folder.joinpath(f"{name}.pdf"), printer.pdf(each))
        except NotPrintable as error:
            failed.append(error)
    if tables:
        write_file(folder.joinpath("invoices.csv"), as_csv(INVOICES, documents))
        write_file(folder.joinpath("lines.csv"), as_csv(LINES, billed_lines(documents)))
        workbook = BytesIO()
        write_invoices(documents, workbook, documents[0].issued_on)
        write_file(folder.joinpath("invoices.xlsx"), workbook.getvalue())
    if failed:
        raise failed[0]


def _remove(*files: Path) -> None:
    for file in files:
        with suppress(FileNotFoundError, NotADirectoryError):
            file.unlink()


def as_csv(sheet: Sheet[Row], rows: Iterable[Row]) -> bytes:
    """A table as the bytes of a CSV file."""
    buffer = BytesIO()
    text = TextIOWrapper(buffer, encoding="utf-8", newline="")
    write_csv(sheet, rows, text)
    text.flush()
    return buffer.getvalue()


def write_file(path: Path, data: bytes) -> None:
    """A file, whole or not at all. Raises `CannotWrite`."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")  # another program may write the same
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        raise CannotWrite(f"cannot be written: {error.strerror}", where=str(path)) from error
