"""What answers about one building look like."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import msgspec

from api.http.billing_shapes import month_word
from api.http.shapes import Amount, amount
from ledger.building_energy import Energy
from ledger.postgres.buildings import BuildingRow, IntervalRow, LinkRow, MeterRow, TradeRow
from settlement.billing.accounts import Statement
from settlement.brought import Brought
from settlement.savings import Savings

INSTANTS_MAX = 50_000
PAGES_MAX = 200


class BuildingShape(msgspec.Struct, frozen=True):
    """A building and the feeder that it hangs on."""

    building: str
    name: str
    feeder: str


def building_shape(row: BuildingRow) -> BuildingShape:
    """As the API shows it."""
    return BuildingShape(*row)


class IntervalShape(msgspec.Struct, frozen=True, gc=False):
    """What flowed in [start, end): from the grid into the building (`import_wh`), and the other way.

    `quality` is `measured`, `estimated`, or `incomplete` where one of its meters is not known yet.
    """

    start: datetime
    end: datetime
    import_wh: int
    export_wh: int
    quality: str


def interval_shape(row: IntervalRow, step: timedelta) -> IntervalShape:
    """As the API shows it."""
    return IntervalShape(row.start, row.start + step, row.import_wh, row.export_wh, row.quality)


def interval_shapes(found: Energy, step: timedelta) -> list[IntervalShape]:
    """Many of them."""
    starts, ends = _bounds(tuple(found.starts), int(step.total_seconds()))
    return [*map(IntervalShape, starts, ends, found.imports_wh, found.exports_wh, found.qualities)]


@lru_cache(PAGES_MAX)
def _bounds(starts: tuple[int, ...], step: int) -> tuple[list[datetime], list[datetime]]:
    """Starts and ends of a page's intervals; many buildings are asked for the same ones."""
    return [_instant(start) for start in starts], [_instant(start + step) for start in starts]


@lru_cache(INSTANTS_MAX)
def _instant(seconds: int) -> datetime:
    """An instant by the seconds since 1970; all buildings' intervals begin at the same ones."""
    return datetime.fromtimestamp(seconds, UTC)


# --- trades and savings --------------------------------------------------------------------------------


class Price(msgspec.Struct, frozen=True):
    """A price: `micro_per_kwh` is exact, `decimal` the same in units of `currency` a kilowatt-hour."""

    micro_per_kwh: int
    decimal: str
    currency: str


class FeesShape(msgspec.Struct, frozen=True):
    """What a buyer paid beside the price: for the way between feeders, for the energy lost on it
    (`loss_milliwh`), and to the operator."""

    wheeling: Amount
    loss_milliwh: int
    loss: Amount
    operator: Amount


class TradeShape(msgspec.Struct, frozen=True):
    """A trade from the building's side: what it sold or bought in the interval that begins at `start`.

    `number` is the trade's place in its interval. `partner` is told to the building itself and to nobody
    else. `fees` are the buyer's; a seller pays none.
    """

    start: datetime
    number: int
    side: str
    partner: str | None
    energy_milliwh: int
    price: Price
    amount: Amount
    fees: FeesShape | None


def trade_shape(row: TradeRow, building: str, currency: str, *, with_partner: bool) -> TradeShape:
    """As the API shows it to one side."""
    is_seller = row.seller == building
    partner = row.buyer if is_seller else row.seller
    each = row.price_micro_per_kwh
    return TradeShape(
        row.start, row.number, "sell" if is_seller else "buy", partner if with_partner else None,
        row.energy_milliwh, Price(each, amount(each, currency).decimal, currency),
        amount(row.amount_micro, currency), None if is_seller else _fees(row, currency),
    )  # fmt: skip


def _fees(row: TradeRow, currency: str) -> FeesShape:
    return FeesShape(
        amount(row.wheeling_micro, currency), row.loss_milliwh, amount(row.loss_micro, currency),
        amount(row.operator_micro, currency),
    )  # fmt: skip


class SavingsShape(msgspec.Struct, frozen=True):
    """A month's settled intervals, against the grid alone.

    `cost` is what the building pays for its energy: `paid` to neighbours less `earned` from them, `fees`,
    `grid_cost` less `grid_income`; below zero it is income. What the market does not change is not in it, nor
    in the `saving`: demand and fixed charges, taxes, and the building's part of the campus's losses, `loss`.
    `cost` and `loss` together are the cost of the same month's statement.
    """

    building: str
    month: str
    intervals: int
    import_milliwh: int
    export_milliwh: int
    bought_milliwh: int
    sold_milliwh: int
    paid: Amount
    earned: Amount
    fees: Amount
    grid_cost: Amount
    grid_income: Amount
    cost: Amount
    loss: Amount
    cost_without_market: Amount
    saving: Amount


def savings_shape(building: str, month: date, found: Savings, currency: str) -> SavingsShape:
    """As the API shows it."""
    sums = found.brought
    money = (
        sums.paid_micro, sums.earned_micro, sums.fees_micro, sums.grid_cost_micro, sums.grid_income_micro,
        sums.market_micro, sums.loss_micro, found.without_micro, found.saving_micro,
    )  # fmt: skip
    return SavingsShape(
        building, month_word(month), found.intervals,
        sums.grid_import_milliwh + sums.bought_milliwh, sums.grid_export_milliwh + sums.sold_milliwh,
        sums.bought_milliwh, sums.sold_milliwh,
        *(amount(micro, currency) for micro in money),
    )  # fmt: skip


# --- the statement -------------------------------------------------------------------------------------


class BroughtShape(msgspec.Struct, frozen=True):
    """What intervals brought a building; `cost` is what it pays for them before tax, below zero what it gets.

    `cost` is exactly `grid_cost` + `paid` + `fees` + `loss` - `earned` - `grid_income`: what the grid asked,
    what neighbours were paid, wheeling with what is lost on the way and the operator's fee, the building's
    part of what the main meter shows and no building's meter does, what neighbours paid, what the grid gave.
    """

    grid_import_milliwh: int
    bought_milliwh: int
    sold_milliwh: int
    grid_export_milliwh: int
    grid_cost: Amount
    paid: Amount
    earned: Amount
    grid_income: Amount
    fees: Amount
    loss: Amount
    cost: Amount


class DayShape(BroughtShape, frozen=True):
    """A local day, with what it brought."""

    day: date


Figures = tuple[int, int, int, int, Amount, Amount, Amount, Amount, Amount, Amount, Amount]


def brought_figures(found: Brought, currency: str) -> Figures:
    """The fields of a `BroughtShape`."""
    return (
        found.grid_import_milliwh, found.bought_milliwh, found.sold_milliwh, found.grid_export_milliwh,
        amount(found.grid_cost_micro, currency), amount(found.paid_micro, currency),
        amount(found.earned_micro, currency), amount(found.grid_income_micro, currency),
        amount(found.fees_micro, currency), amount(found.loss_micro, currency),
        amount(found.cost_micro, currency),
    )  # fmt: skip


class StatementShape(msgspec.Struct, frozen=True):
    """A month day by day, its documents, and what of it is not billed yet; `total` are all days together.

    `charges` is the building's part of the campus's demand and fixed charges, none until the month is closed.
    """

    building: str
    month: str
    currency: str
    settled_until: datetime | None
    days: list[DayShape]
    total: BroughtShape | None
    charges: Amount | None
    documents: list[str]
    unbilled: Amount


def statement_shape(found: Statement) -> StatementShape:
    """As the API shows it."""
    currency, charges = found.currency, found.charges_micro
    return StatementShape(
        found.building, month_word(found.month), currency, found.settled_until,
        [DayShape(*brought_figures(each.brought, currency), each.day) for each in found.days],
        BroughtShape(*brought_figures(found.total, currency)) if found.days else None,
        None if charges is None else amount(charges, currency),
        [each.number for each in found.documents], amount(found.unbilled_micro, currency),
    )  # fmt: skip


# --- meters --------------------------------------------------------------------------------------------


class HeadShape(msgspec.Struct, frozen=True):
    """The newest link of a chain: its sequence, and its entry hash in hex."""

    sequence: int
    hash: str


class MeterShape(msgspec.Struct, frozen=True):
    """A meter of the building and the head of its chain, which is none before its first reading."""

    meter: str
    role: str
    model: str
    rated_w: int
    since: datetime
    until: datetime | None
    head: HeadShape | None


def meter_shape(row: MeterRow) -> MeterShape:
    """As the API shows it."""
    return MeterShape(row.meter, row.role, row.model, row.rated_w, row.since, row.until, head_shape(row))


def head_shape(row: MeterRow) -> HeadShape | None:
    """The head of its chain."""
    if row.sequence is None or row.hash is None:
        return None
    return HeadShape(row.sequence, row.hash.hex())


class LinkShape(msgspec.Struct, frozen=True):
    """An event of a stream. `body` is the text that was signed, byte for byte, and `body_hash` its
    SHA-256; `hash` is SHA-256(0x00 || entry), where the entry is six lines, each ended by a newline:
    `energy-ledger/v1`, community, stream, sequence, previous, body_hash. `position` is its place in the log.
    """

    sequence: int
    position: int
    previous: str
    body_hash: str
    hash: str
    body: str


def link_shape(row: LinkRow) -> LinkShape:
    """As the API shows it."""
    return LinkShape(
        row.sequence, row.position, row.previous.hex(), row.body_hash.hex(), row.entry_hash.hex(),
        row.body.decode(),
    )  # fmt: skip


class ChainShape(msgspec.Struct, frozen=True):
    """A page of a meter's chain, the head that it leads to, and the cursor of the next page."""

    stream: str
    head: HeadShape | None
    items: Sequence[LinkShape]
    next: str | None


class HeldShape(msgspec.Struct, frozen=True):
    """The event of `stream` that holds a document, and that it is in the log.

    The event's `body` is JSON, with the `document` as it is served and its `code`. `proof` is a C2SP
    tlog-proof of the event's `hash`, up to the newest checkpoint.
    """

    stream: str
    event: LinkShape
    proof: str
