"""The market as the registry knows it: the tariffs published and the rules that hold from when.

Also the gate: what orders and agreements may still change. Pure; `ledger.registry` keeps a market and
`ledger.admission` asks it.
"""

from collections.abc import Container
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ledger.clock import rfc3339
from ledger.errors import BadInput, Contradiction
from ledger.event import Event
from ledger.grid import Grid
from ledger.market_events import (
    HOLDS_FROM,
    AgreementProposed,
    MarketRulesPublished,
    OrderPlaced,
    TariffPublished,
)

SENDING = timedelta(seconds=10)
"""What is sent at the last moment comes too late: what opens next is told with so much to spare."""


class GateClosed(BadInput):
    """An order or agreement would change what is being traded already."""

    code = "gate-closed"


@dataclass(frozen=True, slots=True)
class Market:
    """Published tariffs by name, and rules in order of the instant from which they hold."""

    tariffs: dict[str, TariffPublished] = field(default_factory=dict)
    rules: tuple[MarketRulesPublished, ...] = ()

    def with_tariff(self, event: TariffPublished) -> "Market":
        """The market with a tariff published, or published anew."""
        return replace(self, tariffs={**self.tariffs, event.tariff: event})

    def with_rules(
        self, event: MarketRulesPublished, grid: Grid, buildings: Container[str], feeders: Container[str]
    ) -> "Market":
        """The market with rules that follow the ones before. Raises `Contradiction`."""
        if event.tariff not in self.tariffs:
            raise Contradiction(
                "there is no such tariff", where=event.tariff, hint="publish the tariff first"
            )
        if self.rules and event.begin <= self.rules[-1].begin:
            raise Contradiction(
                f"rules hold from {rfc3339(self.rules[-1].begin)} on already: these would overlap them",
                where=rfc3339(event.begin),
                hint="let them begin later",
            )
        _check_boundary(event.begin, grid)
        for building in event.keys:
            if building not in buildings:
                raise Contradiction(f"keys: there is no building {building}", where=building)
        pairs = [(rule.source, rule.target) for rule in event.wheeling]
        for pair in pairs:
            way = "wheeling from {} to {}".format(*pair)
            for feeder in pair:
                if feeder not in feeders:
                    raise Contradiction(f"{way}: there is no feeder {feeder}", where=feeder)
            if pairs.count(pair) > 1:
                raise Contradiction(f"{way} is told twice", where=" to ".join(pair))
        return replace(self, rules=(*self.rules, event))

    def rules_at(self, instant: datetime) -> MarketRulesPublished | None:
        """The rules for the interval that starts at `instant`; none before the first."""
        return next((rules for rules in reversed(self.rules) if rules.begin <= instant), None)

    def gate(self, now: datetime) -> datetime:
        """The first instant that is still open to orders and agreements."""
        rules = self.rules_at(now)
        return now + timedelta(minutes=rules.gate_minutes) if rules else now

    def gate_after(self, instant: datetime) -> datetime:
        """The earliest that the gate can have been at any time from an instant on, by the rules of now."""
        later = [rules.begin for rules in self.rules if rules.begin > instant]
        return min(self.gate(each) for each in (instant, *later))

    def first_open(self, grid: Grid, now: datetime) -> datetime:
        """The first interval whose gate is still open when what is written now arrives."""
        gate = self.gate(now + SENDING)
        begun = grid.floor(gate)
        return begun if begun == gate else begun + timedelta(seconds=grid.step)


def check_rules(event: MarketRulesPublished, market: Market, now: datetime) -> None:
    """Return if rules leave alone what is being traded already. Raises `GateClosed`."""
    if market.rules and event.begin < market.gate(now):
        raise GateClosed(
            f"the gate is closed for {rfc3339(event.begin)}",
            where="market",
            hint=f"rules can change from {rfc3339(market.gate(now))} on",
        )


def check_orders(
    event: Event, building: str, market: Market, grid: Grid, buildings: Container[str], now: datetime
) -> None:
    """Return if what a building wants can be taken. Raises `GateClosed` or `Contradiction`."""
    holds_from: datetime = getattr(event, HOLDS_FROM[type(event)])
    if holds_from < market.gate(now):
        raise GateClosed(
            f"the gate is closed for {rfc3339(holds_from)}",
            where=building,
            hint=f"orders and agreements can begin, end or change from {rfc3339(market.gate(now))} on",
        )
    _check_boundary(holds_from, grid)
    if isinstance(event, OrderPlaced | AgreementProposed):
        if event.until <= event.begin:
            raise Contradiction("it ends before it begins", where=_local(event.until, grid))
        _check_boundary(event.until, grid)
    if isinstance(event, OrderPlaced) and (event.clock_from is None) != (event.clock_until is None):
        raise Contradiction("a window of hours has two ends", where=event.order)
    if isinstance(event, AgreementProposed):
        if event.partner == building:
            raise Contradiction("a building makes no agreement with itself", where=building)
        if event.partner not in buildings:
            raise Contradiction(f"there is no building {event.partner}", where=event.partner)


def _check_boundary(instant: datetime, grid: Grid) -> None:
    at = int(instant.timestamp())
    if grid.boundary(at) != at:
        raise Contradiction(
            "no interval starts at this instant",
            where=_local(instant, grid),
            hint=f"intervals have {grid.step // 60} minutes",
        )


def _local(instant: datetime, grid: Grid) -> str:
    """An instant on the community's clocks; with its seconds, where it has any."""
    local = f"{instant.astimezone(grid.zone):%Y-%m-%d %H:%M:%S}".removesuffix(":00")
    return f"{local} ({grid.zone.key})"
