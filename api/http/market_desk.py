"""Publishing rules and tariffs: judged as `energy-ledger provision` judges them, then appended by a turn.

All that can be known is told before anything is written, so a dry run and the publication say the same. Rules
begin where the gate is still open, and after those before them: nobody's sealed order is cleared by
rules that it did not know. A tariff that is published anew is a correction, and counts for all that its rules
have settled.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from api.http.backend import Backend
from api.http.desk import OrderDesk
from api.http.market_shapes import NewRules, NewTariff, RulesAnswer, TariffAnswer, changes_of, publications
from api.http.operator_signing import Turn
from ledger.clock import rfc3339
from ledger.errors import BadInput, LedgerError
from ledger.event import Event
from ledger.events import YEAR_MAX, YEAR_MIN
from ledger.grid import Grid
from ledger.market import GateClosed, Market, check_rules
from ledger.market_events import MarketRulesPublished, TariffPublished, WheelingRule
from ledger.postgres.audit import AuditStore
from settlement import publishing
from settlement.book_state import BookState
from settlement.ordering import Words
from settlement.tariff import (
    Documents,
    Tariff,
    UnknownTariff,
    completed,
    first_difference,
    parse_tariff,
    tariff_documents,
    tariff_names,
)
from settlement.tariff_file import NoPrice

STREAM = "market"
LOOKED_AHEAD = timedelta(days=800)
AS_TOLD = (
    "mechanism", "tariff", "gate_minutes", "final_days", "compensation_ppm", "split_ppm", "price_rule",
    "key_kind", "keys", "operator_fee_micro_per_kwh", "contracted_w",
)  # fmt: skip


class Judged(NamedTuple):
    """Rules that can be published, and those before them."""

    event: MarketRulesPublished
    before: MarketRulesPublished | None

    def answer(self, number: int | None = None, *, published: bool = False) -> RulesAnswer:
        """What there is to tell of them."""
        changes = changes_of(self.before, self.event)
        begin = self.event.begin if changes or self.before is None else self.before.begin
        return RulesAnswer(published, begin, changes, number)


class JudgedTariff(NamedTuple):
    """A tariff that can be published, the publication before it, and from what day on they differ."""

    event: TariffPublished
    before: TariffPublished | None
    counts_from: date | None

    @property
    def changes(self) -> list[str]:
        """The texts that differ."""
        old, new = _texts(self.before), _texts(self.event)
        return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))

    def answer(self, number: int | None = None, *, published: bool = False) -> TariffAnswer:
        """What there is to tell of it."""
        return TariffAnswer(published, self.counts_from, self.changes, number)


def _texts(event: TariffPublished | None) -> dict[str, str]:
    return {} if event is None else {"document": event.document, **event.beside}


class MarketDesk:
    """One process's, for one community."""

    def __init__(self, backend: Backend, orders: OrderDesk) -> None:
        self._backend = backend
        self._orders = orders

    async def rules(self, wanted: NewRules, *, dry_run: bool) -> RulesAnswer:
        """Publish rules, unless the newest say the same; or tell what would come of it.

        Raises `GateClosed`, `Contradiction`, `SettingsInvalid`, `NoPrice`, `UnknownTariff`, and as a turn.
        """
        if dry_run:
            return self._judged(await self._orders.book(), wanted).answer()
        async with self._backend.operator.turn(STREAM) as turn:
            judged = self._judged(await self._orders.book_by(turn.connection), wanted)
            answer = judged.answer()
            if not answer.changes:
                return answer
            return judged.answer(await self._append(turn, judged.event), published=True)

    async def tariff(self, wanted: NewTariff, *, dry_run: bool) -> TariffAnswer:
        """Publish a tariff, unless its newest publication has the same texts; or tell what would come of it.

        Raises `NoPrice`, `UnknownTariff`, `ContractMissing`, and as a turn does.
        """
        if dry_run:
            return self._judged_tariff(await self._orders.book(), wanted).answer()
        async with self._backend.operator.turn(STREAM) as turn:
            judged = self._judged_tariff(await self._orders.book_by(turn.connection), wanted)
            if not judged.changes:
                return judged.answer()
            return judged.answer(await self._append(turn, judged.event), published=True)

    async def _append(self, turn: Turn, event: Event) -> int:
        """Append an event; its sequence."""
        await turn.append(event)
        rows = await AuditStore(self._backend.pool, self._backend.community).market()
        return max(each.row.sequence for each in publications(rows) if each.event == event)

    # --- judging -----------------------------------------------------------------------------

    def _judged(self, book: BookState, wanted: NewRules) -> Judged:
        market, grid, now = book.registry.market, book.grid, self._backend.clock.now()
        with _named_as_here():
            if wanted.tariff not in market.tariffs:
                raise _unknown(
                    wanted.tariff, list(market.tariffs), "publish it first: POST .../market/tariffs"
                )
            told = market.tariffs[wanted.tariff]
            documents = Documents(told.tariff, told.document, told.beside)
            tariff = publishing.checked_tariff(documents, *self._terms(book))
            registry = book.registry
            publishing.check_rules(wanted, tariff, list(registry.buildings), list(registry.feeders))
        event = MarketRulesPublished(
            begin=_begin(_told_begin(wanted, grid), market, grid, now),
            wheeling=[
                WheelingRule(each.source, each.target, each.fee_micro_per_kwh, each.loss_ppm)
                for each in wanted.wheeling
            ],
            **{name: getattr(wanted, name) for name in AS_TOLD},
        )
        judged = Judged(event, market.rules[-1] if market.rules else None)
        if changes_of(judged.before, event):
            market.with_rules(event, grid, registry.buildings, registry.feeders)
            check_rules(event, market, now)
        return judged

    def _judged_tariff(self, book: BookState, wanted: NewTariff) -> JudgedTariff:
        market = book.registry.market
        with _named_as_here():
            documents = _documents(wanted)
            tariff = publishing.checked_tariff(documents, *self._terms(book))
            naming = [rules for rules in market.rules if rules.tariff == wanted.tariff]
            for rules in _to_come(market.rules, self._backend.clock.now()):
                if rules.tariff == wanted.tariff:
                    publishing.check_rules(rules, tariff, list(rules.keys), _feeders(rules))
        event = TariffPublished(
            tariff=documents.name, document=documents.document, beside=dict(documents.beside)
        )
        before = market.tariffs.get(event.tariff)
        counts_from = None
        if naming:
            zone = book.grid.zone
            begin = naming[0].begin.astimezone(zone).date()
            until = self._backend.clock.now().astimezone(zone).date() + LOOKED_AHEAD
            counts_from = begin
            if before is not None and (old := _parsed(before)) is not None:
                counts_from = first_difference(old, tariff, begin, until)
        return JudgedTariff(event, before, counts_from)

    def _terms(self, book: BookState) -> tuple[str, str]:
        opened = book.registry.opened
        assert opened is not None  # noqa: S101 - a book with a grid was opened
        return opened.currency, opened.zone


def _told_begin(wanted: NewRules, grid: Grid) -> datetime | None:
    """The instant that was told, if one was, as of orders. Raises `BadCell`."""
    return None if wanted.begin is None else Words(grid).instant(wanted.begin, "begin")


def _begin(wanted: datetime | None, market: Market, grid: Grid, now: datetime) -> datetime:
    """From when on rules hold. Raises `GateClosed` for an instant that has passed, and `BadInput`."""
    earliest = grid.floor(now)
    if market.rules:
        after_the_last = market.rules[-1].begin + timedelta(seconds=grid.step)
        earliest = max(market.first_open(grid, now), after_the_last)
    if wanted is None:
        return earliest
    if not YEAR_MIN < wanted.year < YEAR_MAX:
        raise BadInput(f"rules cannot begin in the year {wanted.year}", where="begin")
    begin = wanted.astimezone(UTC)
    if grid.floor(begin) != begin:
        raise BadInput(
            "no interval starts at this instant",
            where="begin",
            hint=f"intervals have {grid.step // 60} minutes",
        )
    if not market.rules and begin < earliest:
        raise GateClosed(
            f"the interval of {rfc3339(begin)} is over", where="begin",
            hint=f"rules can begin at {rfc3339(earliest)} or later",
        )  # fmt: skip
    return begin


def _documents(wanted: NewTariff) -> Documents:
    if wanted.document is not None:
        return completed(wanted.tariff, wanted.document, wanted.beside)
    if wanted.beside:
        raise BadInput("what is beside a tariff needs its document", where="document")
    if wanted.tariff not in tariff_names():
        raise _unknown(wanted.tariff, tariff_names(), "give its document")
    return tariff_documents(wanted.tariff)


def _unknown(name: str, known: Sequence[str], hint: str) -> UnknownTariff:
    there = f"; there are: {', '.join(sorted(known))}" if known else ""
    return UnknownTariff(f"there is no tariff {name!r}", where="tariff", hint=f"{hint}{there}")


def _to_come(rules: Sequence[MarketRulesPublished], now: datetime) -> Sequence[MarketRulesPublished]:
    """Those that hold now or will."""
    begun = [each for each in rules if each.begin <= now]
    return [*begun[-1:], *(each for each in rules if each.begin > now)]


def _feeders(rules: MarketRulesPublished) -> list[str]:
    return [feeder for way in rules.wheeling for feeder in (way.source, way.target)]


def _parsed(event: TariffPublished) -> Tariff | None:
    try:
        return parse_tariff(event.tariff, event.document, event.beside)
    except NoPrice:
        return None


@contextmanager
def _named_as_here() -> Iterator[None]:
    """What is wrong, by the fields of the request and not by those of the settings file."""
    try:
        yield
    except LedgerError as error:
        error.where = error.where.removeprefix("market.").strip("[]") or "tariff"
        if error.where == "market":
            error.where = "contracted_w"
        raise
