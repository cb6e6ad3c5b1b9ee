"""The columns of what billing hands out: the same in CSV and in XLSX.

invoices    one row a document, with what it comes to
lines       one row a line, with the intervals it is about and the run that decided them
journal     one row a posting, in two columns as bookkeepers have it
statement   one row a day of a building: `pays` is what it pays for, less what it earned and its grid income
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

from ledger.clock import rfc3339
from ledger.errors import Damaged
from settlement.billing.figures import exact
from settlement.billing.invoice import Invoice, InvoiceLine
from settlement.billing.totals import line_micro
from settlement.brought import Brought
from settlement.journal import Posting

Row = TypeVar("Row")
Value = str | int | date | None


class Form(Enum):
    """What the values of a column are."""

    TEXT = "text"
    INTEGER = "integer"
    DAY = "day"
    MONEY = "micro-units"
    ENERGY = "milliwatt-hours, shown in kWh"
    SHARE = "parts a million, shown as a fraction"


class Column(NamedTuple, Generic[Row]):
    """A heading, and how to get the value from a row; None where the row has none."""

    name: str
    form: Form
    of: Callable[[Row], Value]


class Sheet(NamedTuple, Generic[Row]):
    """A table by its name."""

    name: str
    columns: tuple[Column[Row], ...]


AnySheet = Sheet[Any]


class JournalUnbalanced(Damaged):
    """Postings that do not sum to zero. Nothing was handed out."""

    code = "journal-unbalanced"


class Entry(NamedTuple):
    """A posting, the intervals it is about and the run that decided them."""

    begin: datetime
    until: datetime
    run: int | None
    posting: Posting


class Day(NamedTuple):
    """A building's local day, and what it brought."""

    day: date
    brought: Brought


class BilledLine(NamedTuple):
    """A line, its number from 1, and its document."""

    invoice: Invoice
    number: int
    line: InvoiceLine


class Booked(NamedTuple):
    """A row of the journal. A debit is what an account owes or has paid, a credit what is owed to it."""

    begin: str
    until: str
    run: int | None
    kind: str
    account: str
    energy_milliwh: int
    debit_micro: int
    credit_micro: int


def billed_lines(invoices: Iterable[Invoice]) -> Iterator[BilledLine]:
    """The lines of all documents."""
    for invoice in invoices:
        for number, line in enumerate(invoice.lines, 1):
            yield BilledLine(invoice, number, line)


def booked(entries: Iterable[Entry]) -> Iterator[Booked]:
    """The journal's rows and, at the end, their totals; nothing where there are none.

    Raises `JournalUnbalanced` instead of the totals where debits and credits, or energies, do not balance.
    """
    debit = credit = energy = count = 0
    for begin, until, run, posting in entries:
        owed, due = max(0, -posting.amount_micro), max(0, posting.amount_micro)
        debit, credit, energy = debit + owed, credit + due, energy + posting.energy_milliwh
        count += 1
        yield Booked(
            rfc3339(begin),
            rfc3339(until),
            run,
            posting.kind,
            posting.account,
            posting.energy_milliwh,
            owed,
            due,
        )
    if debit != credit or energy:
        raise JournalUnbalanced(
            f"debits of {exact(debit)} and credits of {exact(credit)}; energy of {exact(energy)} kWh too many"
        )
    if count:
        yield Booked("", "", None, "total", "", 0, debit, credit)


def summed(begin: datetime, until: datetime, run: int | None, postings: Iterable[Posting]) -> list[Entry]:
    """The postings of many intervals, one for each kind, account and side: what a general ledger takes in.

    Debits and credits of one account are not set off against each other. In order of kind and account.
    """
    sums: dict[tuple[str, str, bool], tuple[int, int]] = {}
    for kind, account, energy, amount in postings:
        key = (kind, account, amount > 0)
        energy_sum, amount_sum = sums.get(key, (0, 0))
        sums[key] = (energy_sum + energy, amount_sum + amount)
    return [
        Entry(begin, until, run, Posting(kind, account, *both))
        for (kind, account, _), both in sorted(sums.items())
    ]


def _when(instant: datetime | None) -> str | None:
    return None if instant is None else rfc3339(instant)


def _base(invoice: Invoice) -> int:
    """What the tax was taken of, with its sign."""
    return sum(
        (line.of_micro or 0) * (-1 if line.amount_micro < 0 else 1)
        for line in invoice.lines
        if line.kind == "vat"
    )


INVOICES: Sheet[Invoice] = Sheet(
    "invoices",
    (
        Column("number", Form.TEXT, lambda it: it.number),
        Column("kind", Form.TEXT, lambda it: it.kind),
        Column("community", Form.TEXT, lambda it: it.community),
        Column("building", Form.TEXT, lambda it: it.building),
        Column("period_begin", Form.DAY, lambda it: it.period_begin),
        Column("period_until", Form.DAY, lambda it: it.period_until),
        Column("issued_on", Form.DAY, lambda it: it.issued_on),
        Column("due_on", Form.DAY, lambda it: it.due_on),
        Column("seller", Form.TEXT, lambda it: it.seller.name),
        Column("seller_tax_id", Form.TEXT, lambda it: it.seller.tax_id),
        Column("seller_branch", Form.TEXT, lambda it: it.seller.branch),
        Column("buyer", Form.TEXT, lambda it: it.buyer.name),
        Column("buyer_tax_id", Form.TEXT, lambda it: it.buyer.tax_id),
        Column("buyer_branch", Form.TEXT, lambda it: it.buyer.branch),
        Column("currency", Form.TEXT, lambda it: it.currency),
        Column("rounding", Form.MONEY, lambda it: line_micro(it, "rounding")),
        Column("net", Form.MONEY, lambda it: it.total_micro - line_micro(it, "vat")),
        Column("taxed", Form.MONEY, _base),
        Column("vat_rate", Form.SHARE, lambda it: it.vat_ppm),
        Column("vat", Form.MONEY, lambda it: line_micro(it, "vat")),
        Column("total", Form.MONEY, lambda it: it.total_micro),
        Column("cancels", Form.TEXT, lambda it: it.cancels),
        Column("reason", Form.TEXT, lambda it: it.reason),
        Column("code", Form.TEXT, lambda it: it.code),
    ),
)

LINES: Sheet[BilledLine] = Sheet(
    "lines",
    (
        Column("number", Form.TEXT, lambda it: it.invoice.number),
        Column("building", Form.TEXT, lambda it: it.invoice.building),
        Column("period_begin", Form.DAY, lambda it: it.invoice.period_begin),
        Column("period_until", Form.DAY, lambda it: it.invoice.period_until),
        Column("line", Form.INTEGER, lambda it: it.number),
        Column("reference", Form.TEXT, lambda it: it.invoice.reference(it.number)),
        Column("kind", Form.TEXT, lambda it: it.line.kind),
        Column("begin", Form.TEXT, lambda it: _when(it.line.begin)),
        Column("until", Form.TEXT, lambda it: _when(it.line.until)),
        Column("run", Form.INTEGER, lambda it: it.line.run),
        Column("energy_kwh", Form.ENERGY, lambda it: it.line.energy_milliwh),
        Column("share", Form.SHARE, lambda it: it.line.share_ppm),
        Column("of", Form.MONEY, lambda it: it.line.of_micro),
        Column("amount", Form.MONEY, lambda it: it.line.amount_micro),
        Column("currency", Form.TEXT, lambda it: it.invoice.currency),
    ),
)

JOURNAL: Sheet[Booked] = Sheet(
    "journal",
    (
        Column("begin", Form.TEXT, lambda it: it.begin),
        Column("until", Form.TEXT, lambda it: it.until),
        Column("run", Form.INTEGER, lambda it: it.run),
        Column("kind", Form.TEXT, lambda it: it.kind),
        Column("account", Form.TEXT, lambda it: it.account),
        Column("energy_kwh", Form.ENERGY, lambda it: it.energy_milliwh),
        Column("debit", Form.MONEY, lambda it: it.debit_micro),
        Column("credit", Form.MONEY, lambda it: it.credit_micro),
    ),
)

STATEMENT: Sheet[Day] = Sheet(
    "statement",
    (
        Column("day", Form.DAY, lambda it: it.day),
        Column("grid_import_kwh", Form.ENERGY, lambda it: it.brought.grid_import_milliwh),
        Column("bought_kwh", Form.ENERGY, lambda it: it.brought.bought_milliwh),
        Column("sold_kwh", Form.ENERGY, lambda it: it.brought.sold_milliwh),
        Column("grid_export_kwh", Form.ENERGY, lambda it: it.brought.grid_export_milliwh),
        Column("grid_cost", Form.MONEY, lambda it: it.brought.grid_cost_micro),
        Column("paid", Form.MONEY, lambda it: it.brought.paid_micro),
        Column("fees", Form.MONEY, lambda it: it.brought.fees_micro),
        Column("loss", Form.MONEY, lambda it: it.brought.loss_micro),
        Column("earned", Form.MONEY, lambda it: it.brought.earned_micro),
        Column("grid_income", Form.MONEY, lambda it: it.brought.grid_income_micro),
        Column("pays", Form.MONEY, lambda it: it.brought.cost_micro),
    ),
)
