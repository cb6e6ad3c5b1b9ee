"""From a line of an invoice down to the signed readings, every step held against the next.

    line -> the document in the book, whose code it is part of
         -> the document drafted again out of what was posted, of which it is a line
         -> the postings that it sums up, interval by interval, by the runs that the book records
         -> the readings of the building's meters out of which those intervals' energies follow
         -> each reading's hash, its place in the log that the checkpoint signs, its envelope's signature

That the postings are what the rules make of those readings is for `energy-ledger verify` to compute, which
settles a whole book again from a file.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from ledger.clock import rfc3339
from ledger.entry import NO_HASH, entry_bytes, entry_hash
from ledger.envelope import RunHead, signed_text
from ledger.errors import BadInput, Damaged
from ledger.events import MeterRead, read_recorded
from ledger.export import EnvelopeRow, EventRow, read_run_headers
from ledger.key_history import KeyHistory
from ledger.keys import PublicKey
from ledger.market_events import InvoiceIssued, SettlementRun
from ledger.merkle import verify_inclusion
from ledger.note import Checkpoint, Verifier, open_checkpoint
from ledger.postgres.billing import BillingStore
from ledger.postgres.proofs import IntervalRow, ProofStore
from ledger.postgres.settlement import SettlementStore
from ledger.tree_reader import TreeReader
from ledger.words import counted
from settlement.amounts import MICRO, MILLIWH_PER_KWH
from settlement.billing.as_json import read_document
from settlement.billing.drafting import POSTED, Drafting, uncancelled
from settlement.billing.invoice import Invoice, InvoiceLine
from settlement.book_state import BookState
from settlement.journal import building_account
from settlement.month import month_of
from settlement.plain.shown import decimal
from settlement.shared_bill import CHARGES

_OF_THE_CAMPUS = CHARGES
"""Lines that are part of the one bill, which follows from the main meter."""

_ADJUSTED = ("adjustment", "adjustment-supplied")
"""Lines that are a difference: of what is owed for a month by now, and what was billed for it before."""


class UnknownLine(BadInput):
    """There is no such document or line, or nothing to be proven about it."""

    code = "unknown-line"


class NotProven(Damaged):
    """What is in the store contradicts the document or itself."""

    code = "not-proven"


def line_reference(text: str) -> tuple[str, int]:
    """Number and line of a reference such as `campus-2026-000001/2`. Raises `UnknownLine`."""
    number, _, line = text.rpartition("/")
    if not (number and line.isascii() and line.isdecimal()):
        raise UnknownLine(
            f"{text!r} names no line", hint="write the invoice's number and the line's: campus-2026-000001/2"
        )
    return number, int(line)


class Reading(NamedTuple):
    """A reading at one end of the proof."""

    stream: str
    sequence: int
    measured_at: datetime
    import_wh: int
    export_wh: int


class Proof(NamedTuple):
    """What was shown for a line."""

    invoice: Invoice
    number: int
    line: InvoiceLine
    position: int  # of the document in the log
    intervals: list[IntervalRow]
    runs: list[int]
    readings: int
    first: Reading
    last: Reading
    signers: dict[str, int]  # envelopes by device
    size: int
    root: bytes


class Prover:
    """Proves lines of one community's documents, on one state of the store."""

    def __init__(self, community: str, settlement: SettlementStore) -> None:
        self._community = community
        self._settlement = settlement
        self._store = ProofStore(settlement)
        self._billing = BillingStore(settlement)

    async def prove(self, number: str, line_number: int) -> Proof:
        """Raises `UnknownLine`, and `NotProven` at the first step that does not hold."""
        async with self._settlement.transaction(self._community) as size:
            book = BookState(self._community, self._settlement)
            await book.follow(size)
            rows = await self._store.documents(self._community)
            events = {
                row.position: event
                for row, event in zip(rows, read_recorded([row.body for row in rows]), strict=True)
            }
            at, issued = _issued(events, number)
            invoice = read_document(issued.document)
            if invoice.code != issued.code:
                raise NotProven("the document is not the one that its code was made of", where=number)
            line = _line(invoice, line_number)
            before = [read_document(event.document) for event in _documents(events, before=at)]
            month = month_of(invoice.period_begin, book.grid.zone)
            valid = uncancelled(before)
            months = {each.period_begin for each in valid}
            drafting = Drafting(self._billing, book, month, issued.run, valid, months)
            if line not in await drafting.lines(invoice.building):
                raise NotProven(
                    "the postings do not come to this line", where=f"{number}, line {line_number}"
                )
            intervals = await self._intervals(invoice, line, issued.run)
            readings = await self._readings(book, invoice, line)
            log = await self._log(book)
            runs = {e.number: position for position, e in events.items() if isinstance(e, SettlementRun)}
            used = [row for row in rows if row.position == at or row.position in runs.values()]
            await log.check([*used, *readings])
            first, last = (_reading(row) for row in (readings[0], readings[-1]))
            return Proof(
                invoice, line_number, line, at, intervals, sorted(runs), len(readings), first, last,
                log.signers, log.checkpoint.size, log.checkpoint.root,
            )  # fmt: skip

    async def _intervals(self, invoice: Invoice, line: InvoiceLine, run: int) -> list[IntervalRow]:
        """The postings that a line sums up, or of an adjustment those of the runs that made it."""
        if line.kind in _ADJUSTED:
            return []
        kind, took = POSTED[line.kind]
        assert line.begin is not None and line.until is not None  # noqa: S101, PT018 - the document was checked
        account = building_account(invoice.building)
        return await self._store.postings(self._community, account, kind, took, line.begin, line.until, run)

    async def _readings(self, book: BookState, invoice: Invoice, line: InvoiceLine) -> list[EventRow]:
        """The readings behind a line. Raises `NotProven` where there are none."""
        of_campus = line.kind in _OF_THE_CAMPUS
        meters = [
            name
            for name, meter in book.registry.meters.items()
            if (meter.added.role == "main" if of_campus else meter.added.building == invoice.building)
            and meter.added.role != "sub"
        ]
        assert line.begin is not None and line.until is not None  # noqa: S101, PT018 - the document was checked
        found = await self._store.readings(self._community, meters, line.begin, line.until)
        if not found:
            raise NotProven("there are no readings behind this line", where=f"{invoice.number}, {line.kind}")
        return found

    async def _log(self, book: BookState) -> "_Log":
        fence = await self._store.fence(self._community)
        opened = book.registry.opened
        assert fence is not None and opened is not None  # noqa: S101, PT018 - it has documents
        checkpoint = open_checkpoint(fence.checkpoint, Verifier.parse(opened.log_key))
        history = KeyHistory()
        async for page in self._store.registry(self._community, checkpoint.size):
            for row, event in zip(page, read_recorded([row.body for row in page]), strict=True):
                history.take(row.position, event)
        return _Log(self._community, self._store, checkpoint, history)


class _Log:
    """The log that the checkpoint signs: whether events are in it, and signed by keys that counted there."""

    def __init__(
        self, community: str, store: ProofStore, checkpoint: Checkpoint, history: KeyHistory
    ) -> None:
        self.checkpoint = checkpoint
        self.signers: dict[str, int] = {}
        self._community = community
        self._store = store
        self._history = history

    async def check(self, rows: Sequence[EventRow]) -> None:
        """Return if every event is what its hash says, in the log, and signed. Raises `NotProven`."""
        tree = TreeReader(self._store, self._community, self.checkpoint.size)
        await tree.load(row.position for row in rows)
        places = [(row.stream, row.sequence - 1) for row in rows if row.sequence > 1]
        previous = await self._store.recorded(self._community, places)
        for row in rows:
            before = previous.get((row.stream, row.sequence - 1), NO_HASH)
            entry = entry_bytes(self._community, row.stream, row.sequence, before, sha256(row.body).digest())
            leaf = entry_hash(entry)
            verify_inclusion(
                row.position, self.checkpoint.size, leaf, tree.proof(row.position), self.checkpoint.root
            )
        envelopes = sorted({row.envelope for row in rows})
        for begin in range(0, len(envelopes), 500):
            await self._check_signatures(envelopes[begin : begin + 500])

    async def _check_signatures(self, positions: Sequence[int]) -> None:
        found = await self._store.envelopes_at(self._community, positions)
        headers = {each.position: read_run_headers(each.runs) for each in found}
        places = [(run.stream, run.last) for runs in headers.values() for run in runs]
        hashes = await self._store.recorded(self._community, places)
        for each in found:
            heads = [
                RunHead(run.stream, run.first, run.last, hashes[run.stream, run.last])
                for run in headers[each.position]
            ]
            text = signed_text(self._community, each.device, heads)
            if not self._key_of(each).verifies(each.signature, text):
                raise NotProven("a signature does not fit", where=f"envelope at position {each.position}")
            self.signers[each.device] = self.signers.get(each.device, 0) + 1

    def _key_of(self, envelope: EnvelopeRow) -> PublicKey:
        at = envelope.position
        for key in self._history.keys:
            counts = key.enrolled <= at and (key.ended is None or at <= key.ended)
            if counts and (key.device, key.id) == (envelope.device, envelope.key):
                return PublicKey.from_hex(key.public_key)
        raise NotProven("a key did not count where it signed", where=f"envelope at position {at}")


def _issued(events: Mapping[int, object], number: str) -> tuple[int, InvoiceIssued]:
    """A document's place in the log, and its event."""
    for position, event in events.items():
        if isinstance(event, InvoiceIssued) and event.number == number:
            return position, event
    raise UnknownLine("there is no such document in the book", where=number)


def _documents(events: Mapping[int, object], before: int) -> Iterator[InvoiceIssued]:
    """The documents in front of a position, in their order."""
    for position, event in events.items():
        if position < before and isinstance(event, InvoiceIssued):
            yield event


def _line(invoice: Invoice, number: int) -> InvoiceLine:
    if invoice.kind == "credit-note":
        raise UnknownLine(
            f"a credit note turns round the lines of {invoice.cancels}", where=invoice.number,
            hint="prove those",
        )  # fmt: skip
    if not 1 <= number <= len(invoice.lines):
        raise UnknownLine(
            f"the document has {len(invoice.lines)} lines", where=f"{invoice.number}, line {number}"
        )
    line = invoice.lines[number - 1]
    if line.begin is None:
        raise UnknownLine(
            f"the {line.kind} line follows from the others", where=f"{invoice.number}, line {number}",
            hint="prove those",
        )  # fmt: skip
    return line


def _reading(row: EventRow) -> Reading:
    (event,) = read_recorded([row.body])
    assert isinstance(event, MeterRead)  # noqa: S101 - the statement gives readings
    return Reading(row.stream, row.sequence, event.measured_at, event.import_wh, event.export_wh)


def proof_steps(proof: Proof) -> list[str]:
    """A proof in words, a step a line."""
    invoice, line = proof.invoice, proof.line
    energy = f", {decimal(line.energy_milliwh, 3, MILLIWH_PER_KWH)} kWh" if line.energy_milliwh else ""
    amount = f"{decimal(line.amount_micro, 6, MICRO)} {invoice.currency}"
    signers = ", ".join(f"{count:,} of {device}" for device, count in sorted(proof.signers.items()))
    return [
        f"1 document  {invoice.number} for {invoice.building} is event {proof.position:,} of the log, code"
        f" {invoice.code}",
        f"2 line      {invoice.reference(proof.number)}, {line.kind}{energy}: {amount}",
        f"3 posted    {_posted(proof)}, by {counted(len(proof.runs), 'settlement run')} of the book",
        f"4 readings  {counted(proof.readings, 'reading')}, from {_told(proof.first)} to {_told(proof.last)}",
        f"5 log       each is in the tree of {counted(proof.size, 'event')} with root {proof.root.hex()},"
        " as the checkpoint signs",
        f"6 signed    by keys that counted there: envelopes, {signers}",
    ]


def _posted(proof: Proof) -> str:
    if proof.line.kind in _ADJUSTED:
        return "it is what the month comes to by now, less what was billed for it before"
    if proof.line.kind in _OF_THE_CAMPUS:
        return "a part of the campus's one bill, which follows from the main meter"
    return f"{counted(len(proof.intervals), 'interval')} come to it exactly"


def _told(reading: Reading) -> str:
    return (
        f"{reading.stream} {reading.sequence} ({rfc3339(reading.measured_at)},"
        f" {reading.import_wh:,} Wh imported, {reading.export_wh:,} Wh exported)"
    )
