"""What the settings say of the market and the book does not yet: the events that bring it up to date."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Protocol

import msgspec

from ledger.canonical import encode
from ledger.entry import is_name
from ledger.event import Event
from ledger.grid import Grid
from ledger.market import Market
from ledger.market_events import MarketRulesPublished, TariffPublished, WheelingRule
from ledger.settings import Settings, SettingsInvalid
from ledger.words import did_you_mean
from settlement.month import midnight
from settlement.rules_in_force import check_fits
from settlement.settings import MarketSettings, needs_keys
from settlement.tariff import (
    Documents,
    NoSinglePrice,
    Tariff,
    UnknownTariff,
    parse_tariff,
    tariff_documents,
)
from settlement.utility_bill import ContractMissing

_AS_PUBLISHED = (
    "mechanism", "gate_minutes", "final_days", "compensation_ppm", "split_ppm", "price_rule", "key_kind",
    "keys", "operator_fee_micro_per_kwh", "contracted_w",
)  # fmt: skip


class WayTold(Protocol):
    """From one feeder to another."""

    @property
    def source(self) -> str:
        """From which."""

    @property
    def target(self) -> str:
        """To which."""


class RulesTold(Protocol):
    """Rules that somebody would publish, wherever they were told."""

    @property
    def mechanism(self) -> str:
        """How it trades."""

    @property
    def key_kind(self) -> str:
        """Whose shares a sharing key counts."""

    @property
    def keys(self) -> Mapping[str, int]:
        """The buildings' shares."""

    @property
    def wheeling(self) -> Sequence[WayTold]:
        """What it takes from feeder to feeder."""

    @property
    def contracted_w(self) -> int | None:
        """What the campus has contracted."""


NEVER_APPLIED: Mapping[str, str] = {}
_ANY_BEGIN = datetime(2000, 1, 1, tzinfo=UTC)


def missing_events(
    market: Market,
    settings: MarketSettings,
    book: Settings,
    now: datetime,
    applied: Mapping[str, str] = NEVER_APPLIED,
) -> list[Event]:
    """The tariff and the rules that `settings` ask for, where `market` lacks them.

    What was `applied` before, by the digests of `asked_for`, and is not what the book has by now was followed
    by something that was published otherwise: it is left alone until the settings ask for something new.

    The first rules hold from the interval that is under way, later ones from the first one whose gate is
    still open, and none before the day that the settings name. Raises as `checked_documents` does.
    """
    return [
        event
        for part, event in _wanted(market, settings, book, now).items()
        if not _is_said(market, event) and applied.get(part) != _digest(event)
    ]


def asked_for(market: Market, settings: MarketSettings, book: Settings, now: datetime) -> Mapping[str, str]:
    """What `settings` ask for, as the digests of its parts: of the tariff, and of the rules whenever they
    begin. Raises as `checked_documents` does."""
    return {part: _digest(event) for part, event in _wanted(market, settings, book, now).items()}


def _wanted(market: Market, settings: MarketSettings, book: Settings, now: datetime) -> Mapping[str, Event]:
    documents = checked_documents(settings, book)
    grid = Grid(book.community.interval_minutes, book.community.zone)
    tariff = TariffPublished(
        tariff=documents.name, document=documents.document, beside=dict(documents.beside)
    )
    rules = MarketRulesPublished(
        begin=_begin(market, settings, grid, now),
        tariff=tariff.tariff,
        wheeling=[WheelingRule(*msgspec.structs.astuple(each)) for each in settings.wheeling],
        **{name: getattr(settings, name) for name in _AS_PUBLISHED},
    )
    return {"tariff": tariff, "rules": rules}


def _is_said(market: Market, event: Event) -> bool:
    """Whether the book says the same by now."""
    if isinstance(event, TariffPublished):
        return market.tariffs.get(event.tariff) == event
    return bool(market.rules) and _whenever(market.rules[-1]) == _whenever(event)


def _digest(event: Event) -> str:
    return sha256(encode(_whenever(event))).hexdigest()


def _whenever(event: Event) -> Event:
    """Rules without when they begin; anything else as it is."""
    if isinstance(event, MarketRulesPublished):
        return msgspec.structs.replace(event, begin=_ANY_BEGIN)
    return event


def checked_documents(settings: MarketSettings, book: Settings) -> Documents:
    """The tariff's documents; what nobody can settle by is not published.

    `book` are the tables of the book beside the market. Raises `UnknownTariff`, `NoPrice` for what a tariff's
    files lack or do not fit, `ContractMissing`, and `SettingsInvalid` for a building or a feeder that is not
    listed, for missing keys and for a name that the book cannot have.
    """
    try:
        documents = tariff_documents(settings.tariff)
    except UnknownTariff as error:
        error.where = "market.tariff"
        raise
    if not is_name(documents.name):
        raise SettingsInvalid(
            f"the book cannot call a tariff {documents.name!r}",
            where="market.tariff",
            hint="rename its file: before .toml there are 1 to 64 of [a-z0-9._-], no capitals, no spaces",
        )
    tariff = checked_tariff(documents, book.community.currency, book.community.zone)
    buildings = [building.id for building in book.buildings]
    check_rules(settings, tariff, buildings, [feeder.id for feeder in book.feeders])
    return documents


def checked_tariff(documents: Documents, currency: str, zone: str) -> Tariff:
    """The tariff that documents tell, if a community can settle by it. Raises `NoPrice`."""
    tariff = parse_tariff(*documents)
    check_fits(tariff, currency, zone)
    for period in tariff.file.versions[-1].periods:
        if len(period.steps) > 1:
            raise NoSinglePrice(
                f"the tariff {tariff.name} has blocks: what a kilowatt-hour costs depends on the month's sum",
                where="market.tariff",
                hint="an interval is settled at a price of its own: name a tariff with one price a period, or"
                " put that of the block in which the campus ends into a copy of its file",
            )
    return tariff


def check_rules(rules: RulesTold, tariff: Tariff, buildings: Sequence[str], feeders: Sequence[str]) -> None:
    """Return if a community of these buildings and feeders can settle by rules under a tariff.

    Raises `ContractMissing` and `SettingsInvalid`.
    """
    if rules.contracted_w is None and any(version.capacity for version in tariff.file.versions):
        raise ContractMissing(
            f"the tariff {tariff.name} bills contracted power",
            where="[market]",
            hint="say how much, in watts: contracted_w = 1500000",
        )
    _check_named(rules, sorted(buildings), sorted(feeders))
    if needs_keys(rules.mechanism, rules.key_kind) and not any(rules.keys.values()):
        raise SettingsInvalid(
            f"a {rules.key_kind} key needs the buildings' shares",
            where="market.keys",
            hint="tell them, such as keys = {mall = 500_000, school = 300_000, clinic = 200_000}",
        )


def _check_named(rules: RulesTold, buildings: Sequence[str], feeders: Sequence[str]) -> None:
    """Return if the rules name buildings and feeders that there are. Raises `SettingsInvalid`."""
    named = [(f"market.keys.{building}", "building", building, buildings) for building in rules.keys]
    for number, way in enumerate(rules.wheeling):
        place = f"market.wheeling[{number}]"
        named += [
            (f"{place}.from", "feeder", way.source, feeders),
            (f"{place}.to", "feeder", way.target, feeders),
        ]
        if any((way.source, way.target) == (each.source, each.target) for each in rules.wheeling[:number]):
            raise SettingsInvalid(f"wheeling from {way.source} to {way.target} is told twice", where=place)
    for where, what, name, known in named:
        if name not in known:
            raise SettingsInvalid(
                f"there is no {what} {name}",
                where=where,
                hint=f"{did_you_mean(name, known)}{what}s: {', '.join(known) or 'none'}",
            )


def _begin(market: Market, settings: MarketSettings, grid: Grid, now: datetime) -> datetime:
    begin = grid.floor(now)
    if market.rules:
        after_the_last = market.rules[-1].begin + timedelta(seconds=grid.step)
        begin = max(market.first_open(grid, now), after_the_last)
    return max(begin, midnight(settings.begin, grid.zone)) if settings.begin else begin
