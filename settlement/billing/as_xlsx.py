"""Tables as an XLSX workbook, row by row in flat memory, with the same bytes for the same tables.

Numbers are numbers, with two decimals of money shown and all of them kept. A spreadsheet keeps 15 digits: a
number with more is written as text rather than changed. Text is text, whatever it begins with.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from ledger.errors import BadInput
from settlement.billing.figures import PLACES, exact
from settlement.billing.invoice import Invoice
from settlement.billing.tables import (
    INVOICES,
    JOURNAL,
    LINES,
    AnySheet,
    Entry,
    Form,
    billed_lines,
    booked,
)

ROWS_MAX = 1_048_576
_EXACT_BELOW = 10**15

_OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
}


class TooManyRows(BadInput):
    """A table is longer than a worksheet can be."""

    code = "too-many-rows"


class _Look(NamedTuple):
    """How a column's values are shown: a number format, and the width in characters."""

    number_format: str
    width: int


_LOOKS = {
    Form.TEXT: _Look("@", 22),
    Form.INTEGER: _Look("0", 8),
    Form.DAY: _Look("yyyy-mm-dd", 12),
    Form.MONEY: _Look("#,##0.00", 15),
    Form.ENERGY: _Look("#,##0.000", 15),
    Form.SHARE: _Look("0.00%", 10),
}


def write_invoices(invoices: Iterable[Invoice], file: BinaryIO, on: date) -> None:
    """Write documents and their lines; `on` is the date the workbook bears.

    Raises `TooManyRows`; the file is then of no use.
    """
    all_invoices = list(invoices)
    _write(((INVOICES, all_invoices), (LINES, billed_lines(all_invoices))), file, on)


def write_journal(entries: Iterable[Entry], file: BinaryIO, on: date) -> None:
    """Write a journal. Raises `JournalUnbalanced` and `TooManyRows`; the file is then of no use."""
    _write(((JOURNAL, booked(entries)),), file, on)


def _write(sheets: Iterable[tuple[AnySheet, Iterable[Any]]], file: BinaryIO, on: date) -> None:
    with Workbook(file, _OPTIONS) as book:
        book.set_properties({"created": datetime.combine(on, time(), UTC)})
        heading = book.add_format({"bold": True, "bottom": 1})
        formats = {form: book.add_format({"num_format": look.number_format}) for form, look in _LOOKS.items()}
        for sheet, rows in sheets:
            page = book.add_worksheet(sheet.name)
            for index, column in enumerate(sheet.columns):
                page.set_column(index, index, _LOOKS[column.form].width)
                page.write_string(0, index, column.name, heading)
            page.freeze_panes(1, 0)
            _fill(page, sheet, rows, formats)


def _fill(page: Worksheet, sheet: AnySheet, rows: Iterable[Any], formats: dict[Form, Format]) -> None:
    ways = [
        (index, column.of, _WRITERS[column.form], formats[column.form])
        for index, column in enumerate(sheet.columns)
    ]
    number = 0
    for number, row in enumerate(rows, 1):
        if number == ROWS_MAX:
            raise TooManyRows(
                f"a worksheet has room for {ROWS_MAX - 1:,} rows",
                where=sheet.name,
                hint="take the CSV, or sum it",
            )
        for index, of, write, look in ways:
            value = of(row)
            if value is not None and value != "":
                write(page, number, index, value, look)
    page.autofilter(0, 0, number, len(sheet.columns) - 1)


Writer = Callable[[Worksheet, int, int, Any, Format], object]


def _millionths(page: Worksheet, row: int, column: int, value: int, look: Format) -> None:
    if abs(value) < _EXACT_BELOW:
        page.write_number(row, column, Fraction(value, 10**PLACES), look)
    else:
        page.write_string(row, column, exact(value), look)


_WRITERS: dict[Form, Writer] = {
    Form.TEXT: lambda page, *cell: page.write_string(*cell),
    Form.INTEGER: lambda page, *cell: page.write_number(*cell),
    Form.DAY: lambda page, *cell: page.write_datetime(*cell),
    Form.MONEY: _millionths,
    Form.ENERGY: _millionths,
    Form.SHARE: _millionths,
}
