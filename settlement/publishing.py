"""What the settings say of the market and the book does not yet: the events that bring it up to date."""

from datetime import datetime, timedelta

import msgspec

from ledger.event import Event
from ledger.grid import Grid
from ledger.market import Market
from ledger.market_events import MarketRulesPublished, TariffPublished, WheelingRule
from settlement.month import midnight
from settlement.settings import MarketSettings
from settlement.tariff import Tariff, parse_tariff, tariff_documents
from settlement.utility_bill import ContractMissing

_AS_PUBLISHED = (
    "mechanism", "gate_minutes", "final_days", "compensation_ppm", "split_ppm", "price_rule", "key_kind",
    "keys", "operator_fee_micro_per_kwh", "contracted_w",
)  # fmt: skip


def missing_events(market: Market, settings: MarketSettings, grid: Grid, now: datetime) -> list[Event]:
    """The tariff and the rules that `settings` ask for, where `market` lacks them.

    The first rules hold from the interval that is under way, later ones from the first one whose gate is
    still open, and none before the day that the settings name. Raises
    `UnknownTariff`, `TariffInvalid` and what else a tariff's files can lack, and `ContractMissing`.
    """
    documents = tariff_documents(settings.tariff)
    _check(parse_tariff(*documents), settings)  # what nobody can settle by is not published
    tariff = TariffPublished(
        tariff=documents.name, document=documents.document, beside=dict(documents.beside)
    )
    events: list[Event] = [] if market.tariffs.get(tariff.tariff) == tariff else [tariff]
    last = market.rules[-1] if market.rules else None
    rules = MarketRulesPublished(
        begin=_begin(market, settings, grid, now),
        tariff=tariff.tariff,
        wheeling=[WheelingRule(*msgspec.structs.astuple(each)) for each in settings.wheeling],
        **{name: getattr(settings, name) for name in _AS_PUBLISHED},
    )
    if last is None or msgspec.structs.replace(last, begin=rules.begin) != rules:
        events.append(rules)
    return events


def _check(tariff: Tariff, settings: MarketSettings) -> None:
    if settings.contracted_w is None and any(version.capacity for version in tariff.file.versions):
        raise ContractMissing(
            f"the tariff {tariff.name} bills contracted power",
            where="[market]",
            hint="say how much, in watts: contracted_w = 1500000",
        )


def _begin(market: Market, settings: MarketSettings, grid: Grid, now: datetime) -> datetime:
    begin = grid.floor(now)
    if market.rules:
        after_the_last = market.rules[-1].begin + timedelta(seconds=grid.step)
        begin = max(market.first_open(grid, now), after_the_last)
    return max(begin, midnight(settings.begin, grid.zone)) if settings.begin else begin
