"""The transport problem between feeders: who serves whom where wheeling has a price.

Solved exactly by successive shortest paths (Ahuja, Magnanti, Orlin: Network Flows, 1993, section 9.7): the
most valuable path from an unsold step to an unserved one is filled, which may reroute what was matched
before, until no path is worth its wheeling. Sellers and buyers of a feeder are two nodes, since what is sold
on a feeder need not be what is bought on it.

The highest and lowest prices that support the result are shortest distances in what is left of the network
(complementary slackness: an arc that carries something has no slack, one that could carry more none to gain).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple


class Step(NamedTuple):
    """Energy that is offered at one limit."""

    limit_micro_per_kwh: int
    energy_milliwh: int


class Transported(NamedTuple):
    """Energy by seller's and by buyer's feeder and by pair; lowest and highest price by seller's feeder."""

    sold: dict[str, int]
    bought: dict[str, int]
    flows: dict[tuple[str, str], int]
    prices: dict[str, tuple[int, int]]


class _Queue:
    """The steps of one feeder in merit order, and how far they are used up."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._place = 0
        self.taken = 0  # of the step at hand
        self.total = 0

    @property
    def next_limit(self) -> int | None:
        """The limit of the best energy that is left."""
        return self._steps[self._place].limit_micro_per_kwh if self._place < len(self._steps) else None

    @property
    def last_limit(self) -> int | None:
        """The limit of the worst energy that was taken."""
        place = self._place if self.taken else self._place - 1
        return self._steps[place].limit_micro_per_kwh if place >= 0 else None

    @property
    def left(self) -> int:
        """How much is left at `next_limit`."""
        return self._steps[self._place].energy_milliwh - self.taken

    def take(self, energy_milliwh: int) -> None:
        """Take so much at `next_limit`."""
        self.taken += energy_milliwh
        self.total += energy_milliwh
        if not self.left:
            self._place, self.taken = self._place + 1, 0


_Path = list[tuple[str, str, int]]
"""Arcs: seller's feeder, buyer's feeder, 1 to fill it or -1 to take back."""


class _Network:
    """Steps at both ends, wheeling in between."""

    def __init__(
        self,
        sells: Mapping[str, Sequence[Step]],
        buys: Mapping[str, Sequence[Step]],
        costs: Mapping[tuple[str, str], int],
    ) -> None:
        self.sells = {feeder: _Queue(steps) for feeder, steps in sells.items()}
        self.buys = {feeder: _Queue(steps) for feeder, steps in buys.items()}
        self.flows: dict[tuple[str, str], int] = {}
        # Money first, then how much is carried between feeders: the second decides between equals. No path
        # has more arcs than there are nodes, so the second stays below half a unit of the first, up and down.
        self._arcs_max = len(sells) + len(buys)
        self._unit = 2 * self._arcs_max + 2
        self._weights = {
            (seller, buyer): costs.get((seller, buyer), 0) * self._unit + (seller != buyer)
            for seller in sells
            for buyer in buys
        }
        self._costs = costs

    def fill(self) -> None:
        """Fill paths until none is worth it."""
        while (path := self._best_path()) is not None:
            (first, _, _), (_, last, _) = path[0], path[-1]
            room = [self.flows[seller, buyer] for seller, buyer, sign in path if sign < 0]
            energy = min([self.sells[first].left, self.buys[last].left, *room])
            self.sells[first].take(energy)
            self.buys[last].take(energy)
            for seller, buyer, sign in path:
                self.flows[seller, buyer] = self.flows.get((seller, buyer), 0) + sign * energy

    def _best_path(self) -> _Path | None:
        """The path with the highest surplus, if that is not below zero."""
        at_seller = {f: q.next_limit * self._unit for f, q in self.sells.items() if q.next_limit is not None}
        at_buyer: dict[str, int] = {}
        to_buyer: dict[str, str] = {}
        to_seller: dict[str, str] = {}
        changed = True
        while changed:
            changed = False
            for (seller, buyer), weight in self._weights.items():
                if seller in at_seller:
                    reached = at_seller[seller] + weight
                    if buyer not in at_buyer or reached < at_buyer[buyer]:
                        at_buyer[buyer], to_buyer[buyer], changed = reached, seller, True
                if buyer in at_buyer and self.flows.get((seller, buyer)):
                    reached = at_buyer[buyer] - weight
                    if seller not in at_seller or reached < at_seller[seller]:
                        at_seller[seller], to_seller[seller], changed = reached, buyer, True
        surplus, last = max(
            ((q.next_limit * self._unit - at_buyer[f], f) for f, q in self.buys.items()
             if q.next_limit is not None and f in at_buyer),
            default=(-self._unit, ""),
            key=lambda found: found[0],
        )  # fmt: skip
        if surplus < -self._arcs_max:
            return None
        return list(self._walk_back(last, to_buyer, to_seller))[::-1]

    def _walk_back(
        self, buyer: str, to_buyer: Mapping[str, str], to_seller: Mapping[str, str]
    ) -> Iterator[tuple[str, str, int]]:
        while True:
            seller = to_buyer[buyer]
            yield seller, buyer, 1
            if seller not in to_seller:
                return
            buyer = to_seller[seller]
            yield seller, buyer, -1

    # --- prices ----------------------------------------------------------------------------

    def bounds(self) -> dict[str, tuple[int, int]]:
        """The lowest and highest price of every feeder that sold, as shortest distances from the market."""
        arcs = list(self._slack())
        low = _distances([(end, begin, weight) for begin, end, weight in arcs])
        high = _distances(arcs)
        return {feeder: (-low["s", feeder], high["s", feeder]) for feeder, q in self.sells.items() if q.total}

    def _slack(self) -> Iterator[tuple["_Node", "_Node", int]]:
        """(i, j, w) for: the price at j is at most w above that at i. The market itself has the price 0."""
        for feeder, queue in self.sells.items():
            if queue.next_limit is not None:
                yield _MARKET, ("s", feeder), queue.next_limit
            if queue.last_limit is not None:
                yield ("s", feeder), _MARKET, -queue.last_limit
        for feeder, queue in self.buys.items():
            if queue.last_limit is not None:
                yield _MARKET, ("b", feeder), queue.last_limit
            if queue.next_limit is not None:
                yield ("b", feeder), _MARKET, -queue.next_limit
        for seller, buyer in self._weights:
            cost = self._costs.get((seller, buyer), 0)
            yield ("s", seller), ("b", buyer), cost
            if self.flows.get((seller, buyer)):
                yield ("b", buyer), ("s", seller), -cost


_Node = tuple[str, str]
_MARKET: _Node = ("", "")


def _distances(arcs: Sequence[tuple[_Node, _Node, int]]) -> dict[_Node, int]:
    """Shortest distances from the market (Bellman and Ford; there are no negative circles)."""
    found = {_MARKET: 0}
    changed = True
    while changed:
        changed = False
        for begin, end, weight in arcs:
            if begin in found and (end not in found or found[begin] + weight < found[end]):
                found[end], changed = found[begin] + weight, True
    return found


def transport(
    sells: Mapping[str, Sequence[Step]],
    buys: Mapping[str, Sequence[Step]],
    costs: Mapping[tuple[str, str], int],
) -> Transported:
    """The match of highest welfare, then volume, then nearness. Steps come in merit order, by feeder.

    A buyer pays the price of the seller's feeder and the cost from there; `costs` are at least 0.
    """
    network = _Network(sells, buys, costs)
    network.fill()
    return Transported(
        {feeder: queue.total for feeder, queue in network.sells.items()},
        {feeder: queue.total for feeder, queue in network.buys.items()},
        {pair: flow for pair, flow in network.flows.items() if flow},
        network.bounds(),
    )
