"""Every mechanism on an example small enough to be done by hand."""

from typing import Any

import pytest

from settlement.interval import Rules, Settled, settle
from settlement.market import Band, Routes, Trade, Wheeling
from settlement.mechanisms import MECHANISMS, Parameters
from settlement.offers import Metered, Order

BAND = Band(retail_micro_per_kwh=4_000_000, feed_in_micro_per_kwh=2_000_000)
KWH = 1_000_000
SUNNY = [Metered("sun", 0, 6 * KWH), Metered("a", 2 * KWH, 0), Metered("b", KWH, 0)]
CLOUDY = [Metered("sun", 0, 2 * KWH), Metered("a", 3 * KWH, 0), Metered("b", KWH, 0)]


def settled(
    mechanism: str,
    metered: list[Metered],
    orders: dict[str, list[Order]] | None = None,
    routes: Routes | None = None,
    fee: int = 0,
    **parameters: Any,
) -> Settled:
    """The interval under a mechanism; buildings are on feeders of their own name."""
    rules = Rules(mechanism, Parameters(**parameters), routes or Routes(), str, fee)
    return settle(rules, BAND, metered, orders or {})


def energies(trades: list[Trade]) -> dict[tuple[str, str], int]:
    return {(trade.seller, trade.buyer): trade.energy_milliwh for trade in trades}


def prices(trades: list[Trade]) -> set[int]:
    return {trade.price_micro_per_kwh for trade in trades}


# --- pools --------------------------------------------------------------------------------------------


def test_mid_market_rate_is_half_way_and_the_short_side_is_traded_whole() -> None:
    trades = settled("mid_market_rate", SUNNY).trades
    assert prices(trades) == {3_000_000}
    assert energies(trades) == {("sun", "a"): 2 * KWH, ("sun", "b"): KWH}
    trades = settled("mid_market_rate", CLOUDY).trades
    assert energies(trades) == {("sun", "a"): 3 * KWH // 2, ("sun", "b"): KWH // 2}, "by demand"


@pytest.mark.parametrize(
    ("metered", "compensation_ppm", "price"),
    [
        (SUNNY, 0, 2_000_000),  # r >= 1: the feed-in price
        (SUNNY, 250_000, 2_500_000),
        (CLOUDY, 0, 2_666_667),  # r = 1/2: 4 * 2 / ((4 - 2) * 1/2 + 2) = 8 / 3
        (CLOUDY, 1_000_000, 4_000_000),
    ],
)
def test_supply_demand_ratio_falls_with_the_surplus(
    metered: list[Metered], compensation_ppm: int, price: int
) -> None:
    trades = settled("supply_demand_ratio", metered, compensation_ppm=compensation_ppm).trades
    assert prices(trades) == {price}


def test_bill_sharing_shares_the_grids_bill_by_demand_and_its_income_by_surplus() -> None:
    cloudy = settled("bill_sharing", CLOUDY)
    assert prices(cloudy.trades) == {0}
    costs = {each.building: each.import_micro for each in cloudy.residuals}
    assert costs == {"sun": 0, "a": 6_000_000, "b": 2_000_000}, "2 kWh at 4, three to one"
    two_suns = [*SUNNY, Metered("moon", 0, 3 * KWH)]
    incomes = {each.building: each.export_micro for each in settled("bill_sharing", two_suns).residuals}
    assert incomes == {"sun": 8_000_000, "moon": 4_000_000, "a": 0, "b": 0}, "6 kWh at 2, two to one"


def test_a_seller_whose_limit_the_price_does_not_meet_leaves_and_moves_it() -> None:
    metered = [Metered("sun", 0, KWH), Metered("moon", 0, KWH), Metered("a", 2 * KWH, 0)]
    orders = {"moon": [Order("sell", None, 3_000_000)]}
    trades = settled("supply_demand_ratio", metered, orders).trades
    # With both, r = 1 and the price is 2; without the moon r = 1/2.
    assert energies(trades) == {("sun", "a"): KWH}
    assert prices(trades) == {2_666_667}


# --- sharing keys -------------------------------------------------------------------------------------

NEEDS = [Metered("pv", 0, 10), Metered("a", 2, 0), Metered("b", 9, 0), Metered("c", 3, 0)]
KEYS = {"a": 5, "b": 3, "c": 2}


@pytest.mark.parametrize(
    ("kind", "share", "used"),
    [
        ("static", [5, 3, 2], [2, 3, 2]),
        (
            "proportional",
            [2, 6, 2],
            [2, 6, 2],
        ),  # 20/14, 90/14, 30/14: the rest to a, whose remainder is largest
        ("equal", [4, 3, 3], [2, 3, 3]),
        ("cascading", [2, 6, 2], [2, 6, 2]),  # static uses 2, 3, 2; the 3 left by needs of 0, 6, 1
    ],
)
def test_sharing_keys(kind: str, share: list[int], used: list[int]) -> None:
    outcome = settled("sharing_key", NEEDS, kind=kind, keys=KEYS)
    assert [each.building for each in outcome.shares] == ["a", "b", "c"]
    assert [each.share_milliwh for each in outcome.shares] == share
    assert [each.used_milliwh for each in outcome.shares] == used
    assert sum(trade.energy_milliwh for trade in outcome.trades) == sum(used)


@pytest.mark.parametrize(
    ("kind", "share", "used"),
    [
        ("static", {"a": 5, "b": 3, "c": 2}, {"b": 3, "c": 2}),
        ("proportional", {"b": 8, "c": 2}, {"b": 8, "c": 2}),  # 90/12, 30/12: one more to b, by its name
        ("equal", {"b": 5, "c": 5}, {"b": 5, "c": 3}),
        ("cascading", {"b": 7, "c": 3}, {"b": 7, "c": 3}),  # the 5 left by needs of 6 and 1
    ],
)
def test_a_fixed_share_stays_what_it_is_while_its_holder_needs_nothing(
    kind: str, share: dict[str, int], used: dict[str, int]
) -> None:
    asleep = [each._replace(import_milliwh=0) if each.building == "a" else each for each in NEEDS]
    outcome = settled("sharing_key", asleep, kind=kind, keys=KEYS)
    assert {each.building: each.share_milliwh for each in outcome.shares} == share
    assert {each.building: each.used_milliwh for each in outcome.shares if each.used_milliwh} == used


# --- auctions -----------------------------------------------------------------------------------------

AUCTION = [Metered("s1", 0, 10), Metered("s2", 0, 10), Metered("b1", 10, 0), Metered("b2", 5, 0)]
BOOK = {
    "s1": [Order("sell", None, 2_200_000)],
    "s2": [Order("sell", None, 2_800_000)],
    "b1": [Order("buy", None, 3_600_000)],
    "b2": [Order("buy", None, 3_000_000)],
}


@pytest.mark.parametrize(
    ("rule", "price"), [("midpoint", 2_800_000), ("seller", 2_800_000), ("buyer", 2_800_000)]
)
def test_a_marginal_order_that_is_taken_in_part_sets_the_uniform_price(rule: str, price: int) -> None:
    trades = settled("uniform_price", AUCTION, BOOK, price_rule=rule).trades
    assert prices(trades) == {price}
    assert sum(trade.energy_milliwh for trade in trades) == 15


def test_limits_beyond_the_grids_prices_are_taken_for_them() -> None:
    metered = [Metered("s", 0, 5), Metered("b", 5, 0)]
    orders = {"s": [Order("sell", None, 0)], "b": [Order("buy", None, 9_000_000)]}
    assert prices(settled("uniform_price", metered, orders).trades) == {3_000_000}
    dear = {"s": [Order("sell", None, 5_000_000)], "b": [Order("buy", None, 9_000_000)]}
    assert not settled("uniform_price", metered, dear).trades, "the grid is cheaper"


@pytest.mark.parametrize("mechanism", ["uniform_price", "pay_as_bid"])
def test_equal_marginal_orders_share_in_proportion(mechanism: str) -> None:
    metered = [Metered("s1", 0, 30), Metered("s2", 0, 10), Metered("b", 20, 0)]
    trades = settled(mechanism, metered).trades
    assert energies(trades) == {("s1", "b"): 15, ("s2", "b"): 5}
    metered = [Metered("b1", 30, 0), Metered("b2", 10, 0), Metered("s", 0, 20)]
    assert energies(settled(mechanism, metered).trades) == {("s", "b1"): 15, ("s", "b2"): 5}


@pytest.mark.parametrize("name", ["a", "z"])
def test_what_a_building_sells_does_not_hang_on_its_name(name: str) -> None:
    metered = [Metered(name, 0, 10), Metered("m1", 0, 10), Metered("m2", 10, 0), Metered("m3", 7, 0)]
    orders = {"m2": [Order("buy", None, 3_900_000)], "m3": [Order("buy", None, 3_000_000)]}
    trades = settled("pay_as_bid", metered, orders).trades
    sold = {seller: sum(t.energy_milliwh for t in trades if t.seller == seller) for seller in (name, "m1")}
    assert sorted(sold.values()) == [8, 9]


@pytest.mark.parametrize(
    ("split", "first", "second"), [(500_000, 2_900_000, 2_900_000), (0, 2_200_000, 2_800_000)]
)
def test_pay_as_bid_pairs_the_best_and_splits_each_pairs_own_gain(
    split: int, first: int, second: int
) -> None:
    trades = settled("pay_as_bid", AUCTION, BOOK, split_ppm=split).trades
    assert energies(trades) == {("s1", "b1"): 10, ("s2", "b2"): 5}
    assert [trade.price_micro_per_kwh for trade in trades] == [first, second]


def test_more_is_never_traded_than_was_metered_or_ordered() -> None:
    metered = [Metered("s", 0, 5), Metered("b", 9, 0)]
    orders = {
        "s": [Order("sell", 3, 2_000_000), Order("sell", 4, 2_500_000)],
        "b": [Order("buy", 4, 3_000_000)],
    }
    for mechanism in ("uniform_price", "pay_as_bid", "mid_market_rate"):
        trades = settled(mechanism, metered, orders).trades
        assert sum(trade.energy_milliwh for trade in trades) == 4, mechanism


@pytest.mark.parametrize("mechanism", sorted(MECHANISMS))
def test_nobody_trades_where_the_grid_gives_more_than_it_asks(mechanism: str) -> None:
    rules = Rules(mechanism, Parameters(), Routes(), str)
    assert settle(rules, Band(2_000_000, 2_000_001), SUNNY, {}).trades == []


# --- feeders ------------------------------------------------------------------------------------------

FAR = Routes({("far", "b"): Wheeling(500_000, 100_000)})


def test_the_way_is_paid_by_the_buyer_and_its_loss_bought_from_the_grid() -> None:
    (trade,) = settled("mid_market_rate", [Metered("far", 0, KWH), Metered("b", KWH, 0)], routes=FAR).trades
    assert trade[2:] == (KWH, 3_000_000, 3_000_000, 500_000, 100_000, 400_000, 0)


def test_a_pair_whose_prices_do_not_cover_the_way_does_not_trade() -> None:
    dear = Routes({("far", "b"): Wheeling(1_000_001, 0)})
    metered = [Metered("far", 0, KWH), Metered("b", KWH, 0)]
    assert not settled("mid_market_rate", metered, routes=dear).trades, (
        "3 + 1.000001 is more than the grid's 4"
    )
    (trade,) = settled("uniform_price", metered, routes=dear).trades
    assert 2_000_000 <= trade.price_micro_per_kwh <= 2_999_999


@pytest.mark.parametrize("mechanism", ["mid_market_rate", "uniform_price", "pay_as_bid"])
def test_the_near_wins_where_the_way_has_a_price(mechanism: str) -> None:
    metered = [Metered("far", 0, KWH), Metered("near", 0, KWH), Metered("b", KWH, 0)]
    routes = Routes({("far", "b"): Wheeling(1)})
    assert energies(settled(mechanism, metered, routes=routes).trades) == {("near", "b"): KWH}


def test_the_operators_fee_counts_against_the_buyers_limit() -> None:
    metered = [Metered("s", 0, KWH), Metered("b", KWH, 0)]
    (trade,) = settled("mid_market_rate", metered, fee=1_000_000).trades
    assert trade.operator_micro == 1_000_000
    assert not settled("mid_market_rate", metered, fee=1_000_001).trades
