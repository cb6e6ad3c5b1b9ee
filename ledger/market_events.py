"""The facts of the market: by what rules, who wants to trade at what price, what was settled and billed.

Orders and agreements are sealed at gate closure: they hold for intervals that are still far enough ahead when
they are recorded (`gate_minutes` of the market's rules), never for the past. So a settlement follows from the
book alone, whenever it is run.
"""

from typing import Annotated, Literal

import msgspec

from ledger.event import Event, HashHex, Instant, Name, Natural, Positive, Salt

Side = Literal["sell", "buy"]
MechanismName = Literal[
    "sharing_key", "mid_market_rate", "supply_demand_ratio", "bill_sharing", "uniform_price", "pay_as_bid"
]
Ppm = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Document = Annotated[str, msgspec.Meta(max_length=256 * 1024)]
ClockTime = Annotated[
    str, msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)|^24:00$(?!\n)", max_length=5)
]
FileName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9._/-]{1,80}$(?!\n)", max_length=80)]
DocumentNumber = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._/-]{1,40}$(?!\n)", max_length=40)]

PRICE_MICRO_MAX = 10**11
"""A hundred thousand of the currency a kilowatt-hour: dearer than energy is anywhere, and small enough for
what it comes to in a month to be a number in JSON."""
Price = Annotated[int, msgspec.Meta(ge=0, le=PRICE_MICRO_MAX)]

GATE_MINUTES_MAX = 7 * 24 * 60
SETTLEMENT = "settlement"
"""The stream of runs and documents."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of an event."""


# --- rules: stream `market`, by an operator -----------------------------------------------------


class WheelingRule(_Part, frozen=True):
    """What it takes to bring energy from one feeder to another."""

    source: Name
    target: Name
    fee_micro_per_kwh: Price = 0
    loss_ppm: Ppm = 0


class TariffPublished(Event, tag="tariff-published/1", frozen=True):
    """A tariff as its file tells it (TOML), and the files that it refers to: holidays, surcharges.

    A later publication of the same name takes the place of the earlier one for all that is settled after it.
    """

    tariff: Name
    document: Document
    beside: dict[FileName, Document] = msgspec.field(default_factory=dict)


class MarketRulesPublished(Event, tag="market-rules-published/1", frozen=True):
    """The rules for intervals from `begin` on, until the next ones.

    `contracted_w` is the power that the campus has contracted, where its tariff bills that.
    """

    begin: Instant
    mechanism: MechanismName
    tariff: Name
    gate_minutes: Annotated[int, msgspec.Meta(ge=0, le=GATE_MINUTES_MAX)]
    final_days: Annotated[int, msgspec.Meta(ge=0, le=366)]  # after a month's end it is settled for good
    compensation_ppm: Ppm = 0
    split_ppm: Ppm = 500_000
    price_rule: Literal["midpoint", "seller", "buyer"] = "midpoint"
    key_kind: Literal["static", "proportional", "equal", "cascading"] = "proportional"
    keys: dict[Name, Natural] = msgspec.field(default_factory=dict)
    operator_fee_micro_per_kwh: Price = 0
    wheeling: list[WheelingRule] = msgspec.field(default_factory=list)
    contracted_w: Natural | None = None


# --- orders and agreements: stream `building/<id>`, by the building or on its behalf ---------------


class OrderPlaced(Event, tag="order-placed/1", frozen=True):
    """In every interval from `begin` to `until` the building would sell or buy at this limit or better.

    `energy_wh` is for each interval; without it the order stands for all that is metered. With `clock_from`
    and `clock_until` it holds within these local hours only, over midnight where the second is the earlier.
    """

    order: Name
    side: Side
    limit_micro_per_kwh: Price
    begin: Instant
    until: Instant
    salt: Salt
    energy_wh: Positive | None = None
    clock_from: ClockTime | None = None
    clock_until: ClockTime | None = None


class OrderCancelled(Event, tag="order-cancelled/1", frozen=True):
    """From `since` on the order no longer holds."""

    order: Name
    since: Instant
    salt: Salt


class AgreementProposed(Event, tag="agreement-proposed/1", frozen=True):
    """The building would sell to or buy from `partner` at a fixed price, before all other trade.

    `energy_wh` is for each interval at most; without it, all that both sides metered.
    """

    agreement: Name
    side: Side  # of the building that proposes
    partner: Name
    price_micro_per_kwh: Price
    begin: Instant
    until: Instant
    salt: Salt
    energy_wh: Positive | None = None


class AgreementAccepted(Event, tag="agreement-accepted/1", frozen=True):
    """The building agrees to what `proposer` proposed; it holds from `since` on."""

    agreement: Name
    proposer: Name
    since: Instant
    salt: Salt


class AgreementEnded(Event, tag="agreement-ended/1", frozen=True):
    """Either side ends an agreement, or takes a proposal back, from `since` on."""

    agreement: Name
    proposer: Name
    since: Instant
    salt: Salt


# --- what follows: stream `settlement`, by the service --------------------------------------------


class SettlementRun(Event, tag="settlement-run/1", frozen=True):
    """A settlement of the intervals of [begin, until), computed from the first `tree_size` events of the log.

    `rules` is the digest of the rules and tariffs that were in force, `result` that of all postings, so that
    anyone can compute both again. `settled` intervals are new, `revised` ones were settled before and are
    reversed first. A `final` run has neither: it closes a month, whose charges of the campus's bill it posts,
    and what changes there later is `revised`.
    """

    number: Positive
    kind: Literal["provisional", "final", "revised"]
    begin: Instant
    until: Instant
    tree_size: Positive
    root: HashHex
    rules: HashHex
    result: HashHex
    settled: Natural
    revised: Natural = 0


class InvoiceIssued(Event, tag="invoice-issued/1", frozen=True):
    """An invoice or credit note; `document` is its canonical JSON, `code` the SHA-256 of that."""

    number: DocumentNumber
    building: Name
    code: HashHex
    document: Document
    run: Positive  # the newest settlement run that it counts


MarketEvent = (
    TariffPublished
    | MarketRulesPublished
    | OrderPlaced
    | OrderCancelled
    | AgreementProposed
    | AgreementAccepted
    | AgreementEnded
    | SettlementRun
    | InvoiceIssued
)

MARKET_STREAM_KINDS: dict[type[Event], str] = {
    TariffPublished: "market",
    MarketRulesPublished: "market",
    OrderPlaced: "building",
    OrderCancelled: "building",
    AgreementProposed: "building",
    AgreementAccepted: "building",
    AgreementEnded: "building",
    SettlementRun: SETTLEMENT,
    InvoiceIssued: SETTLEMENT,
}
"""The kind of stream that each type of event belongs to."""

HOLDS_FROM: dict[type[Event], str] = {
    OrderPlaced: "begin",
    OrderCancelled: "since",
    AgreementProposed: "begin",
    AgreementAccepted: "since",
    AgreementEnded: "since",
}
"""The field with the instant from which an event changes what is traded: at gate closure or later."""
