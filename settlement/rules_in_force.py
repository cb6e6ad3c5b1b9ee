"""The rules and tariffs that hold for an interval, as the book has published them up to some position."""

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from ledger.canonical import encode
from ledger.market_events import MarketRulesPublished
from ledger.registry import Registry
from settlement.interval import Rules
from settlement.market import Routes, Wheeling
from settlement.mechanisms import Parameters
from settlement.tariff import Tariff, parse_tariff
from settlement.tariff_file import NoPrice


class OtherCurrency(NoPrice):
    """A tariff is in another currency than the community that would settle by it."""

    code = "other-currency"


class OtherZone(NoPrice):
    """A tariff's days and hours are not those of the community that would settle by it."""

    code = "other-zone"


def check_fits(tariff: Tariff, currency: str, zone: str) -> None:
    """Return if a tariff is in the community's currency and time zone.

    Raises `OtherCurrency`, `OtherZone`.
    """
    if tariff.file.zone != zone:
        raise OtherZone(
            f"the tariff {tariff.name} tells its days and hours in {tariff.file.zone}, the community's are in"
            f" {zone}",
            where="market.tariff",
            hint=f'put zone = "{zone}" and the hours that are meant there into a copy of its file'
            " (`energy-ledger tariffs --copy`)",
        )
    if tariff.file.currency != currency:
        raise OtherCurrency(
            f"the tariff {tariff.name} is in {tariff.file.currency}, the community is in {currency}",
            where="market.tariff",
            hint=f"name a tariff in {currency}, or put its amounts into {currency} in a copy of its file"
            f" (`energy-ledger tariffs --copy`)",
        )


class InForce(NamedTuple):
    """What an interval is settled by."""

    rules: Rules
    tariff: Tariff
    contracted_w: int | None = None


class RulesInForce:
    """The published rules of one community, on the state of its registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._made: dict[datetime, InForce] = {}
        self._feeders = {name: building.feeder for name, building in registry.buildings.items()}

    @property
    def begin(self) -> datetime | None:
        """Since when there are rules; before that nothing is settled."""
        rules = self._registry.market.rules
        return rules[0].begin if rules else None

    def published(self, start: datetime) -> MarketRulesPublished | None:
        """The rules for the interval that starts at an instant."""
        return self._registry.market.rules_at(start)

    def at(self, start: datetime) -> InForce | None:
        """The same, made ready; none before the first rules. Raises `NoPrice` for what the tariff lacks."""
        published = self.published(start)
        if published is None:
            return None
        if published.begin not in self._made:
            told = self._registry.market.tariffs[published.tariff]
            tariff = parse_tariff(told.tariff, told.document, told.beside)
            if self._registry.opened is not None:
                check_fits(tariff, self._registry.opened.currency, self._registry.opened.zone)
            self._made[published.begin] = InForce(
                _rules(published, self._feeders.__getitem__), tariff, published.contracted_w
            )
        return self._made[published.begin]

    def digest(self, begin: datetime, until: datetime) -> bytes:
        """SHA-256 over all that the intervals from `begin` to `until` are settled by, as canonical JSON."""
        market = self._registry.market
        later = [rules.begin for rules in market.rules[1:]]
        holding = [
            rules
            for rules, end in zip(market.rules, [*later, None], strict=True)
            if rules.begin < until and (end is None or end > begin)
        ]
        tariffs = {rules.tariff: market.tariffs[rules.tariff] for rules in holding}
        return sha256(encode({"buildings": self._feeders, "rules": holding, "tariffs": tariffs})).digest()


def _rules(published: MarketRulesPublished, feeder_of: Callable[[str], str]) -> Rules:
    return Rules(
        published.mechanism,
        Parameters(
            published.compensation_ppm, published.split_ppm, published.price_rule, published.key_kind,
            published.keys,
        ),
        Routes({(w.source, w.target): Wheeling(w.fee_micro_per_kwh, w.loss_ppm) for w in published.wheeling}),
        feeder_of,
        published.operator_fee_micro_per_kwh,
    )  # fmt: skip
