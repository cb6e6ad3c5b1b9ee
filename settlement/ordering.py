"""From a person's words to an event of the market: orders and agreements, checked before they are sent.

What is checked is what the ledger checks, by the same functions, and besides what it takes without effect: a
name that is in use, or one that names nothing. Pure.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from ledger.entry import is_name
from ledger.errors import BadInput, Contradiction
from ledger.event import Event, new_salt
from ledger.events import AnyEvent
from ledger.grid import Grid
from ledger.market import GateClosed, check_orders
from ledger.market_events import (
    HOLDS_FROM,
    AgreementAccepted,
    AgreementEnded,
    AgreementProposed,
    OrderCancelled,
    OrderPlaced,
    Side,
)
from ledger.registry import Registry
from ledger.words import did_you_mean
from settlement.amounts import MICRO, MILLIWH_PER_WH
from settlement.known_building import check_building
from settlement.order_book import BookedAgreement, OrderBook
from settlement.plain.values import MILLIWH_MAX, PRICE_MAX, BadCell, instant
from settlement.tariff_file import is_short

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00")


ENERGY_WH_MAX = MILLIWH_MAX // MILLIWH_PER_WH
ORDERS_OPEN_MAX = 500
"""That a building may have which have not ended: more than one for each interval of five days."""
AGREEMENTS_OPEN_MAX = 500
"""That a building may have proposed which have not ended, accepted or not. Those that it was proposed do not
count, or others could keep it from proposing any."""
AGREEMENTS_WITH_ONE_MAX = 50
"""Of these, with one partner: so long its list may become by one neighbour's doing."""


class NameInUse(BadInput):
    """A building has an order or a proposal of this name already."""

    code = "name-in-use"


class TooManyOrders(Contradiction):
    """A building has as many orders as one may have that have not ended."""

    code = "too-many-orders"


class TooManyAgreements(Contradiction):
    """A building has proposed as many agreements as one may have that have not ended, in all or with one
    partner."""

    code = "too-many-agreements"


class UnknownOrder(BadInput):
    """A building has no such order, or it has ended."""

    code = "unknown-order"


class UnknownAgreement(BadInput):
    """No such agreement was proposed, or it has ended."""

    code = "unknown-agreement"


class NotAParty(BadInput):
    """Who proposed an agreement cannot accept it."""

    code = "not-a-party"


def price_micro(price: Decimal, where: str) -> int:
    """A price in decimals of the currency, in micro-units a kilowatt-hour. Raises `BadCell`."""
    if not (is_short(price, 6) and 0 <= price * MICRO <= PRICE_MAX):
        raise BadCell(
            f"{price} is no price",
            where=where,
            hint=f"what a kWh costs is meant, in the currency: from 0 to {PRICE_MAX // MICRO:,}, with at most"
            " six decimals, such as 3.20",
        )
    return int(price * MICRO)


def clock_window(begin: str | None, until: str | None) -> tuple[str | None, str | None]:
    """A window of local hours, or none. Raises `BadCell`."""
    for text, where in ((begin, "--from"), (until, "--to")):
        if text is not None and not _CLOCK.fullmatch(text):
            raise BadCell(f"{text!r} is no time of day", where=where, hint="write it as 22:00")
    if (begin is None) != (until is None):
        raise BadCell("a window of hours has two ends", where="--from", hint="give both or none")
    if begin is not None and begin == until:
        raise BadCell("the window of hours is empty", where="--to", hint="leave both out for the whole day")
    return begin, until


@dataclass(frozen=True)
class Words:
    """What buildings say, as events of a community whose intervals are known and whose book is not.

    So an instant has to be named, and whether something can hold is for the ledger to say.
    """

    grid: Grid

    def first_open(self) -> datetime:
        """The first interval whose gate is still open. Raises `BadCell`: here nobody can know it."""
        raise BadCell(
            "from when on it holds has to be said where the ledger's store cannot be asked",
            where="--begin or --since",
            hint="write it as 2026-07-01T00:00, on the community's clocks",
        )

    def check(self, building: str, event: Event) -> None:
        """Return if it can be sent; whether the book takes it is for the ledger to say. Raises `BadCell`."""
        _named(building)

    def check_signer(self, device: str, key: str, building: str, event: AnyEvent) -> None:
        """Return if a device may write this with its key, as far as that is known here."""

    def instant(self, text: str, where: str) -> datetime:
        """RFC 3339, or local time without an offset. Raises `BadCell`."""
        try:
            return datetime.fromtimestamp(instant(text, self.grid.zone), UTC)
        except BadCell as error:
            error.where = where
            raise

    def shown(self, at: datetime) -> str:
        """An instant on the community's clocks."""
        return f"{at.astimezone(self.grid.zone):%Y-%m-%d %H:%M}"

    def placed(
        self, building: str, name: str, side: Side, price_micro_per_kwh: int, energy_wh: int | None,
        span: tuple[str | None, str], window: tuple[str | None, str | None],
    ) -> OrderPlaced:  # fmt: skip
        """An order. Raises a `BadInput` that says what does not fit."""
        begin, until = self._span(*span)
        event = OrderPlaced(
            order=_named(name), side=side, limit_micro_per_kwh=price_micro_per_kwh, begin=begin, until=until,
            salt=new_salt(), energy_wh=_energy(energy_wh), clock_from=window[0], clock_until=window[1],
        )  # fmt: skip
        self.check(building, event)
        return event

    def cancelled(self, building: str, name: str, since: str | None) -> OrderCancelled:
        """The end of an order. Raises `UnknownOrder` and what `placed` raises."""
        event = OrderCancelled(order=_named(name), since=self._since(since), salt=new_salt())
        self.check(building, event)
        return event

    def proposed(
        self, building: str, name: str, side: Side, partner: str, price_micro_per_kwh: int,
        energy_wh: int | None, span: tuple[str | None, str],
    ) -> AgreementProposed:  # fmt: skip
        """A proposal. Raises a `BadInput` that says what does not fit."""
        begin, until = self._span(*span)
        event = AgreementProposed(
            agreement=_named(name), side=side, partner=_named(partner),
            price_micro_per_kwh=price_micro_per_kwh, begin=begin, until=until, salt=new_salt(),
            energy_wh=_energy(energy_wh),
        )  # fmt: skip
        self.check(building, event)
        return event

    def accepted(self, building: str, name: str, proposer: str, since: str | None) -> AgreementAccepted:
        """A partner's yes. Raises `UnknownAgreement`, `NotAParty`, `Contradiction`."""
        at = self._since(since)
        event = AgreementAccepted(
            agreement=_named(name), proposer=_named(proposer), since=at, salt=new_salt()
        )
        self.check(building, event)
        return event

    def ended(self, building: str, name: str, proposer: str, since: str | None) -> AgreementEnded:
        """The end of an agreement, or of a proposal. Raises `UnknownAgreement`."""
        at = self._since(since)
        event = AgreementEnded(agreement=_named(name), proposer=_named(proposer), since=at, salt=new_salt())
        self.check(building, event)
        return event

    def _span(self, begin: str | None, until: str) -> tuple[datetime, datetime]:
        first = self.first_open() if begin is None else self.instant(begin, "--begin")
        return first, self.instant(until, "--until")

    def _since(self, since: str | None) -> datetime:
        return self.first_open() if since is None else self.instant(since, "--since")


@dataclass(frozen=True)
class Desk(Words):
    """The same beside the book: what it has of the community, at an instant."""

    registry: Registry
    orders: OrderBook
    now: datetime

    def first_open(self) -> datetime:
        """The first interval whose gate is still open when what is written now arrives."""
        return self.registry.market.first_open(self.grid, self.now)

    def check(self, building: str, event: Event) -> None:
        """Return if the book takes it, and with effect. Raises a `BadInput` that says what does not fit."""
        check_building(building, self.registry.buildings)
        match event:
            case AgreementProposed():
                check_building(event.partner, self.registry.buildings)
            case AgreementAccepted() | AgreementEnded():
                check_building(event.proposer, self.registry.buildings)
        try:
            check_orders(event, building, self.registry.market, self.grid, self.registry.buildings, self.now)
        except GateClosed as error:
            raise GateClosed(
                f"the gate is closed for {self.shown(getattr(event, HOLDS_FROM[type(event)]))}",
                where=building,
                hint=f"it can hold from {self.shown(self.first_open())} on ({self.grid.zone.key})",
            ) from error
        match event:
            case OrderPlaced():
                self._check_name(building, event)
                self._check_orders_open(building)
            case OrderCancelled():
                self._check_order(building, event)
            case AgreementProposed():
                if self.orders.agreement(building, event.agreement) is not None:
                    what = f"{building} has proposed an agreement of this name"
                    raise NameInUse(what, where=event.agreement, hint="name another")
                self._check_agreements_open(building, event.partner)
            case AgreementAccepted() | AgreementEnded():
                self._check_agreement(building, event)

    def check_signer(self, device: str, key: str, building: str, event: AnyEvent) -> None:
        """Return if a device may write this with its key. Raises `UnknownDevice`, `NotPermitted`, .."""
        self.registry.key_of(device, key)
        self.registry.check_may_write(device, f"building/{building}", [event])

    def accepted(self, building: str, name: str, proposer: str, since: str | None) -> AgreementAccepted:
        """The same; what begins later is accepted from its beginning on."""
        known = self.orders.agreement(proposer, name)
        is_asked = known is not None and known.proposed.partner == building
        if since is None and known is not None and is_asked and known.proposed.begin > self.first_open():
            since = known.proposed.begin.isoformat()
        return super().accepted(building, name, proposer, since)

    # --- what it takes -----------------------------------------------------------------------

    def _check_name(self, building: str, event: OrderPlaced) -> None:
        before = self.orders.order(building, event.order, event.begin)
        if before is not None:
            raise NameInUse(
                f"{building} has an order of this name until {self.shown(before.until)}",
                where=event.order,
                hint="name another, let this one begin then, or cancel the other first",
            )

    def _check_orders_open(self, building: str) -> None:
        if len(self.orders.open_orders(building, self.first_open())) >= ORDERS_OPEN_MAX:
            raise TooManyOrders(
                f"{building} has {ORDERS_OPEN_MAX} orders that have not ended", where=building,
                hint="cancel one, or let one that ends later stand for several",
            )  # fmt: skip

    def _check_agreements_open(self, building: str, partner: str) -> None:
        found = self.orders.open_agreements(building, self.first_open())
        partners = [each.proposed.partner for each in found if each.proposer == building]
        if len(partners) >= AGREEMENTS_OPEN_MAX:
            what = f"{AGREEMENTS_OPEN_MAX} agreements"
        elif partners.count(partner) >= AGREEMENTS_WITH_ONE_MAX:
            what = f"{partner} {AGREEMENTS_WITH_ONE_MAX} agreements"
        else:
            return
        raise TooManyAgreements(
            f"{building} has proposed {what} that have not ended", where=building,
            hint="end one, or let one that ends later stand for several",
        )  # fmt: skip

    def _check_order(self, building: str, event: OrderCancelled) -> None:
        name = event.order
        if self.orders.order(building, name, event.since) is not None:
            return
        what, meant = f"ends before {self.shown(event.since)}", ""
        if not self.orders.named(building, name):
            names = [each.placed.order for each in self.orders.open_orders(building, self.first_open())]
            what, meant = "is not there", did_you_mean(name, names)
        raise UnknownOrder(
            f"this order of {building} {what}", where=name, hint=f"{meant}the list of orders shows them all"
        )

    def _check_agreement(self, building: str, event: AgreementAccepted | AgreementEnded) -> None:
        known = self._agreement(building, event.proposer, event.agreement)
        where = f"{event.proposer} {event.agreement}"
        if isinstance(event, AgreementAccepted):
            if building != known.proposed.partner:
                raise NotAParty(f"{building} has made this proposal, it is for its partner", where=where)
            if known.since is not None:
                raise Contradiction(f"it is accepted since {self.shown(known.since)}", where=where)
        if known.until <= event.since:
            raise UnknownAgreement(
                f"this agreement ends on {self.shown(known.until)}, before it would change",
                where=where,
                hint="propose another",
            )

    def _agreement(self, building: str, proposer: str, name: str) -> BookedAgreement:
        """The agreement of that name, if the building is a party to it: of others' nothing is told, not even
        that there is one."""
        known = self.orders.agreement(proposer, name)
        if known is not None and building in (proposer, known.proposed.partner):
            return known
        found = self.orders.open_agreements(building, self.first_open())
        names = [each.proposed.agreement for each in found if each.proposer == proposer]
        raise UnknownAgreement(
            f"{proposer} has proposed no such agreement",
            where=name,
            hint=f"{did_you_mean(name, names)}the list of agreements shows them all",
        )


def _named(name: str) -> str:
    if not is_name(name):
        raise BadCell(
            f"{name[:80]!r} is no name that the book allows",
            hint="1 to 64 letters a-z, digits, `.`, `_` and `-`",
        )
    return name


def _energy(energy_wh: int | None) -> int | None:
    if energy_wh is not None and not 0 < energy_wh <= ENERGY_WH_MAX:
        raise BadCell(
            f"{energy_wh} is no energy for an interval",
            where="--energy-wh",
            hint=f"whole watt-hours from 1 to {ENERGY_WH_MAX:,} are meant; leave it out for all that is"
            " metered",
        )
    return energy_wh
