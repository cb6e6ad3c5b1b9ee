"""Whatever is metered and ordered, under any mechanism: nothing is lost, nobody wronged, order is nothing."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from operator import gt, lt
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from settlement.agreements import Agreement
from settlement.interval import Rules, Settled, settle
from settlement.market import Band, Routes, Trade, Wheeling
from settlement.mechanisms import MECHANISMS, Parameters
from settlement.offers import Metered, Order

FEEDERS = ("f-1", "f-2", "f-3")
BUILDINGS = tuple(f"b-{number}" for number in range(7))
FEEDER_OF = {building: FEEDERS[index % 3] for index, building in enumerate(BUILDINGS)}
ROUNDING_MICRO = 4
"""A trade has at most four amounts, each rounded by less than a micro-unit."""

ENERGY = st.integers(0, 40) | st.integers(0, 30_000_000)
PRICE = st.integers(0, 6_000_000)

METERED = st.dictionaries(st.sampled_from(BUILDINGS), st.tuples(ENERGY, ENERGY)).map(
    lambda found: [Metered(building, *energies) for building, energies in found.items()]
)
ORDERS = st.dictionaries(
    st.sampled_from(BUILDINGS),
    st.lists(st.builds(Order, st.sampled_from(["sell", "buy"]), st.none() | ENERGY, PRICE), max_size=3),
)
ROUTES = st.dictionaries(
    st.tuples(st.sampled_from(FEEDERS), st.sampled_from(FEEDERS)).filter(lambda pair: pair[0] != pair[1]),
    st.builds(Wheeling, st.integers(0, 3_000_000), st.integers(0, 100_000)),
).map(Routes)
PARAMETERS = st.builds(
    Parameters,
    st.integers(0, 1_000_000),
    st.integers(0, 1_000_000),
    st.sampled_from(["midpoint", "seller", "buyer"]),
    st.sampled_from(["static", "proportional", "equal", "cascading"]),
    st.dictionaries(st.sampled_from(BUILDINGS), st.integers(0, 9)),
)
RULES = st.builds(
    Rules,
    st.sampled_from(sorted(MECHANISMS)),
    PARAMETERS,
    st.just(Routes()) | ROUTES,
    st.just(FEEDER_OF.__getitem__),
    st.just(0) | st.integers(0, 400_000),
)
BANDS = st.tuples(PRICE, PRICE).map(lambda prices: Band(max(prices), min(prices)))
CASES = {"rules": RULES, "band": BANDS, "metered": METERED, "orders": ORDERS}
AGREEMENTS = st.lists(
    st.builds(
        lambda pair, price, most: Agreement(pair[0], pair[1], price, most),
        st.permutations(BUILDINGS).map(lambda order: order[:2]),
        PRICE,
        st.none() | ENERGY,
    ),
    max_size=4,
)


def flow(settled: Settled, name: str) -> Counter[str]:
    """Energy traded by seller or by buyer."""
    total: Counter[str] = Counter()
    for trade in settled.trades:
        total[getattr(trade, name)] += trade.energy_milliwh
    return total


@settings(max_examples=300)
@given(**CASES, agreements=AGREEMENTS)
def test_the_journal_of_every_interval_sums_to_zero_in_energy_and_money(
    rules: Rules,
    band: Band,
    metered: list[Metered],
    orders: dict[str, list[Order]],
    agreements: list[Agreement],
) -> None:
    postings = list(settle(rules, band, metered, orders, agreements).journal())
    assert sum(posting.energy_milliwh for posting in postings) == 0
    assert sum(posting.amount_micro for posting in postings) == 0


@settings(max_examples=300)
@given(**CASES, agreements=AGREEMENTS)
def test_what_is_traded_and_what_is_left_to_the_grid_is_what_was_metered(
    rules: Rules,
    band: Band,
    metered: list[Metered],
    orders: dict[str, list[Order]],
    agreements: list[Agreement],
) -> None:
    settled = settle(rules, band, metered, orders, agreements)
    sold, bought = flow(settled, "seller"), flow(settled, "buyer")
    residuals = {residual.building: residual for residual in settled.residuals}
    assert all(trade.energy_milliwh > 0 and trade.amount_micro >= 0 for trade in settled.trades)
    for building, imported, exported in metered:
        assert bought[building] + residuals[building].import_milliwh == imported
        assert sold[building] + residuals[building].export_milliwh == exported
        assert min(residuals[building][1:]) >= 0
    assert set(sold) | set(bought) <= {each.building for each in metered}


@settings(max_examples=500)
@given(**CASES)
def test_nobody_pays_above_its_limit_or_the_grids_price_or_sells_below(
    rules: Rules, band: Band, metered: list[Metered], orders: dict[str, list[Order]]
) -> None:
    takes_orders = MECHANISMS[rules.mechanism].takes_orders
    for trade in settle(rules, band, metered, orders).trades:
        bids = _limits(orders, trade.buyer, "buy") if takes_orders else []
        asks = _limits(orders, trade.seller, "sell") if takes_orders else []
        most = min(band.retail_micro_per_kwh, max(bids, default=band.retail_micro_per_kwh))
        paid = trade.amount_micro + trade.wheeling_micro + trade.loss_micro + trade.operator_micro
        assert paid * 1_000_000 <= trade.energy_milliwh * most + ROUNDING_MICRO * 1_000_000
        if rules.mechanism != "bill_sharing":  # whose members share costs instead of selling
            assert trade.price_micro_per_kwh >= min(asks, default=0)
            assert trade.price_micro_per_kwh >= band.feed_in_micro_per_kwh


@settings(max_examples=300)
@given(**CASES)
def test_each_order_is_served_within_its_own_limit_and_energy(
    rules: Rules, band: Band, metered: list[Metered], orders: dict[str, list[Order]]
) -> None:
    """What a building trades beyond any price is no more than it ordered beyond that price."""
    if not MECHANISMS[rules.mechanism].takes_orders or rules.mechanism == "bill_sharing":
        return
    trades = settle(rules, band, metered, orders).trades
    for building, imported, exported in metered:
        for limit in _limits(orders, building, "buy"):
            better = _ordered(orders, building, "buy", imported, partial(lt, limit))
            bought = [trade for trade in trades if trade.buyer == building and _paid(trade) > limit]
            assert sum(trade.energy_milliwh for trade in bought) <= better
        for limit in _limits(orders, building, "sell"):
            better = _ordered(orders, building, "sell", exported, partial(gt, limit))
            sold = [each for each in trades if each.seller == building and each.price_micro_per_kwh < limit]
            assert sum(trade.energy_milliwh for trade in sold) <= better


def _paid(trade: Trade) -> int:
    """What a buyer paid a kilowatt-hour at the least, whichever way its amounts were rounded."""
    paid = trade.amount_micro + trade.wheeling_micro + trade.loss_micro + trade.operator_micro
    return (paid - ROUNDING_MICRO) * 1_000_000 // trade.energy_milliwh


def _ordered(
    orders: dict[str, list[Order]], building: str, side: str, metered: int, counts: Callable[[int], bool]
) -> int:
    """The energy of a building's orders whose limits count."""
    energies = (
        metered if order.energy_milliwh is None else order.energy_milliwh
        for order in orders.get(building, [])
        if order.side == side and counts(order.limit_micro_per_kwh)
    )
    return min(metered, sum(energies))


@settings(max_examples=200)
@given(**CASES, agreements=AGREEMENTS)
def test_agreements_are_served_first_one_after_another_at_their_own_prices(
    rules: Rules,
    band: Band,
    metered: list[Metered],
    orders: dict[str, list[Order]],
    agreements: list[Agreement],
) -> None:
    needs = {each.building: each.import_milliwh for each in metered}
    surplus = {each.building: each.export_milliwh for each in metered}
    served = []
    for seller, buyer, price, most in agreements:
        room = min(surplus.get(seller, 0), needs.get(buyer, 0), 10**12 if most is None else most)
        if room:
            served.append((seller, buyer, room, price))
            surplus[seller] -= room
            needs[buyer] -= room
    trades = settle(rules, band, metered, orders, agreements).trades
    assert [trade[:4] for trade in trades[: len(served)]] == served


def _limits(orders: dict[str, list[Order]], building: str, side: str) -> list[int]:
    return [order.limit_micro_per_kwh for order in orders.get(building, []) if order.side == side]


@given(**CASES, random=st.randoms(use_true_random=False))
def test_the_order_in_which_buildings_and_orders_come_is_nothing(
    rules: Rules, band: Band, metered: list[Metered], orders: dict[str, list[Order]], random: Random
) -> None:
    settled = settle(rules, band, metered, orders)
    others = list(metered)
    random.shuffle(others)
    turned = {building: orders[building][::-1] for building in reversed(orders)}
    assert settle(rules, band, others, turned) == settled


@given(**CASES)
def test_shares_sum_to_what_the_community_produced_and_nobody_uses_more_than_it_needs(
    rules: Rules, band: Band, metered: list[Metered], orders: dict[str, list[Order]]
) -> None:
    settled = settle(rules._replace(mechanism="sharing_key"), band, metered, orders)
    needs = {each.building: each.import_milliwh for each in metered}
    by_need = rules.parameters.kind in ("proportional", "equal")
    is_shared = any(needs.values() if by_need else rules.parameters.keys.values())
    produced = sum(each.export_milliwh for each in metered)
    if is_shared and band.feed_in_micro_per_kwh <= band.retail_micro_per_kwh:
        assert sum(share.share_milliwh for share in settled.shares) == produced
    for share in settled.shares:
        assert 0 <= share.used_milliwh <= min(share.share_milliwh, needs.get(share.building, 0))
        assert share.residual_milliwh == share.share_milliwh - share.used_milliwh


@given(CASES["band"], METERED)
def test_without_wheeling_fees_and_orders_the_shorter_side_is_traded_whole(
    band: Band, metered: Sequence[Metered]
) -> None:
    shorter = min(sum(each.import_milliwh for each in metered), sum(each.export_milliwh for each in metered))
    for mechanism in MECHANISMS:
        rules = Rules(mechanism, Parameters(kind="proportional"), Routes(), FEEDER_OF.__getitem__)
        traded = sum(trade.energy_milliwh for trade in settle(rules, band, metered, {}).trades)
        assert traded == shorter, mechanism
