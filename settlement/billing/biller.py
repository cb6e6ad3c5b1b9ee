"""The biller: drafts a month's documents out of one state of the store, and has them recorded.

Numbers are given when a month is issued, in order of buildings, and the documents become facts of the book in
that order, while nobody else issues any; so numbers have no gap, and a building's month is issued once. Where
recording ends early, issuing again goes on with the buildings that are left.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import NamedTuple

import msgspec

from ledger.canonical import INTEGER_MAX, encode
from ledger.errors import BadInput, Contradiction, Unavailable
from ledger.event import new_salt
from ledger.market_events import InvoiceIssued
from ledger.postgres.billing import BillingStore
from ledger.postgres.settlement import SettlementStore, Standing
from ledger.words import counted
from settlement.billing.as_pdf import Printer
from settlement.billing.documents import issued_documents
from settlement.billing.drafting import BillingSource, Drafting, Terms, WithCharges, month_terms, uncancelled
from settlement.billing.invoice import Invoice, InvoiceLine, Kind
from settlement.billing.numbering import next_number, parse
from settlement.billing.settings import BillingSettings
from settlement.billing.totals import check, reversed_lines, totalled
from settlement.book_state import BookState
from settlement.month import Month, midnight, month_of
from settlement.shared_bill import CHARGES, month_charges

AMOUNT_MAX = INTEGER_MAX // 2
"""Of a line, in micro-units: the lines' sum is then a number in JSON, too."""
REASON_MAX = 200
"""Characters, as many as a text in the book may have."""

Check = Callable[[], Awaitable[None]]
"""Looks whether documents still fit the book."""

Record = Callable[[Sequence[InvoiceIssued], Check], Awaitable[None]]
"""Appends documents to the book, and returns when the book has them. It has to call the check when the place
is known where they go on: what comes to the stream after it makes a fork of them, and the book refuses it."""


class NotSettled(BadInput):
    """A month cannot be billed for good yet."""

    code = "not-settled"


class RunNotRecorded(Unavailable):
    """What was settled last is on its way into the book."""

    code = "run-not-recorded"


class AlreadyIssued(BadInput):
    """A month was billed before."""

    code = "already-issued"


class IssuedMeanwhile(Contradiction):
    """Documents have been issued while others were drafted."""

    code = "issued-meanwhile"


class TaxIdMissing(BadInput):
    """Who bills may not show a tax."""

    code = "tax-id-missing"


class TaxIdInvalid(BadInput):
    """A tax ID on a document is none: most likely it was mistyped."""

    code = "tax-id-invalid"


class AmountTooLarge(BadInput):
    """What a building is billed is beyond what a document can hold."""

    code = "amount-too-large"


class UnknownDocument(BadInput):
    """There is no such document."""

    code = "unknown-document"


class ReasonInvalid(BadInput):
    """Why an invoice is cancelled is not said, or cannot be printed."""

    code = "reason-invalid"


class AlreadyCancelled(BadInput):
    """An invoice was cancelled before."""

    code = "already-cancelled"


class Bills(NamedTuple):
    """A month's documents; and what of it cannot be billed, which keeps nobody else's bill back."""

    invoices: list[Invoice]
    refused: Sequence[AmountTooLarge] = ()


class _Drafts(NamedTuple):
    bills: Bills
    run: int


class Biller:
    """Bills one community."""

    def __init__(self, community: str, store: SettlementStore, settings: BillingSettings) -> None:
        self._community = community
        self._settlement = store
        self._billing = BillingStore(store)
        self._settings = settings

    async def preview(self, month: date, today: date) -> Bills:
        """What every building that was not billed for a month yet would be, as far as it is settled."""
        return (await self._drafts(month, today, "preview", await self._documents())).bills

    async def issued(self, month: date) -> list[Invoice]:
        """The documents of a month that the book has, in their order."""
        return [each for each in await self._documents() if _is_of(each, month)]

    async def issue(self, month: date, today: date, record: Record) -> Bills:
        """Bill a month for good. Raises `NotSettled`, `AlreadyIssued`, `TaxIdMissing`, `TaxIdInvalid`,
        `NotPrintable`, `IssuedMeanwhile`, `RunNotRecorded` or `StreamBusy`; then nothing is issued."""
        async with self._settlement.turn(self._community):
            documents = await self._documents()
            drafts, run = await self._drafts(month, today, "invoice", documents)
            if await self._settlement.recorded(self._community) != run:
                raise RunNotRecorded(
                    "the newest settlement run is not in the book yet",
                    where=f"run {run}",
                    hint="try again in a moment; the settler records it when the bus and the writer answer",
                )
            issued = await self._number(drafts.invoices, run, today, record, documents)
            return drafts._replace(invoices=issued)

    async def credit(self, number: str, reason: str, today: date, record: Record) -> Invoice:
        """Cancel an invoice by a credit note; the building's month can be billed again after it.

        Raises `ReasonInvalid`, `UnknownDocument`, `AlreadyCancelled`, `IssuedMeanwhile` or `StreamBusy`.
        """
        _check_reason(reason)
        async with self._settlement.turn(self._community):
            issued = await issued_documents(self._billing, self._community)
            found = next((each for each in issued if each.invoice.number == number), None)
            if found is None:
                raise UnknownDocument(
                    "there is no such invoice in the book",
                    where=number,
                    hint="`energy-ledger invoices MONTH` lists a month's",
                )
            if found.invoice.kind != "invoice":
                raise UnknownDocument(
                    f"this is a credit note, which cancels {found.invoice.cancels}",
                    where=number,
                    hint="`energy-ledger invoices --issue` bills the month anew",
                )
            for each in issued:
                if each.invoice.cancels == number:
                    raise AlreadyCancelled("the invoice was cancelled before", where=each.invoice.number)
            draft = _credit_note(found.invoice, reason, today)
            documents = [each.invoice for each in issued]
            (note,) = await self._number([draft], found.run, today, record, documents)
            return note

    async def _number(
        self,
        drafts: Sequence[Invoice],
        run: int,
        today: date,
        record: Record,
        documents: Sequence[Invoice],
    ) -> list[Invoice]:
        """Give drafts their numbers and have them recorded in their order. Raises `NotPrintable`."""
        printer = Printer()
        series = self._settings.series or self._community
        last = next((each.number for each in reversed(documents) if parse(each.number).series == series), "")
        invoices = []
        for draft in drafts:
            last = next_number(series, today.year, last)
            invoices.append(msgspec.structs.replace(draft, number=last))
            check(invoices[-1])
            # What cannot be printed must not become a fact.
            await asyncio.to_thread(printer.pdf, invoices[-1])
        await record([_event(invoice, run) for invoice in invoices], partial(self._check_since, documents))
        return invoices

    async def _check_since(self, documents: Sequence[Invoice]) -> None:
        """Return if the book has these documents and no others. Raises `IssuedMeanwhile`.

        An issue whose receipt did not come in time is on its way, and may have come into the book since.
        """
        if len(now := await self._documents()) != len(documents):
            raise IssuedMeanwhile(
                "an issue that was under way has come into the book meanwhile",
                where=now[-1].number,
                hint="look at what was issued; then issue what is left",
            )

    async def _documents(self) -> list[Invoice]:
        """All documents that the book has, in their order."""
        return [each.invoice for each in await issued_documents(self._billing, self._community)]

    async def _drafts(self, day: date, today: date, kind: Kind, documents: Sequence[Invoice]) -> _Drafts:
        async with self._settlement.transaction(self._community):
            standing = await self._settlement.standing(self._community)
            if standing.number is None or standing.tree_size is None:
                raise NotSettled(
                    "nothing is settled yet", where=self._community, hint="is the settler running?"
                )
            book = BookState(self._community, self._settlement)
            await book.follow(standing.tree_size)  # what the runs have seen, and nothing else
            month = month_of(day, book.grid.zone)
            is_closed = standing.is_closed(month.until)
            if kind == "invoice" and not is_closed:
                raise _not_closed(month, standing, book)
            issued = uncancelled(documents)
            before = {each.building for each in issued if _is_of(each, day)}
            source: BillingSource = self._billing
            if not is_closed:
                charges = await month_charges(self._settlement, book, month)
                source = WithCharges(self._billing, month, charges, standing.number)
            months = {each.period_begin for each in issued}
            drafting = Drafting(source, book, month, standing.number, issued, months)
            terms = month_terms(book.rules(), month)
            until = standing.settled_until
            so_far = until if until is not None and until < month.until else None
            if kind == "invoice":
                self._check_seller(terms)
                self._check_tax_ids(book)
            drafts, refused = [], []
            for building in sorted(set(book.registry.buildings) - before):
                lines = await drafting.lines(building)
                if not lines:
                    continue
                try:
                    drafts.append(self._draft(book, building, month, today, kind, lines, terms, so_far))
                except AmountTooLarge as error:
                    refused.append(error)
        if before and not (drafts or refused) and kind == "invoice":
            raise AlreadyIssued(
                f"{month.first:%B %Y} was billed before",
                where=counted(len(before), "invoice"),
                hint=f"`energy-ledger invoices {month.first:%Y-%m}` writes them again; what has changed since"
                " comes with the next month's",
            )
        return _Drafts(Bills(drafts, refused), standing.number)

    def _check_seller(self, terms: Terms) -> None:
        """Only who is registered for the tax may show it (Revenue Code, sections 86 and 90/2)."""
        if terms.vat_ppm and not self._settings.tax_id:
            raise TaxIdMissing(
                "the tariff has VAT, and who bills has no tax ID",
                where="[billing]",
                hint='give its own: tax_id = "0105561000011"; or use a tariff of your own without `vat`',
            )

    def _check_tax_ids(self, book: BookState) -> None:
        """A document cannot be mended when it is a fact."""
        assert book.registry.opened is not None  # noqa: S101 - what was settled comes after it
        for table, tax_id in self._settings.odd_tax_ids(book.registry.opened.currency):
            raise TaxIdInvalid(
                f"{tax_id} is no Thai tax ID",
                where=table,
                hint="it has 13 digits, and the last one checks the others; or leave it out",
            )

    def _draft(
        self, book: BookState, building: str, month: Month, today: date, kind: Kind,
        charges: Sequence[InvoiceLine], terms: Terms, settled_until: datetime | None,
    ) -> Invoice:  # fmt: skip
        totals = totalled(_so_far(charges, settled_until), *terms)
        if max(abs(line.amount_micro) for line in totals.lines) > AMOUNT_MAX:
            raise AmountTooLarge(
                f"what it is billed for {month.first:%B %Y} is more than a document can hold",
                where=building,
                hint="`energy-ledger statement` shows its days; look at the prices of its agreements",
            )
        opened = book.registry.opened
        assert opened is not None  # noqa: S101 - its buildings come after it
        return Invoice(
            kind=kind,
            number="",
            community=self._community,
            building=building,
            currency=opened.currency,
            period_begin=month.first,
            period_until=month.next_first,
            issued_on=today,
            due_on=today + timedelta(days=self._settings.due_days),
            seller=self._settings.seller(opened.name),
            buyer=self._settings.buyer(building, book.registry.buildings[building].name),
            lines=totals.lines,
            vat_ppm=terms.vat_ppm,
            total_micro=totals.total_micro,
            salt=new_salt(),
            zone=opened.zone,
            coin_micro=terms.coin_micro,
            settled_until=settled_until,
        )


def _so_far(lines: Sequence[InvoiceLine], until: datetime | None) -> Sequence[InvoiceLine]:
    """The lines, which sum up no interval that is not settled yet; a charge is the month's all the same."""
    if until is None:
        return lines
    return [
        msgspec.structs.replace(line, until=until)
        if line.kind not in CHARGES and line.begin and line.until and line.begin < until < line.until
        else line
        for line in lines
    ]


def _event(invoice: Invoice, run: int) -> InvoiceIssued:
    return InvoiceIssued(
        number=invoice.number,
        building=invoice.building,
        code=invoice.code,
        document=encode(invoice).decode(),
        run=run,
    )


def _is_of(invoice: Invoice, month: date) -> bool:
    return invoice.period_begin == month.replace(day=1)


def _not_closed(month: Month, standing: Standing, book: BookState) -> NotSettled:
    settled, rules = standing.settled_until, book.registry.market.rules_at(month.until - book.step)
    days = rules.final_days if rules is not None else 0
    last = midnight(month.next_first + timedelta(days=days), book.grid.zone)
    return NotSettled(
        f"{month.first:%B %Y} is not settled for good yet",
        where=f"settled until {settled.astimezone(book.grid.zone):%Y-%m-%d %H:%M}" if settled else "",
        hint=f"it can be billed when all is settled until {last.astimezone(book.grid.zone):%Y-%m-%d %H:%M}"
        f" (`final_days` of the market is {days}); until then there is the preview",
    )


def _check_reason(reason: str) -> None:
    """A credit note says why it is (Revenue Code, section 86/10)."""
    hint = f"tell what was wrong, in one line of up to {REASON_MAX} characters, Thai or Latin"
    if not reason.strip():
        raise ReasonInvalid("a credit note says why it is", where="reason", hint=hint)
    if len(reason) > REASON_MAX or not reason.isprintable():
        raise ReasonInvalid(f"this cannot be printed as a reason: {reason[:40]!r}", where="reason", hint=hint)


def _credit_note(invoice: Invoice, reason: str, today: date) -> Invoice:
    """The same with every amount turned round."""
    lines, total = totalled(reversed_lines(invoice.lines), invoice.vat_ppm, invoice.coin_micro)
    return msgspec.structs.replace(
        invoice, kind="credit-note", number="", cancels=invoice.number, reason=reason, lines=lines,
        total_micro=total, issued_on=today, due_on=today, salt=new_salt(),
    )  # fmt: skip
