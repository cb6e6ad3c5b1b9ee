"""What the journal gets from a document: that which is decided by the bill and not by any interval.

All else is in the journal already: energy interval by interval, and the charges of the campus's bill by
month. With these postings the building's account comes to what its documents ask for, and the journal still
sums to zero.
"""

from collections.abc import Iterator

from settlement.billing.invoice import Invoice
from settlement.journal import Posting, building_account, transfer

TAX = "tax"
ROUNDING = "rounding"

_COUNTER_ACCOUNT = {"vat": TAX, "rounding": ROUNDING}


def billed(invoice: Invoice) -> Iterator[Posting]:
    """The postings of an invoice or a credit note."""
    account = building_account(invoice.building)
    for line in invoice.lines:
        if line.kind in _COUNTER_ACCOUNT:
            yield from transfer(line.kind, _COUNTER_ACCOUNT[line.kind], account, 0, line.amount_micro)
