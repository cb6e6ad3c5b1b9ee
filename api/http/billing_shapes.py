"""What answers about billing look like: runs, documents, drafts, the journal and balances."""

from datetime import date, datetime

import msgspec

from api.http.problems import hint_of
from api.http.shapes import Amount, amount
from ledger.event import Text
from ledger.market_events import InvoiceIssued
from ledger.settlement_rows import RunRow
from settlement.billing.accounts import Balance
from settlement.billing.as_json import read_document
from settlement.billing.biller import AmountTooLarge, Bills
from settlement.billing.invoice import Invoice, InvoiceLine
from settlement.billing.tables import Booked
from settlement.billing.totals import line_micro


class RunShape(msgspec.Struct, frozen=True):
    """A settlement run: of the intervals of [begin, until), counted from the first `tree_size` events of the
    log, whose root that is. `rules` and `result` are digests (SHA-256), all three in hex."""

    number: int
    kind: str
    begin: datetime
    until: datetime
    tree_size: int
    root: str
    rules: str
    result: str
    settled: int
    revised: int


def run_shape(row: RunRow) -> RunShape:
    """As the API shows it."""
    digests = {"root": row.root.hex(), "rules": row.rules.hex(), "result": row.result.hex()}
    return RunShape(**{**row._asdict(), **digests})


class DocumentShape(msgspec.Struct, frozen=True):
    """An invoice, or the credit note that `cancels` one and says its `reason`; its lines are in the document
    itself. `code` is the SHA-256 of that, `run` the newest settlement run that it counts."""

    number: str
    kind: str
    building: str
    period_begin: date
    period_until: date
    issued_on: date
    due_on: date
    vat: Amount
    total: Amount
    code: str
    run: int
    cancels: str = ""
    reason: str = ""


def document_shape(event: InvoiceIssued) -> DocumentShape:
    """As the API shows it."""
    invoice = read_document(event.document)
    return DocumentShape(
        invoice.number, invoice.kind, invoice.building, invoice.period_begin, invoice.period_until,
        invoice.issued_on, invoice.due_on, amount(line_micro(invoice, "vat"), invoice.currency),
        amount(invoice.total_micro, invoice.currency), event.code, event.run, invoice.cancels, invoice.reason,
    )  # fmt: skip


class LineShape(msgspec.Struct, frozen=True):
    """A line of a draft: what the building would pay, or get where it is below zero. `share_ppm` parts a
    million `of` a whole, where it is a part of one."""

    kind: str
    amount: Amount
    begin: datetime | None
    until: datetime | None
    energy_milliwh: int | None
    share_ppm: int | None
    of: Amount | None


class DraftShape(msgspec.Struct, frozen=True):
    """What a building would be billed."""

    building: str
    due_on: date
    vat: Amount
    total: Amount
    lines: list[LineShape]


class NotBilled(msgspec.Struct, frozen=True):
    """A building that cannot be billed, and why; that keeps nobody else's bill back."""

    building: str
    code: str
    detail: str
    hint: str


class PreviewShape(msgspec.Struct, frozen=True):
    """Drafts of a month for all buildings that have no invoice of it. `settled_until` is there as long as
    more of the month will be settled."""

    month: str
    settled_until: datetime | None
    drafts: list[DraftShape]
    refused: list[NotBilled]


class IssuedShape(msgspec.Struct, frozen=True):
    """The numbers that were given to a month's invoices, in order of buildings."""

    month: str
    numbers: list[str]
    refused: list[NotBilled]


def preview_shape(month: date, bills: Bills) -> PreviewShape:
    """As the API shows it."""
    until = next((each.settled_until for each in bills.invoices if each.settled_until), None)
    return PreviewShape(
        month_word(month), until, [_draft(each) for each in bills.invoices], not_billed(bills)
    )


def not_billed(bills: Bills) -> list[NotBilled]:
    """What cannot be billed."""
    return [_refused(each) for each in bills.refused]


def _refused(error: AmountTooLarge) -> NotBilled:
    return NotBilled(error.where, error.code, error.what, hint_of(error))


def month_word(month: date) -> str:
    """A month as it is asked for."""
    return f"{month:%Y-%m}"


def _draft(invoice: Invoice) -> DraftShape:
    return DraftShape(
        invoice.building, invoice.due_on, amount(line_micro(invoice, "vat"), invoice.currency),
        amount(invoice.total_micro, invoice.currency),
        [_line(line, invoice.currency) for line in invoice.lines],
    )  # fmt: skip


def _line(line: InvoiceLine, currency: str) -> LineShape:
    whole = None if line.of_micro is None else amount(line.of_micro, currency)
    return LineShape(
        line.kind, amount(line.amount_micro, currency), line.begin, line.until, line.energy_milliwh,
        line.share_ppm, whole,
    )  # fmt: skip


class CreditRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why an invoice is cancelled, as the law asks; it is printed on the credit note."""

    reason: Text


class JournalShape(msgspec.Struct, frozen=True):
    """A row of the journal: a debit is what an account owes or has paid, a credit what is owed to it. `run`
    is the newest settlement run behind it; none for what documents add."""

    begin: str
    until: str
    run: int | None
    kind: str
    account: str
    energy_milliwh: int
    debit: Amount
    credit: Amount


def journal_shape(row: Booked, currency: str) -> JournalShape:
    """As the API shows it."""
    return JournalShape(
        row.begin, row.until, row.run, row.kind, row.account, row.energy_milliwh,
        amount(row.debit_micro, currency), amount(row.credit_micro, currency),
    )  # fmt: skip


class BalanceShape(msgspec.Struct, frozen=True):
    """What an account got (+) and gave (-) on the whole."""

    account: str
    energy_milliwh: int
    amount: Amount


def balance_shape(row: Balance, currency: str) -> BalanceShape:
    """As the API shows it."""
    return BalanceShape(row.account, row.energy_milliwh, amount(row.amount_micro, currency))
