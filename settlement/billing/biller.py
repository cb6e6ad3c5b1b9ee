"""The biller: drafts a month's documents out of one state of the store, and has them recorded.

Numbers are given when a month is issued, in order of buildings, and the documents become facts of the book in
one go; so numbers have no gap, and a month is issued once.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

import msgspec

from ledger.canonical import encode
from ledger.errors import BadInput
from ledger.event import new_salt
from ledger.market_events import InvoiceIssued
from ledger.postgres.billing import BillingStore
from ledger.postgres.settlement import SettlementStore, Standing
from settlement.amounts import MILLIWH_PER_WH
from settlement.billing.as_json import read_document
from settlement.billing.invoice import Invoice, InvoiceLine, Kind
from settlement.billing.issuing import Period, adjustment_lines, charge_lines, posted_lines
from settlement.billing.numbering import next_number
from settlement.billing.postings import billed
from settlement.billing.settings import BillingSettings
from settlement.billing.tables import Entry, summed
from settlement.billing.totals import COMPUTED, check, totalled
from settlement.book_state import BookState
from settlement.journal import Posting, building_account
from settlement.month import midnight, next_month
from settlement.shared_bill import Charge, peak_interval, shared_charges
from settlement.tariff_file import ppm
from settlement.utility_bill import LoadRow, utility_bills

MONTHS_BACK = 11
"""The minimum charge looks back a year, the month itself included."""

Record = Callable[[Sequence[InvoiceIssued]], Awaitable[None]]
"""Appends documents to the book, and returns when the book has them."""


class NotSettled(BadInput):
    """A month cannot be billed for good yet."""

    code = "not-settled"


class AlreadyIssued(BadInput):
    """A month was billed before."""

    code = "already-issued"


class UnknownDocument(BadInput):
    """There is no such document."""

    code = "unknown-document"


class AlreadyCancelled(BadInput):
    """An invoice was cancelled before."""

    code = "already-cancelled"


class Issued(NamedTuple):
    """A document that the book has, and the run up to which it counts."""

    invoice: Invoice
    run: int


class Biller:
    """Bills one community."""

    def __init__(self, community: str, store: SettlementStore, settings: BillingSettings) -> None:
        self._community = community
        self._settlement = store
        self._billing = BillingStore(store)
        self._settings = settings

    async def preview(self, month: date, today: date) -> list[Invoice]:
        """What every building would be billed for a month, as far as it is settled."""
        invoices, _ = await self._drafts(month, today, "preview")
        return invoices

    async def issue(self, month: date, today: date, record: Record) -> list[Invoice]:
        """Bill a month for good. Raises `NotSettled` or `AlreadyIssued`; then nothing is issued."""
        drafts, run = await self._drafts(month, today, "invoice")
        return await self._number(drafts, run, today, record)

    async def credit(self, number: str, reason: str, today: date, record: Record) -> Invoice:
        """Cancel an invoice by a credit note; the building's month can be billed again after it.

        Raises `UnknownDocument` or `AlreadyCancelled`.
        """
        issued = await self._issued()
        found = next((each for each in issued if each.invoice.number == number), None)
        if found is None or found.invoice.kind != "invoice":
            raise UnknownDocument("there is no such invoice in the book", where=number)
        for each in issued:
            if each.invoice.cancels == number:
                raise AlreadyCancelled("the invoice was cancelled before", where=each.invoice.number)
        (note,) = await self._number([_credit_note(found.invoice, reason, today)], found.run, today, record)
        return note

    async def journal(self, month: date) -> list[Entry]:
        """What was posted for a month, summed by kind, account and side, with what its documents add."""
        async with self._settlement.transaction(self._community) as size:
            book = BookState(self._community, self._settlement)
            await book.follow(size)
            period = _period(month, book)
            rows = await self._billing.journal(self._community, period.begin, period.until)
            issued = await self._issued()
        entries = [Entry(period.begin, period.until, row[4], Posting(*row[:4])) for row in rows]
        documents = [each.invoice for each in issued if each.invoice.period_begin == period.first]
        added = [posting for document in documents for posting in billed(document)]
        return [*entries, *summed(period.begin, period.until, None, added)]

    async def _issued(self) -> list[Issued]:
        """The documents that the book has, in their order."""
        return [
            Issued(read_document(event.document), event.run)
            for event in await self._billing.issued(self._community)
        ]

    async def _number(
        self, drafts: Sequence[Invoice], run: int, today: date, record: Record
    ) -> list[Invoice]:
        """Give drafts their numbers and have them recorded, all or none."""
        issued = await self._billing.issued(self._community)
        last = issued[-1].number if issued else ""
        invoices = []
        for draft in drafts:
            last = next_number(self._settings.series or self._community, today.year, last)
            invoices.append(msgspec.structs.replace(draft, number=last))
            check(invoices[-1])
        await record([_event(invoice, run) for invoice in invoices])
        return invoices

    async def _drafts(self, month: date, today: date, kind: Kind) -> tuple[list[Invoice], int]:
        async with self._settlement.transaction(self._community) as size:
            book = BookState(self._community, self._settlement)
            await book.follow(size)
            period = _period(month, book)
            standing = await self._settlement.standing(self._community)
            issued = _standing(await self._issued())
            billed_before = {
                each.invoice.building for each in issued if each.invoice.period_begin == period.first
            }
            if kind == "invoice":
                _check_ready(period, standing, today)
            charges, vat_ppm = await self._charges(book, period)
            drafts = []
            for building in sorted(book.registry.buildings):
                if kind == "invoice" and building in billed_before:
                    continue
                lines = await self._lines(book, building, period, charges, issued)
                if lines:
                    lines, total = totalled(lines, vat_ppm)
                    drafts.append(self._draft(book, building, period, today, kind, lines, total, vat_ppm))
        if kind == "invoice" and billed_before and not drafts:
            raise AlreadyIssued(
                f"{period.first:%B %Y} was billed before",
                where=f"{len(billed_before)} documents",
                hint="what has changed since comes with the next month's invoices",
            )
        return drafts, standing.number or 1

    async def _lines(
        self,
        book: BookState,
        building: str,
        period: Period,
        charges: Sequence[Charge],
        issued: Sequence[Issued],
    ) -> list[InvoiceLine]:
        """A building's lines before tax: the month's, then what changed in months that were billed before."""
        account = building_account(building)
        rows = await self._billing.posted(self._community, account, period.begin, period.until)
        lines = posted_lines(rows, period)
        lines += charge_lines(charges, building, period)
        own = [each for each in issued if each.invoice.building == building]
        billed_run = max((each.run for each in own), default=0)
        for earlier in own:
            before = _period(earlier.invoice.period_begin, book)
            changed = await self._billing.posted(
                self._community, account, before.begin, before.until, billed_run
            )
            lines += adjustment_lines(changed, before)
        return lines

    async def _charges(self, book: BookState, period: Period) -> tuple[list[Charge], int]:
        """The buildings' parts of the campus's bill for the month, and the rate of its tax."""
        in_force = book.rules().at(period.begin) or book.rules().at(period.until - book.step)
        if in_force is None:
            return [], 0
        begin = period.begin - timedelta(days=31 * MONTHS_BACK)
        delivered = await self._settlement.deliveries(self._community, begin, period.until)
        load = [
            LoadRow(int(start.timestamp()), taken * MILLIWH_PER_WH, given * MILLIWH_PER_WH)
            for start, (taken, given) in delivered.items()
        ]
        minutes = book.grid.step // 60
        bills = {bill.month: bill for bill in utility_bills(in_force.tariff, load, minutes)}
        vat_ppm = ppm(in_force.tariff.version(period.first).vat)
        if period.first not in bills:
            return [], vat_ppm
        peak = peak_interval([row for row in load if row.start >= period.begin.timestamp()])
        taken = await self._taken(peak, book) if peak is not None else {}
        return shared_charges(bills[period.first], taken, list(book.registry.buildings)), vat_ppm

    async def _taken(self, peak: int, book: BookState) -> Mapping[str, int]:
        start = datetime.fromtimestamp(peak, book.grid.zone)
        energies = await self._settlement.energies(self._community, start, start + book.step)
        return {name: taken * MILLIWH_PER_WH for rows in energies.values() for name, taken, _ in rows}

    def _draft(
        self, book: BookState, building: str, period: Period, today: date, kind: Kind,
        lines: list[InvoiceLine], total: int, vat_ppm: int,
    ) -> Invoice:  # fmt: skip
        opened = book.registry.opened
        assert opened is not None  # noqa: S101 - its buildings come after it
        return Invoice(
            kind=kind,
            number="",
            community=self._community,
            building=building,
            currency=opened.currency,
            period_begin=period.first,
            period_until=period.last,
            issued_on=today,
            due_on=today + timedelta(days=self._settings.due_days),
            seller=self._settings.seller(opened.name),
            buyer=self._settings.buyer(building, book.registry.buildings[building].name),
            lines=lines,
            vat_ppm=vat_ppm,
            total_micro=total,
            salt=new_salt(),
            zone=opened.zone,
        )


def _event(invoice: Invoice, run: int) -> InvoiceIssued:
    return InvoiceIssued(
        number=invoice.number,
        building=invoice.building,
        code=invoice.code,
        document=encode(invoice).decode(),
        run=run,
    )


def _period(month: date, book: BookState) -> Period:
    """The month that a day lies in."""
    first = month.replace(day=1)
    last = next_month(first)
    return Period(first, last, midnight(first, book.grid.zone), midnight(last, book.grid.zone))


def _check_ready(period: Period, standing: Standing, today: date) -> None:
    settled_until = standing.settled_until
    if today < period.last or settled_until is None or settled_until < period.until:
        raise NotSettled(
            f"{period.first:%B %Y} is not over and settled yet",
            where=f"settled until {settled_until}" if settled_until else "nothing is settled",
            hint="bill it when its last interval is settled; until then there is the preview",
        )


def _standing(issued: Sequence[Issued]) -> list[Issued]:
    """The invoices that were not cancelled."""
    cancelled = {each.invoice.cancels for each in issued}
    return [
        each for each in issued if each.invoice.kind == "invoice" and each.invoice.number not in cancelled
    ]


def _credit_note(invoice: Invoice, reason: str, today: date) -> Invoice:
    """The same with every amount turned round."""
    charges = [
        msgspec.structs.replace(line, amount_micro=-line.amount_micro)
        for line in invoice.lines
        if line.kind not in COMPUTED
    ]
    lines, total = totalled(charges, invoice.vat_ppm)
    return msgspec.structs.replace(
        invoice, kind="credit-note", number="", cancels=invoice.number, reason=reason, lines=lines,
        total_micro=total, issued_on=today, due_on=today, salt=new_salt(),
    )  # fmt: skip
