"""Who wants to trade at what price in an interval: orders and agreements, folded from the buildings' events.

Events take effect from the instant they name, never before, so the same events give the same orders for an
interval whenever it is asked about. What names an order or agreement that is not there changes nothing, nor
does one that is placed under the name of another that still holds.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Generic, TypeVar
from zoneinfo import ZoneInfo

from ledger.event import Event
from ledger.market_events import (
    AgreementAccepted,
    AgreementEnded,
    AgreementProposed,
    OrderCancelled,
    OrderPlaced,
)
from settlement.agreements import Agreement
from settlement.amounts import MILLIWH_PER_WH
from settlement.offers import Order

Key = tuple[datetime, str, str]
"""By when it was to begin, and of those that begin together by name; no two have the same."""
FIRST: Key = (datetime.min.replace(tzinfo=UTC), "", "")
"""Before all of them."""


@dataclass(slots=True)
class BookedOrder:
    """An order as it stands; `until` is earlier than it was placed for where it was cancelled."""

    building: str
    placed: OrderPlaced
    until: datetime

    @property
    def key(self) -> Key:
        """Its place in the list of its building."""
        return self.placed.begin, self.placed.order, self.placed.salt

    @property
    def begin(self) -> datetime:
        """From when on it holds."""
        return self.placed.begin

    def holds(self, start: datetime, local: datetime) -> bool:
        """Whether it counts in the interval that starts at an instant, `local` on the clock."""
        placed = self.placed
        return placed.begin <= start < self.until and _within(local, placed.clock_from, placed.clock_until)


@dataclass(slots=True)
class BookedAgreement:
    """An agreement as it stands; `until` is earlier than it was proposed for where it was ended."""

    proposer: str
    proposed: AgreementProposed
    until: datetime
    since: datetime | None = None  # accepted

    @property
    def key(self) -> Key:
        """Its place in the lists of both parties."""
        return self.proposed.begin, self.proposer, self.proposed.agreement

    @property
    def begin(self) -> datetime:
        """From when on it holds, if it is accepted."""
        return max(self.since or self.proposed.begin, self.proposed.begin)

    def holds(self, start: datetime) -> bool:
        """Whether it counts in the interval that starts at an instant."""
        return self.since is not None and self.begin <= start < self.until

    def agreed(self) -> Agreement:
        """Who sells how much to whom at what price."""
        proposed = self.proposed
        parties = (self.proposer, proposed.partner)
        seller, buyer = parties if proposed.side == "sell" else parties[::-1]
        energy = None if proposed.energy_wh is None else proposed.energy_wh * MILLIWH_PER_WH
        return Agreement(seller, buyer, proposed.price_micro_per_kwh, energy)


def _within(local: datetime, begin: str | None, until: str | None) -> bool:
    """Whether a local time lies in a window of hours, which may go over midnight."""
    if begin is None or until is None:
        return True
    clock = f"{local:%H:%M}"
    return begin <= clock < until if begin < until else clock >= begin or clock < until


MONTHS_MAX = 24
SPARE = timedelta(days=1)
"""For so long what has ended is looked at still: the instant that is asked about may be an earlier one."""

Booked = TypeVar("Booked", BookedOrder, BookedAgreement)


class _OfBuilding(Generic[Booked]):
    """What one building has: in the order of its list, and apart what has not ended. There may be much that
    has, and nobody looks through all of that."""

    def __init__(self) -> None:
        self._listed: list[Booked] = []
        self._open: list[Booked] = []

    def add(self, each: Booked) -> None:
        """Take one in."""
        insort(self._listed, each, key=_key)
        self._open.append(each)

    def after(self, key: Key) -> Iterator[Booked]:
        """Those behind a place of the list."""
        for at in range(bisect_right(self._listed, key, key=_key), len(self._listed)):
            yield self._listed[at]

    def open(self, start: datetime) -> list[Booked]:
        """Those that hold, or would, in the interval that starts at an instant or later."""
        # What has ended, or will before it begins, never holds again: an end only ever comes nearer.
        self._open = [each for each in self._open if each.until > max(start - SPARE, each.begin)]
        return [each for each in self._open if each.until > start]


def _key(each: BookedOrder | BookedAgreement) -> Key:
    return each.key


class OrderBook:
    """The orders and agreements of one community.

    Orders are kept by the months that they reach into, so what holds in an interval is found among few of all
    that were ever placed. Those for more than `MONTHS_MAX` months are looked at for every interval. They are
    kept by building as well, and agreements by both their parties, so nobody's are looked for among all.
    """

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._orders: dict[str, dict[str, list[BookedOrder]]] = {}  # by building and name
        self._by_month: dict[int, list[BookedOrder]] = {}
        self._long: list[BookedOrder] = []
        self._agreements: dict[tuple[str, str], BookedAgreement] = {}
        self._orders_of: dict[str, _OfBuilding[BookedOrder]] = {}  # by building, as the next
        self._agreements_of: dict[str, _OfBuilding[BookedAgreement]] = {}

    def apply(self, building: str, event: Event) -> None:
        """Take in an event of the stream of `building`."""
        match event:
            case OrderPlaced():
                if self.order(building, event.order, event.begin) is None:
                    self._add(BookedOrder(building, event, event.until))
            case OrderCancelled():
                for order in self.named(building, event.order):
                    order.until = min(order.until, event.since)
            case AgreementProposed():
                self._propose((building, event.agreement), BookedAgreement(building, event, event.until))
            case AgreementAccepted():
                known = self._agreements.get((event.proposer, event.agreement))
                if known is not None and known.proposed.partner == building and known.since is None:
                    known.since = event.since
            case AgreementEnded():
                known = self._agreements.get((event.proposer, event.agreement))
                if known is not None and building in (known.proposer, known.proposed.partner):
                    known.until = min(known.until, event.since)

    def _add(self, order: BookedOrder) -> None:
        self._orders.setdefault(order.building, {}).setdefault(order.placed.order, []).append(order)
        self._orders_of.setdefault(order.building, _OfBuilding()).add(order)
        months = range(_month(order.placed.begin), _month(order.until) + 1)
        if len(months) > MONTHS_MAX:
            self._long.append(order)
        else:
            for month in months:
                self._by_month.setdefault(month, []).append(order)

    def _propose(self, key: tuple[str, str], agreement: BookedAgreement) -> None:
        if key not in self._agreements:
            self._agreements[key] = agreement
            for party in {agreement.proposer, agreement.proposed.partner}:
                self._agreements_of.setdefault(party, _OfBuilding()).add(agreement)

    def named(self, building: str, name: str) -> Sequence[BookedOrder]:
        """The orders of that name that a building has or had, as they were placed."""
        return self._orders.get(building, {}).get(name, [])

    def order(self, building: str, name: str, after: datetime) -> BookedOrder | None:
        """The order of that name that holds beyond an instant."""
        return next((each for each in self.named(building, name) if each.until > after), None)

    def open_orders(self, building: str, start: datetime) -> list[BookedOrder]:
        """The orders of a building that hold in the interval that starts at an instant or later."""
        found = self._orders_of.get(building)
        return found.open(start) if found else []

    def open_agreements(self, building: str, start: datetime) -> list[BookedAgreement]:
        """The agreements that a building has proposed or was proposed for that interval or later, accepted
        or not."""
        found = self._agreements_of.get(building)
        return found.open(start) if found else []

    def orders_after(self, building: str, key: Key) -> Iterator[BookedOrder]:
        """The orders of a building behind a place of their list, in order of time."""
        found = self._orders_of.get(building)
        return found.after(key) if found else iter(())

    def agreements_after(self, building: str, key: Key) -> Iterator[BookedAgreement]:
        """The same of what it has proposed or was proposed."""
        found = self._agreements_of.get(building)
        return found.after(key) if found else iter(())

    def orders(self, start: datetime) -> dict[str, list[Order]]:
        """The orders for the interval that starts at an instant, by building."""
        local = start.astimezone(self._zone)
        found: dict[str, list[Order]] = {}
        for each in chain(self._by_month.get(_month(start), ()), self._long):
            if each.holds(start, local):
                found.setdefault(each.building, []).append(_order(each.placed))
        return found

    def agreements(self, start: datetime) -> list[Agreement]:
        """The agreements for that interval, the one accepted first in front."""
        holding = [each for each in self._agreements.items() if each[1].holds(start)]
        return [each.agreed() for _, each in sorted(holding, key=lambda item: (item[1].since, item[0]))]

    def booked_orders(self, building: str | None = None) -> Iterator[BookedOrder]:
        """All orders, or those of a building, by building and name."""
        for owner in sorted(self._orders) if building is None else [building]:
            of_owner = self._orders.get(owner, {})
            for name in sorted(of_owner):
                yield from of_owner[name]

    def agreement(self, proposer: str, name: str) -> BookedAgreement | None:
        """What a building proposed under a name."""
        return self._agreements.get((proposer, name))

    def booked_agreements(self, building: str | None = None) -> Iterator[BookedAgreement]:
        """All proposals, accepted or not, or those that a building made or was made."""
        found = self._agreements.values() if building is None else self.agreements_after(building, FIRST)
        yield from sorted(found, key=lambda each: (each.proposer, each.proposed.agreement))


def _month(instant: datetime) -> int:
    return instant.year * 12 + instant.month


def _order(placed: OrderPlaced) -> Order:
    energy = None if placed.energy_wh is None else placed.energy_wh * MILLIWH_PER_WH
    return Order(placed.side, energy, placed.limit_micro_per_kwh)
