"""An invoice or credit note as a fact: made once, numbered without gaps, never changed.

Its canonical JSON (RFC 8785) is what the book holds and what its `code` is the SHA-256 of, so whoever has the
document can tell whether it is the one that was issued. Amounts are exact to the micro-unit; `rounding` takes
the total to whole satang (cents), and is a line of its own.

A line says which intervals it is about and which settlement run decided them, so that `energy-ledger prove`
can walk from it to the signed readings.
"""

from datetime import date
from hashlib import sha256
from typing import Annotated, Literal

import msgspec

from ledger.canonical import encode
from ledger.event import Instant, Integer, Name, Natural, Positive, Salt, Text
from settlement.amounts import COIN_MICRO

Kind = Literal["preview", "invoice", "credit-note"]
LineKind = Literal[
    "grid-import",  # energy from the grid, at the tariff
    "grid-export",  # energy to the grid, at the feed-in price
    "bought",  # from neighbours
    "sold",  # to neighbours
    "wheeling",  # for lines between feeders
    "wheeling-loss",  # what was lost between feeders
    "loss",  # what the main meter shows and no building's does
    "operator-fee",
    "demand",  # the building's part of the campus's demand charge
    "levy",  # its part of what is levied on energy and power
    "service",  # its part of fixed charges
    "adjustment",  # what a correction changed in a period that was billed before
    "adjustment-supplied",  # what it changed in what the building itself supplied
    "vat",
    "rounding",
]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of an invoice."""


class Party(_Part, frozen=True):
    """Who bills or is billed, as the law wants it on a tax invoice."""

    name: Text
    address: Text = ""
    tax_id: Annotated[str, msgspec.Meta(max_length=20)] = ""
    branch: Text = ""


class InvoiceLine(_Part, frozen=True):
    """One line; amounts are what the building pays (+) or gets (-).

    `begin` and `until` bound the intervals that it sums up, `run` is the settlement run that decided them.
    `energy_milliwh` is absent where no energy is billed; `share_ppm` and `of_micro` tell a part of a whole.
    """

    kind: LineKind
    amount_micro: Integer
    begin: Instant | None = None
    until: Instant | None = None
    energy_milliwh: Natural | None = None
    of_micro: Natural | None = None
    run: Positive | None = None
    share_ppm: Natural | None = None


class Invoice(_Part, frozen=True):
    """The document. `number` is empty in a preview; a credit note `cancels` an earlier invoice's number.

    `period_begin` and `period_until` are local dates of `zone`, the second exclusive. A credit note says its
    `reason`, as the law asks. `coin_micro` is what amounts to be paid are whole multiples of. The preview of
    a month that is not over says until when it is settled, `settled_until`.
    """

    kind: Kind
    number: Annotated[str, msgspec.Meta(max_length=40)]
    community: Name
    building: Name
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$", max_length=3)]
    period_begin: date
    period_until: date
    issued_on: date
    due_on: date
    seller: Party
    buyer: Party
    lines: list[InvoiceLine]
    vat_ppm: Natural
    total_micro: Integer
    salt: Salt
    cancels: Annotated[str, msgspec.Meta(max_length=40)] = ""
    reason: Text = ""
    zone: Text = "UTC"
    coin_micro: Positive = COIN_MICRO
    settled_until: Instant | None = None

    def reference(self, line: int) -> str:
        """By which a line, counted from 1, can be proven; none in a preview."""
        return f"{self.number}/{line}" if self.number else ""

    @property
    def code(self) -> str:
        """The SHA-256 of the canonical form, in hex: by it the document can be verified."""
        return sha256(encode(self)).hexdigest()
