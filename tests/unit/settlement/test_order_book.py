"""Orders and agreements hold from when they say to when they or somebody else says, and at their hours."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.market_events import (
    AgreementAccepted,
    AgreementEnded,
    AgreementProposed,
    OrderCancelled,
    OrderPlaced,
)
from settlement.agreements import Agreement, serve
from settlement.interval import Rules, settle
from settlement.market import Band, Market, Routes
from settlement.mechanisms import Parameters
from settlement.offers import Metered, Order
from settlement.order_book import FIRST, OrderBook

SALT = "A" * 16
ZONE = ZoneInfo("Asia/Bangkok")
HOUR = timedelta(hours=1)
NOON = datetime(2026, 6, 1, 5, tzinfo=UTC)  # in Bangkok
BAND = Band(4_000_000, 2_000_000)
ORDER = Order("sell", 500_000, 3)


def order(begin: datetime = NOON, hours: int = 24, **more: Any) -> OrderPlaced:
    return OrderPlaced(
        order="o-1", side="sell", limit_micro_per_kwh=3, energy_wh=500, begin=begin,
        until=begin + hours * HOUR, salt=SALT, **more,
    )  # fmt: skip


def proposal(side: Any = "sell", name: str = "a-1") -> AgreementProposed:
    return AgreementProposed(
        agreement=name, side=side, partner="b", price_micro_per_kwh=9, begin=NOON, until=NOON + 24 * HOUR,
        salt=SALT,
    )  # fmt: skip


def accepted(since: datetime = NOON, name: str = "a-1") -> AgreementAccepted:
    return AgreementAccepted(agreement=name, proposer="a", since=since, salt=SALT)


@pytest.fixture
def book() -> OrderBook:
    return OrderBook(ZONE)


def test_an_order_holds_from_its_beginning_to_its_end(book: OrderBook) -> None:
    book.apply("a", order())
    assert [book.orders(NOON + hours * HOUR) for hours in (-1, 0, 23, 24)] == [
        {},
        {"a": [ORDER]},
        {"a": [ORDER]},
        {},
    ]


def test_a_cancelled_order_holds_until_then(book: OrderBook) -> None:
    book.apply("a", order())
    book.apply("b", OrderCancelled(order="o-1", since=NOON + HOUR, salt=SALT))
    assert book.orders(NOON + HOUR) == {"a": [ORDER]}, "somebody else's"
    book.apply("a", OrderCancelled(order="o-1", since=NOON + HOUR, salt=SALT))
    assert book.orders(NOON) == {"a": [ORDER]}
    assert book.orders(NOON + HOUR) == {}


def test_cancelling_a_name_ends_all_that_was_placed_under_it_and_has_not_ended(book: OrderBook) -> None:
    later = NOON + 24 * HOUR
    book.apply("a", order())
    book.apply("a", order(later, hours=1))
    book.apply("a", OrderCancelled(order="o-1", since=NOON + HOUR, salt=SALT))
    assert (book.orders(NOON), book.orders(later)) == ({"a": [ORDER]}, {})


@pytest.mark.parametrize(
    ("begin", "until", "hours"),
    [
        ("09:00", "17:00", range(9, 17)),
        ("22:00", "06:00", [22, 23, *range(6)]),
        ("00:00", "24:00", range(24)),
    ],
)
def test_an_order_holds_at_its_local_hours(book: OrderBook, begin: str, until: str, hours: list[int]) -> None:
    book.apply("a", order(clock_from=begin, clock_until=until))
    holding = [(12 + hour) % 24 for hour in range(24) if book.orders(NOON + hour * HOUR)]
    assert sorted(holding) == sorted(hours)


def test_a_name_counts_once_until_its_order_has_ended(book: OrderBook) -> None:
    book.apply("a", order(hours=2))
    book.apply("a", order(NOON + HOUR))
    assert book.orders(NOON + 3 * HOUR) == {}
    book.apply("a", order(NOON + 2 * HOUR))
    assert book.orders(NOON) == book.orders(NOON + 3 * HOUR) == {"a": [ORDER]}


@given(
    st.lists(st.tuples(st.integers(-900, 900), st.integers(1, 24 * 900)), max_size=8),
    st.integers(-900, 1_800),
)
def test_what_holds_is_found_wherever_in_its_span_an_interval_lies(
    spans: list[tuple[int, int]], day: int
) -> None:
    book = OrderBook(ZONE)
    start = NOON + day * 24 * HOUR
    for number, (begin, hours) in enumerate(spans):
        placed = order(NOON + begin * 24 * HOUR, hours=hours)
        book.apply("a", replace(placed, order=f"o-{number}"))
    holding = [each for each in book.booked_orders() if each.placed.begin <= start < each.until]
    assert len(book.orders(start).get("a", [])) == len(holding)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.sampled_from(["x", "y"]), st.booleans()),
        max_size=20,
    )
)
def test_of_one_building_the_book_tells_what_it_tells_of_all(told: list[tuple[str, str, str, bool]]) -> None:
    book = OrderBook(ZONE)
    for number, (building, partner, name, is_order) in enumerate(told):
        if is_order:
            book.apply(building, replace(order(NOON + number * HOUR, hours=2), order=name))
        else:
            book.apply(building, replace(proposal(name=name), partner=partner))
    orders, agreements = list(book.booked_orders()), list(book.booked_agreements())
    for building in "abcd":
        own = [each for each in orders if each.building == building]
        assert list(book.booked_orders(building)) == own
        between = [each for each in agreements if building in (each.proposer, each.proposed.partner)]
        assert list(book.booked_agreements(building)) == between
        for found, all_of_it in (
            (list(book.orders_after(building, FIRST)), own),
            (list(book.agreements_after(building, FIRST)), between),
        ):
            assert found == sorted(all_of_it, key=lambda each: each.key)
        for at, each in enumerate(found := list(book.orders_after(building, FIRST))):
            assert list(book.orders_after(building, each.key)) == found[at + 1 :]
        for start in (NOON, NOON + 8 * HOUR, NOON + 7 * HOUR):
            to_come = [each for each in own if each.until > max(start, each.begin)]
            assert sorted(book.open_orders(building, start), key=lambda each: each.key) == sorted(
                to_come, key=lambda each: each.key
            )


def test_an_order_is_open_until_nothing_of_it_is_to_come(book: OrderBook) -> None:
    book.apply("a", order(NOON + 2 * HOUR, hours=2))
    assert [len(book.open_orders("a", NOON + hours * HOUR)) for hours in (0, 3, 4, 3)] == [1, 1, 0, 1]
    book.apply("a", OrderCancelled(order="o-1", since=NOON + HOUR, salt=SALT))
    assert book.open_orders("a", NOON) == []


@pytest.mark.parametrize(("side", "seller", "buyer"), [("sell", "a", "b"), ("buy", "b", "a")])
def test_an_agreement_holds_once_both_sides_agree(
    book: OrderBook, side: str, seller: str, buyer: str
) -> None:
    book.apply("a", proposal(side))
    assert book.agreements(NOON) == []
    book.apply("c", accepted())
    book.apply("a", accepted())
    assert book.agreements(NOON) == [], "only the partner can accept"
    book.apply("b", accepted(NOON + HOUR))
    assert book.agreements(NOON) == []
    assert book.agreements(NOON + HOUR) == [Agreement(seller, buyer, 9)]


@pytest.mark.parametrize(("who", "holds"), [("a", False), ("b", False), ("c", True)])
def test_either_side_ends_an_agreement(book: OrderBook, who: str, holds: bool) -> None:
    book.apply("a", proposal())
    book.apply("b", accepted())
    book.apply(who, AgreementEnded(agreement="a-1", proposer="a", since=NOON + HOUR, salt=SALT))
    assert book.agreements(NOON) == [Agreement("a", "b", 9)]
    assert bool(book.agreements(NOON + HOUR)) is holds


def test_agreements_are_served_first_in_the_order_of_their_acceptance(book: OrderBook) -> None:
    for name, since in (("a-1", NOON + HOUR), ("a-2", NOON)):
        book.apply("a", proposal(name=name))
        book.apply("b", accepted(since, name))
    market = Market(BAND, (), (), Routes())
    metered = [Metered("a", 0, 7), Metered("b", 9, 1)]
    agreements = [Agreement("a", "b", 9, 5), Agreement("a", "b", 8), Agreement("a", "x", 1)]
    trades, left = serve(agreements, metered, market, str)
    assert [trade[:4] for trade in trades] == [("a", "b", 5, 9), ("a", "b", 2, 8)]
    assert left == [Metered("a", 0, 0), Metered("b", 2, 1)]


def test_the_mechanism_sees_what_agreements_left() -> None:
    rules = Rules("mid_market_rate", Parameters(), Routes(), str)
    metered = [Metered("a", 0, 7), Metered("b", 9, 0), Metered("c", 0, 1)]
    settled = settle(rules, BAND, metered, {}, [Agreement("a", "b", 2_500_000, 5)])
    assert [(trade.seller, trade.energy_milliwh, trade.price_micro_per_kwh) for trade in settled.trades] == [
        ("a", 5, 2_500_000), ("a", 2, 3_000_000), ("c", 1, 3_000_000),
    ]  # fmt: skip
