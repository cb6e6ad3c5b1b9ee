"""What an invoice adds up to, and whether it does.

    charges     what is billed, exact to the micro-unit
    vat         on what the seller supplied: their sum in whole coins, times the rate, in whole coins again;
                so whoever computes it from the two figures on the paper finds the same
    rounding    takes the whole to coins; as the tax is whole already, so is the value without it

What a building gives to the grid or to its neighbours is a supply of its own. It is set off against what the
building pays, but the tax on it is not the seller's to show (Revenue Code, sections 77/2 and 86).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from ledger.canonical import encode
from ledger.errors import BadInput
from settlement.amounts import COIN_MICRO, PPM, divided, to_coins
from settlement.billing.invoice import Invoice, InvoiceLine
from settlement.billing.numbering import NumberInvalid, parse

COMPUTED = frozenset({"vat", "rounding"})
"""Lines that follow from the others."""

NOT_TAXED = frozenset({"grid-export", "sold", "adjustment-supplied"})
"""Lines about what the building supplied."""


class InvoiceInvalid(BadInput):
    """A document contradicts itself. It must not be issued."""

    code = "invoice-invalid"


class Totals(NamedTuple):
    """All lines of a document, and what is to be paid (+) or given back (-) in whole coins."""

    lines: list[InvoiceLine]
    total_micro: int


def totalled(charges: Iterable[InvoiceLine], vat_ppm: int, coin_micro: int = COIN_MICRO) -> Totals:
    """The charges with their tax and rounding. Negated charges have the negated total.

    There is a tax line where there is a rate, if only to say that nothing is taxed; a rounding line only
    where something is rounded. Raises `InvoiceInvalid` where charges hold such a line.
    """
    lines = list(charges)
    if any(line.kind in COMPUTED for line in lines):
        raise InvoiceInvalid("tax and rounding follow from the charges and cannot be given")
    if vat_ppm:
        lines.append(_vat(lines, vat_ppm, coin_micro))
    exact = sum(line.amount_micro for line in lines)
    total = to_coins(exact, coin_micro)
    if total != exact:
        lines.append(InvoiceLine("rounding", total - exact))
    return Totals(lines, total)


def _vat(charges: Iterable[InvoiceLine], vat_ppm: int, coin_micro: int) -> InvoiceLine:
    base = to_coins(sum(line.amount_micro for line in charges if line.kind not in NOT_TAXED), coin_micro)
    tax = divided(abs(base) * vat_ppm, PPM * coin_micro) * coin_micro
    return InvoiceLine("vat", tax if base >= 0 else -tax, of_micro=abs(base), share_ppm=vat_ppm)


def reversed_lines(lines: Iterable[InvoiceLine]) -> list[InvoiceLine]:
    """The charges among lines with every amount turned round, as a credit note has them."""
    return [
        msgspec.structs.replace(line, amount_micro=-line.amount_micro)
        for line in lines
        if line.kind not in COMPUTED
    ]


def line_micro(invoice: Invoice, kind: str) -> int:
    """What the lines of a kind come to."""
    return sum(line.amount_micro for line in invoice.lines if line.kind == kind)


def check(invoice: Invoice) -> None:
    """Raises `InvoiceInvalid`, naming all that is wrong, unless the document may be issued."""
    faults = list(_faults(invoice))
    if faults:
        raise InvoiceInvalid("; ".join(faults), where=invoice.number or f"preview of {invoice.building}")


def _faults(invoice: Invoice) -> Iterator[str]:
    try:
        msgspec.json.decode(encode(invoice), type=Invoice)
    except (msgspec.ValidationError, OverflowError) as error:
        yield str(error)  # a quantity below zero, an instant without a zone, a text that is too long
        return
    yield from (what for what, holds in _RULES.items() if not holds(invoice))
    for number, line in enumerate(invoice.lines, 1):
        yield from (
            f"line {number} ({line.kind}): {what}" for what, holds in _LINE_RULES.items() if not holds(line)
        )
    yield from _sums(invoice)


def _sums(invoice: Invoice) -> Iterator[str]:
    charges = (line for line in invoice.lines if line.kind not in COMPUTED)
    found = totalled(charges, invoice.vat_ppm, invoice.coin_micro)
    if found.total_micro != invoice.total_micro:
        yield f"the total is {invoice.total_micro} micro-units, the lines come to {found.total_micro}"
    if found.lines != invoice.lines:
        yield "the lines do not end with the tax and the rounding that follow from the others"


def _is_number(text: str) -> bool:
    try:
        return bool(parse(text))
    except NumberInvalid:
        return False


def _is_zone(name: str) -> bool:
    try:
        return bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


_RULES: dict[str, Callable[[Invoice], bool]] = {
    "a preview has no number": lambda it: it.kind != "preview" or not it.number,
    "an invoice and a credit note have a number": lambda it: it.kind == "preview" or _is_number(it.number),
    "a credit note cancels a number": lambda it: it.kind != "credit-note" or _is_number(it.cancels),
    "only a credit note cancels": lambda it: it.kind == "credit-note" or not it.cancels,
    "a credit note does not cancel itself": lambda it: not it.cancels or it.cancels != it.number,
    "the period begins before it ends": lambda it: it.period_begin < it.period_until,
    "it is issued after its period has begun": lambda it: it.period_begin <= it.issued_on,
    "what is issued for good has a period that is over": lambda it: (
        it.kind == "preview" or it.period_until <= it.issued_on
    ),
    "it is not due before it is issued": lambda it: it.issued_on <= it.due_on,
    "only a preview is of part of a period": lambda it: it.kind == "preview" or it.settled_until is None,
    "it has lines": lambda it: bool(it.lines),
    "its time zone exists": lambda it: _is_zone(it.zone),
}

_LINE_RULES: dict[str, Callable[[InvoiceLine], bool]] = {
    "its intervals have a begin and an end": lambda it: (it.begin is None) == (it.until is None),
    "its intervals begin before they end": lambda it: (
        it.begin is None or it.until is None or it.begin < it.until
    ),
    "it says which intervals it is about": lambda it: it.kind in COMPUTED or it.begin is not None,
    "it says which run decided it": lambda it: it.kind in COMPUTED or it.run is not None,
    "a part is of a whole": lambda it: (it.share_ppm is None) == (it.of_micro is None),
    "a part is not more than its whole": lambda it: it.share_ppm is None or it.share_ppm <= PPM,
}
