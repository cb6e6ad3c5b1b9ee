"""From postings to documents: what a building is billed for a month, as pure functions.

A month's lines sum up what was posted to the building's account, by kind and direction, and its parts of the
campus's fixed charges. What later runs changed in months that were billed before comes as adjustments, so no
invoice is ever touched again.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import NamedTuple

from ledger.postgres.billing import PostedRow
from settlement.billing.invoice import InvoiceLine, LineKind
from settlement.billing.totals import NOT_TAXED
from settlement.shared_bill import Charge

_LINES: dict[tuple[str, bool], LineKind] = {
    ("trade", True): "bought",
    ("trade", False): "sold",
    ("grid-import", True): "grid-import",
    ("grid-export", False): "grid-export",
    ("wheeling", False): "wheeling",
    ("loss", False): "loss",
    ("operator-fee", False): "operator-fee",
}
"""Kind of posting, and whether the building took energy by it -> kind of line, in the order of the lines."""


class Period(NamedTuple):
    """Local dates and the instants that bound them; the ends are exclusive."""

    first: date
    last: date
    begin: datetime
    until: datetime


def posted_lines(rows: Iterable[PostedRow], period: Period) -> list[InvoiceLine]:
    """The lines of a month, out of what was posted."""
    return [
        InvoiceLine(
            kind=_LINES[row.kind, row.took],
            amount_micro=-row.amount_micro,
            begin=period.begin,
            until=period.until,
            energy_milliwh=abs(row.energy_milliwh) or None,
            run=row.run,
        )
        for row in sorted(rows, key=lambda row: list(_LINES).index((row.kind, row.took)))
        if row.amount_micro or row.energy_milliwh
    ]


def adjustment_lines(rows: Sequence[PostedRow], period: Period) -> list[InvoiceLine]:
    """What later runs changed in a month that was billed: a line, and one for what the building supplied."""
    found = []
    kinds: tuple[tuple[LineKind, bool], ...] = (("adjustment", True), ("sold", False))
    for kind, is_taxed in kinds:
        changed = [row for row in rows if (_LINES[row.kind, row.took] not in NOT_TAXED) == is_taxed]
        amount = -sum(row.amount_micro for row in changed)
        if amount:
            run = max(row.run for row in changed)
            found.append(
                InvoiceLine(kind=kind, amount_micro=amount, begin=period.begin, until=period.until, run=run)
            )
    return found


def charge_lines(charges: Iterable[Charge], building: str, period: Period) -> list[InvoiceLine]:
    """A building's parts of the campus's fixed charges."""
    return [
        InvoiceLine(
            kind=charge.kind,
            amount_micro=charge.amount_micro,
            begin=period.begin,
            until=period.until,
            of_micro=charge.of_micro,
            share_ppm=charge.share_ppm,
        )
        for charge in charges
        if charge.building == building and charge.amount_micro
    ]
