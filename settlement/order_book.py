"""Who wants to trade at what price in an interval: orders and agreements, folded from the buildings' events.

Events take effect from the instant they name, never before, so the same events give the same orders for an
interval whenever it is asked about. What names an order or agreement that is not there changes nothing, nor
does one that is placed under the name of another that still holds.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
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


@dataclass(slots=True)
class BookedOrder:
    """An order as it stands; `until` is earlier than it was placed for where it was cancelled."""

    building: str
    placed: OrderPlaced
    until: datetime

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
        self._agreements_of: dict[str, set[tuple[str, str]]] = {}  # by building

    def apply(self, building: str, event: Event) -> None:
        """Take in an event of the stream of `building`."""
        match event:
            case OrderPlaced():
                if self.order(building, event.order, event.begin) is None:
                    self._add(BookedOrder(building, event, event.until))
            case OrderCancelled():
                for order in self._named(building, event.order):
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
        months = range(_month(order.placed.begin), _month(order.until) + 1)
        if len(months) > MONTHS_MAX:
            self._long.append(order)
        else:
            for month in months:
                self._by_month.setdefault(month, []).append(order)

    def _propose(self, key: tuple[str, str], agreement: BookedAgreement) -> None:
        if key not in self._agreements:
            self._agreements[key] = agreement
            for party in (agreement.proposer, agreement.proposed.partner):
                self._agreements_of.setdefault(party, set()).add(key)

    def _named(self, building: str, name: str) -> list[BookedOrder]:
        return self._orders.get(building, {}).get(name, [])

    def order(self, building: str, name: str, after: datetime) -> BookedOrder | None:
        """The order of that name that holds beyond an instant."""
        return next((each for each in self._named(building, name) if each.until > after), None)

    def open_orders(self, building: str, start: datetime) -> int:
        """How many orders of a building hold in the interval that starts at an instant or later."""
        return sum(each.until > max(start, each.placed.begin) for each in self.booked_orders(building))

    def open_proposals(self, building: str, start: datetime) -> Counter[str]:
        """To whom a building has proposed how many agreements for the interval that starts at an instant or
        later, accepted or not."""
        return Counter(
            each.proposed.partner
            for each in self.booked_agreements(building)
            if each.proposer == building and each.until > max(start, each.begin)
        )

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
        keys = self._agreements if building is None else self._agreements_of.get(building, ())
        for key in sorted(keys):
            yield self._agreements[key]


def _month(instant: datetime) -> int:
    return instant.year * 12 + instant.month


def _order(placed: OrderPlaced) -> Order:
    energy = None if placed.energy_wh is None else placed.energy_wh * MILLIWH_PER_WH
    return Order(placed.side, energy, placed.limit_micro_per_kwh)
