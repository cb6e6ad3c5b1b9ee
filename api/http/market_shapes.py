"""What is published of the market, as operators tell it and as everybody is told.

Bodies have the fields of `[market]` in the settings file; `begin` can be an instant as well.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from api.http.operator_shapes import KnownShape, RulesShape, rules_shape, tariff_shape
from api.http.order_shapes import InstantText
from ledger.event import Name, Natural
from ledger.events import read_recorded
from ledger.market_events import (
    GATE_MINUTES_MAX,
    Document,
    FileName,
    MarketRulesPublished,
    MechanismName,
    Ppm,
    Price,
    TariffPublished,
)
from ledger.postgres.audit import AuditRow
from settlement.settings import WheelingTable


class NewRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules to be published: all of them, not only what differs from those before. What is left out has its
    default, whatever it was before. `tariff` names one that is published. Without `begin` they hold from the
    first interval whose gate is open; a date is its first midnight on the community's clocks."""

    mechanism: MechanismName
    tariff: Name
    begin: InstantText | None = None
    gate_minutes: Annotated[int, msgspec.Meta(ge=0, le=GATE_MINUTES_MAX)] = 60
    final_days: Annotated[int, msgspec.Meta(ge=0, le=366)] = 7
    compensation_ppm: Ppm = 0
    split_ppm: Ppm = 500_000
    price_rule: Literal["midpoint", "seller", "buyer"] = "midpoint"
    key_kind: Literal["static", "proportional", "equal", "cascading"] = "proportional"
    keys: dict[Name, Natural] = {}
    operator_fee_micro_per_kwh: Price = 0
    contracted_w: Natural | None = None
    wheeling: list[WheelingTable] = []


class NewTariff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tariff to be published, or published anew. `document` is its file (TOML), `beside` the calendars of
    holidays and surcharges that it refers to, as `holidays/NAME.toml`; those that the ledger brings along may
    be left out. Without a document it is the ledger's own of that name."""

    tariff: Name
    document: Document | None = None
    beside: dict[FileName, Document] = {}


class Change(msgspec.Struct, frozen=True):
    """What a field was before, and what it is then."""

    field: str
    before: Any
    after: Any


class PublishedRules(msgspec.Struct, frozen=True):
    """Rules by their `number`, the sequence of their event in the stream `market`; `digest` is the SHA-256 of
    that event's body. They hold until `until`, where others begin."""

    number: int
    position: int
    digest: str
    until: datetime | None
    rules: RulesShape


class PublishedTariff(msgspec.Struct, frozen=True):
    """A publication of a tariff by its `number`, the sequence of its event in the stream `market`; `digest`
    is the SHA-256 of that event's body. `is_newest` tells whether it is what is settled by."""

    number: int
    position: int
    digest: str
    tariff: str
    is_newest: bool
    known: list[KnownShape]
    problem: str | None


class TariffText(msgspec.Struct, frozen=True):
    """A publication of a tariff with its texts, exactly as they stand in the book."""

    published: PublishedTariff
    document: str
    beside: dict[str, str]


class RulesAnswer(msgspec.Struct, frozen=True):
    """What came of publishing rules, or would come of it. `number` is there when they are in the book;
    without changes nothing is published, as the newest rules say the same."""

    published: bool
    counts_from: datetime
    changes: list[Change]
    number: int | None = None


class TariffAnswer(msgspec.Struct, frozen=True):
    """What came of publishing a tariff, or would come of it. From the local day `counts_from` on it says
    other than the publication before it: what was settled from there on is settled again. None where no rules
    name it yet, or where it says the same for as far as it is looked ahead. `changes` names the texts that
    differ."""

    published: bool
    counts_from: date | None
    changes: list[str]
    number: int | None = None


class Publication(NamedTuple):
    """An event of the market, and its place."""

    row: AuditRow
    event: MarketRulesPublished | TariffPublished


def publications(rows: Iterable[AuditRow]) -> list[Publication]:
    """The events of the stream `market`, read."""
    kept = list(rows)
    events = read_recorded([row.body for row in kept])
    return [
        Publication(row, event)
        for row, event in zip(kept, events, strict=True)
        if isinstance(event, MarketRulesPublished | TariffPublished)
    ]


def rules_list(all_of_them: Sequence[Publication], currency: str) -> list[PublishedRules]:
    """All rules in order of when they begin, which is that of their publication."""
    found = [(row, event) for row, event in all_of_them if isinstance(event, MarketRulesPublished)]
    ends = [*(event.begin for _, event in found[1:]), None]
    return [
        PublishedRules(row.sequence, row.position, row.body_hash.hex(), end, rules_shape(event, currency))
        for (row, event), end in zip(found, ends, strict=True)
    ]


def tariff_list(all_of_them: Sequence[Publication], today: date) -> list[PublishedTariff]:
    """All publications of tariffs, in order."""
    found = [(row, event) for row, event in all_of_them if isinstance(event, TariffPublished)]
    newest = {event.tariff: row.sequence for row, event in found}
    shapes = [(row, event, tariff_shape(event, today)) for row, event in found]
    return [
        PublishedTariff(
            row.sequence, row.position, row.body_hash.hex(), event.tariff,
            newest[event.tariff] == row.sequence, shape.known, shape.problem,
        )
        for row, event, shape in shapes
    ]  # fmt: skip


def changes_of(before: MarketRulesPublished | None, after: MarketRulesPublished) -> list[Change]:
    """The fields that differ, `begin` left aside."""
    names = [name for name in MarketRulesPublished.__struct_fields__ if name != "begin"]
    pairs = [(name, getattr(before, name, None), getattr(after, name)) for name in names]
    return [
        Change(name, msgspec.to_builtins(old), msgspec.to_builtins(new))
        for name, old, new in pairs
        if before is None or old != new
    ]
