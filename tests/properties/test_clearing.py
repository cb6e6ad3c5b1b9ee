"""Clearing is efficient: no other way to match the bids is worth more, and every bid is content."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from hypothesis import given, settings
from hypothesis import strategies as st

from settlement.clearing import Bid, Cleared, PriceRule, clear

FEEDERS = ("f-1", "f-2", "f-3")
Costs = Mapping[tuple[str, str], int]

BID = st.builds(Bid, st.sampled_from(FEEDERS), st.integers(0, 3), st.integers(0, 8))
BIDS = st.lists(BID, max_size=4)
COSTS = st.dictionaries(
    st.tuples(st.sampled_from(FEEDERS), st.sampled_from(FEEDERS)).filter(lambda pair: pair[0] != pair[1]),
    st.integers(0, 6),
)
RULES = st.sampled_from(["midpoint", "seller", "buyer"])


def best(sells: Sequence[Bid], buys: Sequence[Bid], costs: Costs) -> tuple[int, int, int]:
    """The highest (welfare, volume, volume within feeders) of all ways to match, each tried unit by unit."""
    units = [(bid.feeder, bid.limit_micro_per_kwh) for bid in sells for _ in range(bid.energy_milliwh)]
    wanted = [(bid.feeder, bid.limit_micro_per_kwh) for bid in buys for _ in range(bid.energy_milliwh)]
    kinds = sorted(set(wanted))

    @lru_cache(None)
    def found(place: int, left: tuple[int, ...]) -> tuple[int, int, int]:
        if place == len(units):
            return 0, 0, 0
        choices = [found(place + 1, left)]
        feeder, limit = units[place]
        for index, (buyer, most) in enumerate(kinds):
            if left[index]:
                rest = (*left[:index], left[index] - 1, *left[index + 1 :])
                welfare, volume, near = found(place + 1, rest)
                gain = most - limit - costs.get((feeder, buyer), 0)
                choices.append((welfare + gain, volume + 1, near + (feeder == buyer)))
        return max(choices)

    return found(0, tuple(wanted.count(kind) for kind in kinds))


def welfare(sells: Sequence[Bid], buys: Sequence[Bid], costs: Costs, cleared: Cleared) -> int:
    """What the buyers would have paid less what the sellers would have asked, less wheeling."""
    worth = sum(bid.limit_micro_per_kwh * taken for bid, taken in zip(buys, cleared.bought, strict=True))
    cost = sum(bid.limit_micro_per_kwh * taken for bid, taken in zip(sells, cleared.sold, strict=True))
    return worth - cost - sum(costs.get(pair, 0) * flow for pair, flow in cleared.flows.items())


@settings(max_examples=400)
@given(BIDS, BIDS, COSTS, RULES)
def test_no_other_match_has_more_welfare_or_as_much_with_more_volume_or_nearness(
    sells: list[Bid], buys: list[Bid], costs: Costs, rule: PriceRule
) -> None:
    cleared = clear(sells, buys, costs, rule)
    most_welfare, most_volume, most_near = best(sells, buys, costs)
    assert welfare(sells, buys, costs, cleared) == most_welfare
    assert sum(cleared.sold) == sum(cleared.bought) == most_volume
    if cleared.flows:
        assert sum(cleared.flows.values()) == most_volume
        assert sum(flow for (seller, buyer), flow in cleared.flows.items() if seller == buyer) == most_near


@settings(max_examples=400)
@given(BIDS, BIDS, COSTS, RULES)
def test_at_its_price_every_bid_is_content(
    sells: list[Bid], buys: list[Bid], costs: Costs, rule: PriceRule
) -> None:
    cleared = clear(sells, buys, costs, rule)
    for bid, taken in zip(sells, cleared.sold, strict=True):
        assert 0 <= taken <= bid.energy_milliwh
        price = cleared.prices.get(bid.feeder)
        if price is not None:
            assert not taken or price >= bid.limit_micro_per_kwh, "nobody sells below its limit"
            assert taken == bid.energy_milliwh or price <= bid.limit_micro_per_kwh, "nobody is left out"
    for bid, taken in zip(buys, cleared.bought, strict=True):
        assert 0 <= taken <= bid.energy_milliwh
        offered = [price + costs.get((feeder, bid.feeder), 0) for feeder, price in cleared.prices.items()]
        if taken:
            served = {feeder for feeder, buyer in cleared.flows if buyer == bid.feeder} or set(cleared.prices)
            paid = max(cleared.prices[feeder] + costs.get((feeder, bid.feeder), 0) for feeder in served)
            assert paid <= bid.limit_micro_per_kwh, "nobody pays above its limit"
        if taken < bid.energy_milliwh:
            assert all(price >= bid.limit_micro_per_kwh for price in offered), "nobody is left out"


@given(BIDS, BIDS, COSTS, RULES)
def test_equal_bids_are_taken_in_proportion(
    sells: list[Bid], buys: list[Bid], costs: Costs, rule: PriceRule
) -> None:
    cleared = clear(sells, buys, costs, rule)
    for bids, taken in ((sells, cleared.sold), (buys, cleared.bought)):
        steps: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for bid, energy in zip(bids, taken, strict=True):
            feeder = bid.feeder if any(costs.values()) else "all"
            steps.setdefault((feeder, bid.limit_micro_per_kwh), []).append((bid.energy_milliwh, energy))
        for equals in steps.values():
            offered, accepted = (sum(each) for each in zip(*equals, strict=True))
            assert all(abs(energy * offered - accepted * whole) < max(offered, 1) for whole, energy in equals)


def test_the_textbooks_example_clears_at_the_middle_of_its_interval() -> None:
    sells = [Bid("f", 10, 2), Bid("f", 10, 4), Bid("f", 10, 7)]
    buys = [Bid("f", 10, 9), Bid("f", 10, 6), Bid("f", 10, 3)]
    cleared = clear(sells, buys, {})
    assert (cleared.sold, cleared.bought) == ([10, 10, 0], [10, 10, 0])
    assert cleared.prices == {"f": 5}, "between the 4 that sold and the 6 that bought"
    assert clear(sells, buys, {}, "seller").prices == {"f": 4}
    assert clear(sells, buys, {}, "buyer").prices == {"f": 6}
