"""Tables as CSV: RFC 4180, UTF-8 with a header, exact decimals with a point.

A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula, from a CSV too. So such a
text gets an apostrophe in front, and so does one that begins with an apostrophe: who removes one leading
apostrophe has what was meant. Numbers are never changed.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, TypeVar

from settlement.billing.figures import exact
from settlement.billing.tables import Form, Sheet

Row = TypeVar("Row")

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "＝", "＋", "－", "＠")


def write_csv(sheet: Sheet[Row], rows: Iterable[Row], file: TextIO) -> None:
    """Write a table to a file that was opened with `newline=""` and UTF-8."""
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(column.name for column in sheet.columns)
    ways = [(column.of, _WRITTEN[column.form]) for column in sheet.columns]
    for row in rows:
        writer.writerow(_cells(row, ways))


def _cells(row: Row, ways: Iterable[tuple[Callable[[Row], Any], Callable[[Any], str]]]) -> Iterator[str]:
    for of, written in ways:
        value = of(row)
        yield "" if value is None else written(value)


def text(value: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + value if value.startswith(_FORMULA) else value


_WRITTEN: dict[Form, Callable[[Any], str]] = {
    Form.TEXT: text,
    Form.INTEGER: str,
    Form.DAY: str,
    Form.MONEY: exact,
    Form.ENERGY: exact,
    Form.SHARE: exact,
}
