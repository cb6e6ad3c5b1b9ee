"""The first reading of a file: what the book says was settled and billed."""

import sqlite3
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ledger.events import AnyEvent, read_recorded
from ledger.market_events import SETTLEMENT, InvoiceIssued, SettlementRun
from ledger.verify.further import Entry, Proven, entries
from ledger.verify.report import Place
from settlement.replay.database import statement, together
from settlement.replay.invoices import Invoices

_PAGE_RUNS = 1_000
_PAGE_DOCUMENTS = 20  # which may be long

Fault = Callable[[str, Place], None]
"""Takes down what is wrong with the settlement, and where it is."""


class ToldRun(NamedTuple):
    """A run as the book tells it, the place of its event, and where in the log its envelope begins."""

    event: SettlementRun
    place: Place
    position: int


class ToldDocument(NamedTuple):
    """A document as the book tells it, and the place of its event."""

    event: InvoiceIssued
    place: Place


class Told(NamedTuple):
    """How much there is."""

    runs: int
    invoices: int


def read_told(book: Proven, connection: sqlite3.Connection, found: Fault) -> Told:
    """Note the runs and the documents, and judge what can be judged at once: numbers, and what a document
    says of itself. Raises `FileCut`.
    """
    invoices = Invoices(book.community)
    runs = newest = 0
    with together(connection):
        for entry in entries(book.path, SETTLEMENT):
            _, _, sequence, body = entry.row
            place = Place(entry.line, SETTLEMENT, sequence)
            (event,) = read_recorded([body])
            if isinstance(event, SettlementRun):
                if event.number != newest + 1:
                    found(f"run {event.number} stands where run {newest + 1} was due", place)
                newest = event.number
                runs += 1
                _note(connection, entry, is_run=True)
            elif isinstance(event, InvoiceIssued):
                faults = list(invoices.faults(event, newest))
                for what in faults:
                    found(what, place)
                if not faults:  # else it is not asked what it is made of
                    _note(connection, entry, is_run=False)
    return Told(runs, invoices.count)


def _note(connection: sqlite3.Connection, entry: Entry, *, is_run: bool) -> None:
    _, _, sequence, body = entry.row
    connection.execute(statement("add_told"), (sequence, is_run, entry.line, entry.envelope, body))


def told_runs(connection: sqlite3.Connection) -> Iterator[ToldRun]:
    """The runs that were noted, in order of the book."""
    for event, place, position in _told(connection, _PAGE_RUNS, is_run=True):
        assert isinstance(event, SettlementRun)  # noqa: S101 - it was noted as one
        yield ToldRun(event, place, position)


def told_documents(connection: sqlite3.Connection) -> Iterator[ToldDocument]:
    """The documents that were noted, in order of the book."""
    for event, place, _ in _told(connection, _PAGE_DOCUMENTS, is_run=False):
        assert isinstance(event, InvoiceIssued)  # noqa: S101 - it was noted as one
        yield ToldDocument(event, place)


def _told(
    connection: sqlite3.Connection, page: int, *, is_run: bool
) -> Iterator[tuple[AnyEvent, Place, int]]:
    last = 0
    while rows := connection.execute(statement("list_told"), (is_run, last, page)).fetchall():
        events = read_recorded([body for *_, body in rows])
        for (last, line, position, _), event in zip(rows, events, strict=True):
            yield event, Place(line, SETTLEMENT, last), position
