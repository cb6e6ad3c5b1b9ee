"""A document as it stands on paper: every text that `invoice.typ` puts in its place.

Lines are printed with as many decimals as it takes to show them exactly, so that the column adds up to the
sum below it; tax, value and total are whole satang. Intervals are in the local time of the document's zone.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from ledger.canonical import encode
from settlement.amounts import COIN_MICRO, MILLIWH_PER_KWH, divided
from settlement.billing.figures import COIN_PLACES, places_of, shown
from settlement.billing.invoice import Invoice, InvoiceLine, Party
from settlement.billing.totals import COMPUTED, line_micro
from settlement.billing.wording import Label, baht_text, thai_date, wording

ENERGY_PLACES = 3
PRICE_PLACES = 4
_PERCENT = 100
_GROUP = 8

Field = tuple[Label, str]
"""A label and what stands beside it."""


class Side(msgspec.Struct, frozen=True):
    """The seller or the buyer."""

    heading: Label
    name: str
    address: str
    fields: list[Field]


class PrintedLine(msgspec.Struct, frozen=True):
    """A line of the table; `detail` tells its reference, intervals and run, and which part of what it is."""

    what: Label
    detail: str
    energy: str
    price: str
    amount: str


class Page(msgspec.Struct, frozen=True):
    """All that is printed. `record` is the canonical invoice, to be attached. Previews have no proof.

    `so_far` says of a month that is not over until when it is settled.
    """

    title: Label
    is_preview: bool
    so_far: Label | None
    head: list[Field]
    seller: Side
    buyer: Side
    headings: dict[str, Label]
    currency: str
    lines: list[PrintedLine]
    sums: list[Field]
    due: Field
    in_words: str
    notes: list[Label]
    proof: str
    code: list[str]
    record: str


def page(invoice: Invoice) -> Page:
    """What is printed of a document that `check` has passed."""
    words, notes = wording().words, wording().notes
    is_preview = invoice.kind == "preview"
    due = words["to_pay"] if invoice.total_micro >= 0 else words["to_get"]
    if invoice.settled_until is not None:
        due = words["pay_so_far"] if invoice.total_micro >= 0 else words["get_so_far"]
    times = Label(f"{notes['times'].th} {invoice.zone}", f"{notes['times'].en} {invoice.zone}.")
    return Page(
        title=_title(invoice),
        is_preview=is_preview,
        so_far=_so_far(invoice),
        head=list(_head(invoice)),
        seller=_side("seller", invoice.seller),
        buyer=_side("buyer", invoice.buyer),
        headings={name: words[name] for name in ("what", "energy", "price", "amount", "code", "page")},
        currency=invoice.currency,
        lines=_lines(invoice),
        sums=list(_sums(invoice)),
        due=(due, _coins(abs(invoice.total_micro))),
        in_words=baht_text(abs(invoice.total_micro) // COIN_MICRO) if invoice.currency == "THB" else "",
        notes=[
            notes["signs"],
            *([notes["taxed"]] if invoice.vat_ppm else []),
            times,
            notes["preview" if is_preview else "verify"],
        ],
        proof="" if is_preview else proof_text(invoice),
        code=[] if is_preview else [invoice.code[at : at + _GROUP] for at in range(0, 64, _GROUP)],
        record=encode(invoice).decode(),
    )


def proof_text(invoice: Invoice) -> str:
    """What the QR code says: whoever has it can ask a ledger, or an export of it, for the same."""
    return f"energy-ledger:invoice:{invoice.community}:{invoice.number}:{invoice.code}"


def _title(invoice: Invoice) -> Label:
    """Only who is registered for the tax may call a document a tax invoice (Revenue Code, section 86/13)."""
    is_taxed = invoice.kind == "invoice" and invoice.vat_ppm and invoice.seller.tax_id
    is_part = invoice.settled_until is not None
    return wording().titles["tax-invoice" if is_taxed else "part" if is_part else invoice.kind]


def _so_far(invoice: Invoice) -> Label | None:
    if invoice.settled_until is None:
        return None
    until, words = invoice.settled_until.astimezone(ZoneInfo(invoice.zone)), wording().words
    label, more = words["settled_until"], words["more_will_come"]
    return Label(
        f"{label.th} {thai_date(until.date())} {until:%H:%M} น. {more.th}",
        f"{label.en} {until.day} {until:%b %Y %H:%M}; {more.en}",
    )


def _head(invoice: Invoice) -> Iterator[Field]:
    words = wording().words
    last = invoice.period_until - timedelta(days=1)
    if invoice.number:
        yield words["number"], invoice.number
    yield words["issued_on"], _day(invoice.issued_on)
    if invoice.kind != "credit-note" and invoice.settled_until is None:
        yield words["due_on"], _day(invoice.due_on)
    yield (
        words["period"],
        f"{thai_date(invoice.period_begin)} – {thai_date(last)}\n({invoice.period_begin} – {last})",
    )
    yield words["building"], f"{invoice.building} ({invoice.community})"
    if invoice.cancels:
        yield words["cancels"], invoice.cancels
        yield words["reason"], invoice.reason or "-"


def _side(name: str, party: Party) -> Side:
    words = wording().words
    fields = [
        (words[field], value)
        for field, value in (("tax_id", party.tax_id), ("branch", party.branch))
        if value
    ]
    return Side(words[name], party.name, party.address, fields)


def _lines(invoice: Invoice) -> list[PrintedLine]:
    charges = [line for line in invoice.lines if line.kind not in COMPUTED]
    places = places_of(line.amount_micro for line in charges)
    return [
        PrintedLine(
            wording().lines[line.kind],
            _detail(line, invoice.reference(number), ZoneInfo(invoice.zone)),
            "" if line.energy_milliwh is None else shown(line.energy_milliwh, ENERGY_PLACES),
            _price(line),
            shown(line.amount_micro, places),
        )
        for number, line in enumerate(charges, 1)
    ]


def _detail(line: InvoiceLine, reference: str, zone: ZoneInfo) -> str:
    words, parts = wording().words, [reference] if reference else []
    if line.begin is not None and line.until is not None:
        parts.append(f"{_local(line.begin, zone)} – {_local(line.until, zone)}")
    if line.share_ppm is not None and line.of_micro is not None:
        parts.append(
            f"{_percent(line.share_ppm)} {words['part'].th}/{words['part'].en} {_coins(line.of_micro)}"
        )
    if line.run is not None:
        parts.append(f"{words['run'].th}/{words['run'].en} {line.run}")
    return " · ".join(parts)


def _price(line: InvoiceLine) -> str:
    if not line.energy_milliwh:
        return ""
    return shown(divided(abs(line.amount_micro) * MILLIWH_PER_KWH, line.energy_milliwh), PRICE_PLACES)


def _sums(invoice: Invoice) -> Iterator[Field]:
    words, lines = wording().words, wording().lines
    charges = [line.amount_micro for line in invoice.lines if line.kind not in COMPUTED]
    rounding, vat = line_micro(invoice, "rounding"), line_micro(invoice, "vat")
    net = _coins(invoice.total_micro - vat)
    yield words["sum"], shown(sum(charges), places_of(charges))
    if rounding:
        yield lines["rounding"], shown(rounding, places_of([rounding]))
    if invoice.kind == "credit-note":
        # Section 86/10 (5): the value on the first document, the correct value, and what lies between.
        yield words["cancelled"], _coins(vat - invoice.total_micro)
        yield words["correct"], _coins(0)
        yield words["difference"], net
    elif invoice.vat_ppm:
        yield words["net"], net
    for line in invoice.lines:
        if line.kind == "vat":
            yield _vat_label(line), _coins(line.amount_micro)
    yield words["total"], _coins(invoice.total_micro)


def _vat_label(line: InvoiceLine) -> Label:
    label, rate = wording().lines["vat"], _percent(line.share_ppm or 0)
    return Label(
        f"{label.th} {rate} {wording().words['part'].th} {_coins(line.of_micro or 0)}", f"{label.en} {rate}"
    )


def _percent(ppm: int) -> str:
    return shown(ppm * _PERCENT, PRICE_PLACES).rstrip("0").removesuffix(".") + " %"


def _coins(micro: int) -> str:
    return shown(micro, COIN_PLACES)


def _day(day: date) -> str:
    return f"{thai_date(day)} ({day})"


def _local(instant: datetime, zone: ZoneInfo) -> str:
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M}"
