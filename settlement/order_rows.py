"""Orders and agreements as they are shown: how each stands at an instant, in the words of whoever asks.

Pure. The command line and the API show the same rows.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import msgspec

from ledger.market_events import Side
from settlement.order_book import BookedAgreement, BookedOrder, OrderBook

OrderState = Literal["will hold", "holds", "held", "never held"]
AgreementState = Literal["proposed", "will hold", "holds", "held", "never held"]


class OrderRow(msgspec.Struct, frozen=True):
    """An order; `until` is earlier than it was placed for where it was cancelled, and `begin` itself where
    that was before it began."""

    state: OrderState
    building: str
    order: str
    side: Side
    limit_micro_per_kwh: int
    energy_wh: int | None
    begin: datetime
    until: datetime
    clock_from: str | None
    clock_until: str | None


class AgreementRow(msgspec.Struct, frozen=True):
    """An agreement, or the proposal of one; `side` is that of the building that proposed it."""

    state: AgreementState
    proposer: str
    agreement: str
    side: Side
    partner: str
    price_micro_per_kwh: int
    energy_wh: int | None
    begin: datetime
    until: datetime
    accepted_since: datetime | None


def order_rows(book: OrderBook, now: datetime, building: str | None = None) -> Iterator[OrderRow]:
    """The orders of a building, or of all, by building and name; those of one name as they were placed."""
    for each in book.booked_orders(building):
        yield order_row(each, now)


def agreement_rows(book: OrderBook, now: datetime, building: str | None = None) -> Iterator[AgreementRow]:
    """The agreements with a building, or all, by proposer and name."""
    for each in book.booked_agreements(building):
        yield agreement_row(each, now)


def order_state(each: BookedOrder, now: datetime) -> OrderState:
    """How an order stands at an instant."""
    return _state(each.begin, each.until, now)


def order_row(each: BookedOrder, now: datetime) -> OrderRow:
    """An order as it stands at an instant."""
    placed = each.placed
    return OrderRow(
        order_state(each, now), each.building, placed.order, placed.side,
        placed.limit_micro_per_kwh, placed.energy_wh, placed.begin, max(placed.begin, each.until),
        placed.clock_from, placed.clock_until,
    )  # fmt: skip


def agreement_row(each: BookedAgreement, now: datetime) -> AgreementRow:
    """An agreement as it stands at an instant."""
    proposed = each.proposed
    return AgreementRow(
        agreement_state(each, now), each.proposer, proposed.agreement, proposed.side, proposed.partner,
        proposed.price_micro_per_kwh, proposed.energy_wh, each.begin, max(each.begin, each.until), each.since,
    )  # fmt: skip


def _state(begin: datetime, until: datetime, now: datetime) -> OrderState:
    if until <= begin:
        return "never held"
    return "will hold" if now < begin else "holds" if now < until else "held"


def agreement_state(each: BookedAgreement, now: datetime) -> AgreementState:
    """How an agreement, or the proposal of one, stands at an instant."""
    if each.since is None:
        return "proposed" if each.until > max(now, each.proposed.begin) else "never held"
    return _state(each.begin, each.until, now)
