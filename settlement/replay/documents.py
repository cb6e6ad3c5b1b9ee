"""The documents of a book, held against the runs that they count: each is drafted again, line by line."""

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import date

import msgspec

from ledger.errors import LedgerError
from ledger.market_events import InvoiceIssued
from settlement.amounts import MICRO
from settlement.billing.drafting import Drafting, month_terms
from settlement.billing.invoice import Invoice, InvoiceLine
from settlement.billing.totals import reversed_lines, totalled
from settlement.book_state import BookState
from settlement.month import Month, month_of
from settlement.plain.shown import decimal
from settlement.replay.database import finished, statement
from settlement.replay.runs import ReplayedRuns
from settlement.replay.told import Fault, ToldDocument, told_documents

_KEPT = (
    "buyer", "coin_micro", "currency", "period_begin", "period_until", "seller", "vat_ppm", "zone",
)  # fmt: skip
"""What a credit note has in common with its invoice."""


class ReplayedDocuments:
    """The documents of one book in their order, each judged when the runs that it counts are recomputed."""

    def __init__(
        self, connection: sqlite3.Connection, runs: ReplayedRuns, book: BookState, found: Fault
    ) -> None:
        self._connection = connection
        self._runs = runs
        self._book = book
        self._found = found
        self._told = told_documents(connection)
        self._next: ToldDocument | None = None

    def judge(self, run: int) -> None:
        """Judge the next documents that count no run beyond `run`."""
        while (told := self._next or next(self._told, None)) is not None:
            self._next = told
            if told.event.run > run:
                return
            self._next = None
            try:
                faults = list(self._faults(told.event))
            except (LedgerError, ArithmeticError, LookupError, ValueError) as error:
                faults = [f"it cannot be drafted again: {error}"]
            for what in faults:
                self._found(f"invoice {told.event.number}: {what}", told.place)

    def _faults(self, event: InvoiceIssued) -> Iterator[str]:
        invoice = _document(event.document)
        if invoice.kind == "credit-note":
            yield from self._of_credit_note(invoice)
            return
        month = month_of(invoice.period_begin, self._book.grid.zone)
        own = self._standing_of(invoice.building)
        before = [each.number for each in own if each.period_begin == invoice.period_begin]
        if before:
            yield f"{invoice.building} was billed for the month by {before[0]}"
            return
        yield from self._of_terms(invoice, month)
        yield from self._of_lines(invoice, month, event.run, own)
        self._connection.execute(
            statement("add_document"),
            (invoice.number, invoice.building, str(invoice.period_begin), event.document.encode()),
        )

    def _of_credit_note(self, note: Invoice) -> Iterator[str]:
        row = self._connection.execute(statement("read_document"), (note.cancels,)).fetchone()
        cancelled = _document(row[0]) if row else None
        if cancelled is None or cancelled.building != note.building:
            yield f"{note.cancels} is no invoice of {note.building} that could be cancelled"
            return
        for name in _KEPT:
            if getattr(note, name) != getattr(cancelled, name):
                yield f"its {name} is not that of {note.cancels}"
        if note.issued_on < cancelled.issued_on:
            yield f"it is issued on {note.issued_on}, before {note.cancels}"
        yield from _differences(
            note.lines,
            totalled(reversed_lines(cancelled.lines), cancelled.vat_ppm, cancelled.coin_micro).lines,
        )
        self._connection.execute(statement("drop_document"), (note.cancels,))

    def _of_terms(self, invoice: Invoice, month: Month) -> Iterator[str]:
        """Whether the month had been closed, and period, currency and tax are what the book says."""
        if not finished(self._runs.standing(self._book.community)).is_closed(month.until):
            yield f"{month.first:%B %Y} had not been settled for good"
        opened = self._book.registry.opened
        assert opened is not None  # noqa: S101 - its runs come after it
        expected = {
            "period_begin": month.first,
            "period_until": month.next_first,
            "currency": opened.currency,
            "zone": opened.zone,
            **month_terms(self._book.rules(), month)._asdict(),
        }
        for name, value in expected.items():
            if getattr(invoice, name) != value:
                yield f"its {name} is {getattr(invoice, name)} instead of {value}"

    def _of_lines(self, invoice: Invoice, month: Month, run: int, own: Sequence[Invoice]) -> Iterator[str]:
        rows = self._connection.execute(statement("months_issued"))
        issued = [date.fromisoformat(first) for (first,) in rows]
        drafting = Drafting(self._runs, self._book, month, run, own, issued)
        lines = finished(drafting.lines(invoice.building))
        yield from _differences(invoice.lines, totalled(lines, invoice.vat_ppm, invoice.coin_micro).lines)

    def _standing_of(self, building: str) -> list[Invoice]:
        """The building's invoices that were not cancelled so far."""
        rows = self._connection.execute(statement("documents_of"), (building,))
        return [_document(body) for (body,) in rows]


def _document(body: bytes | str) -> Invoice:
    return msgspec.json.decode(body, type=Invoice)


def _differences(told: Sequence[InvoiceLine], drafted: Sequence[InvoiceLine]) -> Iterator[str]:
    """The first line in which two documents differ."""
    for number in range(1, max(len(told), len(drafted)) + 1):
        said, right = _line(told, number), _line(drafted, number)
        if said != right:
            yield f"line {number} is {_shown(said, right)}, by the runs it is {_shown(right, said)}"
            return


def _line(lines: Sequence[InvoiceLine], number: int) -> InvoiceLine | None:
    return lines[number - 1] if number <= len(lines) else None


def _shown(line: InvoiceLine | None, other: InvoiceLine | None) -> str:
    """A line, in as many words as it takes to tell it from the other."""
    if line is None:
        return "not there"
    text = f"{line.kind} of {decimal(line.amount_micro, 6, MICRO)}"
    if other is not None and (line.kind, line.amount_micro) == (other.kind, other.amount_micro):
        names = [name for name in line.__struct_fields__ if getattr(line, name) != getattr(other, name)]
        text += "".join(f", {name} {getattr(line, name)}" for name in names)
    return text
