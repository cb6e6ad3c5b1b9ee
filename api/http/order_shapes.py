"""Orders and agreements as the API takes and shows them."""

from datetime import datetime
from typing import Annotated

import msgspec

from api.http.desk import Written
from api.http.shapes import Amount, amount
from ledger.event import Name, Positive
from ledger.market_events import ClockTime, Price, Side
from settlement.order_rows import AgreementRow, AgreementState, OrderRow, OrderState

InstantText = Annotated[
    str,
    msgspec.Meta(
        max_length=40,
        description="RFC 3339, such as 2026-07-01T00:00:00Z; without an offset, on the community's clocks.",
    ),
]
DecimalText = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{1,9}(\.[0-9]{1,6})?$(?!\n)", max_length=16, description="A decimal number: 3.20."
    ),
]


class NewOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In every interval from `begin` to `until` the building would sell or buy at this limit or better.

    The limit is a kilowatt-hour's, told once: in whole micro-units or as a decimal number of the currency.
    Without `order` it gets a name; without `energy_wh`, which is for each interval, it stands for all that is
    metered; without `begin` it holds from the first interval whose gate is still open. With `clock_from` and
    `clock_until` it holds within these local hours only, over midnight where the second is the earlier.
    """

    side: Side
    until: InstantText
    order: Name | None = None
    limit_micro_per_kwh: Price | None = None
    limit: DecimalText | None = None
    energy_wh: Positive | None = None
    begin: InstantText | None = None
    clock_from: ClockTime | None = None
    clock_until: ClockTime | None = None


class OrderEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From `since` on the order no longer holds; without it from the first interval that is open."""

    since: InstantText | None = None


class NewAgreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The building would sell to or buy from `partner` at a fixed price, before all other trade.

    The price is a kilowatt-hour's, told once: in whole micro-units or as a decimal number of the currency.
    Without `agreement` it gets a name; without `energy_wh`, which is for each interval at most, it stands for
    all that both sides meter.
    """

    side: Side
    partner: Name
    until: InstantText
    agreement: Name | None = None
    price_micro_per_kwh: Price | None = None
    price: DecimalText | None = None
    energy_wh: Positive | None = None
    begin: InstantText | None = None


class AgreementYes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which building proposed it, and from when on it holds: without `since` as early as it can."""

    proposer: Name
    since: InstantText | None = None


class AgreementEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which building proposed it, if not the one that ends it, and from when on it no longer holds."""

    proposer: Name | None = None
    since: InstantText | None = None


class OrderShape(msgspec.Struct, frozen=True):
    """An order; `limit` is a kilowatt-hour's, `until` earlier than placed for where it was cancelled. One
    that was cancelled before it began `never held`, and its `until` is its `begin`."""

    state: OrderState
    order: str
    building: str
    side: Side
    limit: Amount
    energy_wh: int | None
    begin: datetime
    until: datetime
    clock_from: str | None
    clock_until: str | None


class AgreementShape(msgspec.Struct, frozen=True):
    """An agreement, or the proposal of one; `side` is the proposer's, `price` a kilowatt-hour's."""

    state: AgreementState
    agreement: str
    proposer: str
    partner: str
    side: Side
    price: Amount
    energy_wh: int | None
    begin: datetime
    until: datetime
    accepted_since: datetime | None


class InBook(msgspec.Struct, frozen=True):
    """Where in the book the event stands by which it was done, and from when on that counts.

    `stream` and `sequence` are what a proof of inclusion is asked by, `position` is its place in the log.
    """

    stream: str
    sequence: int
    position: int
    recorded_at: datetime
    counts_from: datetime


class OrderWritten(msgspec.Struct, frozen=True):
    """An order as it stands now, and the event that has just changed it."""

    order: OrderShape
    receipt: InBook


class AgreementWritten(msgspec.Struct, frozen=True):
    """An agreement as it stands now, and the event that has just changed it."""

    agreement: AgreementShape
    receipt: InBook


def order_shape(row: OrderRow, currency: str) -> OrderShape:
    """As the API shows it."""
    return OrderShape(
        row.state, row.order, row.building, row.side, amount(row.limit_micro_per_kwh, currency),
        row.energy_wh, row.begin, row.until, row.clock_from, row.clock_until,
    )  # fmt: skip


def agreement_shape(row: AgreementRow, currency: str) -> AgreementShape:
    """As the API shows it."""
    return AgreementShape(
        row.state, row.agreement, row.proposer, row.partner, row.side,
        amount(row.price_micro_per_kwh, currency), row.energy_wh, row.begin, row.until, row.accepted_since,
    )  # fmt: skip


def in_book(written: Written) -> InBook:
    """Where it stands."""
    place = written.place
    return InBook(written.stream, place.sequence, place.position, place.recorded_at, written.counts_from)
