"""The market in the book: rules never overlap, orders are sealed at gate closure, each has its own place."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from ledger.errors import BadInput, Contradiction
from ledger.event import Event
from ledger.events import BuildingAdded
from ledger.grid import Grid
from ledger.market import GateClosed, check_orders
from ledger.market_events import (
    AgreementAccepted,
    AgreementEnded,
    AgreementProposed,
    InvoiceIssued,
    MarketRulesPublished,
    OrderCancelled,
    OrderPlaced,
    SettlementRun,
    TariffPublished,
    WheelingRule,
)
from ledger.registry import OPERATOR, SERVICE, NotPermitted
from tests.unit.ledger.campus import MORNING, NOW, SALT, Book, campus

QUARTER = timedelta(minutes=15)
LATER = NOW + timedelta(hours=1)
TARIFF = TariffPublished(tariff="flat", document='name = "flat"')
HEX = "0" * 64


def rules(begin: datetime = MORNING, **more: Any) -> MarketRulesPublished:
    fields: dict[str, Any] = {"mechanism": "mid_market_rate", "gate_minutes": 60, "final_days": 7}
    return MarketRulesPublished(begin=begin, tariff="flat", **(fields | more))


def order(begin: datetime = LATER, until: datetime = LATER + QUARTER, **more: Any) -> OrderPlaced:
    return OrderPlaced(
        order="o-1", side="sell", limit_micro_per_kwh=3, begin=begin, until=until, salt=SALT, **more
    )


def proposal(partner: str = "b-2", begin: datetime = LATER) -> AgreementProposed:
    return AgreementProposed(
        agreement="a-1", side="sell", partner=partner, price_micro_per_kwh=3, begin=begin,
        until=begin + QUARTER, salt=SALT,
    )  # fmt: skip


RUN = SettlementRun(
    number=1, kind="provisional", begin=MORNING, until=MORNING + QUARTER, tree_size=1, root=HEX, rules=HEX,
    result=HEX, settled=1,
)  # fmt: skip
INVOICE = InvoiceIssued(number="campus-2026-000001", building="b-1", code=HEX, document="{}", run=1)


@pytest.fixture
def book() -> Book:
    """A campus of two buildings with rules that close the gate an hour ahead."""
    book = campus()
    book.take(book.sealed(OPERATOR, {"registry": [BuildingAdded(building="b-2", feeder="f-1", name="Arts")]}))
    book.take(book.sealed(OPERATOR, {"market": [TARIFF, rules()]}))
    return book


def answer(book: Book, device: str, stream: str, *events: Event) -> str:
    return book.answer(book.sealed(device, {stream: list(events)}))


# --- who writes where ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "stream", "event"),
    [
        ("b-1", "building/b-1", order()),
        (OPERATOR, "building/b-1", order()),
        (SERVICE, "building/b-2", order()),
        (OPERATOR, "market", TARIFF),
        (SERVICE, "settlement", RUN),
        (SERVICE, "settlement", INVOICE),
    ],
)
def test_everybody_writes_at_their_own_place(book: Book, device: str, stream: str, event: Event) -> None:
    assert answer(book, device, stream, event) == "recorded"


@pytest.mark.parametrize(
    ("device", "stream", "event"),
    [
        ("b-1", "building/b-2", order()),
        ("gw-1", "building/b-1", order()),
        (OPERATOR, "building/b-9", order()),
        ("b-1", "market", TARIFF),
        (SERVICE, "market", TARIFF),
        (OPERATOR, "market/north", TARIFF),
        (OPERATOR, "settlement", RUN),
        ("b-1", "settlement", INVOICE),
        ("b-1", "device/b-1", order()),
        (OPERATOR, "registry", TARIFF),
    ],
)
def test_and_at_nobody_elses(book: Book, device: str, stream: str, event: Event) -> None:
    assert answer(book, device, stream, event) == NotPermitted.code


# --- rules --------------------------------------------------------------------------------------------


def test_rules_hold_from_their_beginning_to_the_next(book: Book) -> None:
    second = rules(LATER + QUARTER, mechanism="bill_sharing")
    assert answer(book, OPERATOR, "market", second) == "recorded"
    market = book.registry.market
    assert market.rules_at(MORNING - QUARTER) is None
    assert market.rules_at(LATER) == rules()
    assert market.rules_at(LATER + QUARTER) == second


@pytest.mark.parametrize("begin", [LATER + 2 * QUARTER, LATER + QUARTER], ids=["overlap", "earlier"])
def test_rules_that_overlap_are_refused(book: Book, begin: datetime) -> None:
    announced = rules(LATER + 2 * QUARTER)
    assert answer(book, OPERATOR, "market", announced) == "recorded"
    assert answer(book, OPERATOR, "market", rules(begin, mechanism="bill_sharing")) == Contradiction.code
    assert book.registry.market.rules == (rules(), announced)


@pytest.mark.parametrize(
    "wrong",
    [
        rules(LATER + timedelta(minutes=1)),
        rules(LATER, keys={"b-9": 1}),
        rules(LATER, wheeling=[WheelingRule(source="f-1", target="f-9")]),
        rules(LATER, wheeling=[WheelingRule(source="f-1", target="f-1")] * 2),
        MarketRulesPublished(
            begin=LATER, mechanism="bill_sharing", tariff="none", gate_minutes=0, final_days=0
        ),
    ],
    ids=["off-grid", "building", "feeder", "twice", "tariff"],
)
def test_rules_that_name_what_is_not_there_are_refused(book: Book, wrong: MarketRulesPublished) -> None:
    assert answer(book, OPERATOR, "market", wrong) == Contradiction.code
    assert book.registry.market.rules == (rules(),)


def refusal(book: Book, device: str, stream: str, event: Event) -> str:
    """What the book says of an event that it does not take."""
    with pytest.raises(BadInput) as caught:
        book.take(book.sealed(device, {stream: [event]}))
    return str(caught.value)


def test_a_way_to_a_feeder_that_is_not_there_is_told_with_both() -> None:
    book = campus()
    book.take(book.sealed(OPERATOR, {"market": [TARIFF]}))
    said = refusal(book, OPERATOR, "market", rules(wheeling=[WheelingRule(source="f-1", target="f-9")]))
    assert "wheeling from f-1 to f-9: there is no feeder f-9" in said


# --- the gate -----------------------------------------------------------------------------------------

CHANGES = [
    lambda at: order(at, at + QUARTER),
    lambda at: OrderCancelled(order="o-1", since=at, salt=SALT),
    lambda at: proposal(begin=at),
    lambda at: AgreementAccepted(agreement="a-1", proposer="b-2", since=at, salt=SALT),
    lambda at: AgreementEnded(agreement="a-1", proposer="b-2", since=at, salt=SALT),
]


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_changes_what_is_being_traded_already(book: Book, change: Any) -> None:
    assert answer(book, "b-1", "building/b-1", change(LATER - QUARTER)) == GateClosed.code
    assert answer(book, "b-1", "building/b-1", change(LATER)) == "recorded"


@pytest.mark.parametrize(
    "wrong",
    [
        order(LATER + timedelta(minutes=1)),
        order(LATER, LATER),
        order(LATER, LATER + timedelta(seconds=1)),
        order(clock_from="09:00"),
        proposal(partner="b-1"),
        proposal(partner="b-9"),
    ],
)
def test_orders_that_make_no_sense_are_refused(book: Book, wrong: Event) -> None:
    assert answer(book, "b-1", "building/b-1", wrong) == Contradiction.code


def test_an_instant_that_does_not_fit_is_told_on_the_communitys_clocks(book: Book) -> None:
    grid, second = Grid(15, "Asia/Bangkok"), timedelta(seconds=1)
    local = f"{LATER + timedelta(hours=7):%Y-%m-%d %H:%M}"
    for wrong, shown in ((order(LATER, LATER), local), (order(LATER + second), f"{local}:01")):
        with pytest.raises(Contradiction) as caught:
            check_orders(wrong, "b-1", book.registry.market, grid, book.registry.buildings, NOW)
        assert caught.value.where == f"{shown} (Asia/Bangkok)"


def test_an_agreement_takes_two(book: Book) -> None:
    said = refusal(book, "b-1", "building/b-1", proposal(partner="b-1"))
    assert "a building makes no agreement with itself" in said
    assert "no building b-9" in refusal(book, "b-1", "building/b-1", proposal(partner="b-9"))


def test_rules_change_no_interval_whose_gate_is_closed(book: Book) -> None:
    assert answer(book, OPERATOR, "market", rules(NOW + timedelta(minutes=45))) == "gate-closed"
    assert answer(book, OPERATOR, "market", rules(LATER)) == "recorded"


def test_an_order_that_is_in_the_book_is_a_duplicate_also_after_its_gate_has_closed(book: Book) -> None:
    placed = book.sealed("b-1", {"building/b-1": [order()]})
    book.now = LATER - timedelta(hours=1)
    assert book.answer(placed) == "recorded"
    book.now = LATER
    longer = book.sealed(
        "b-1", {"building/b-1": [order(), OrderCancelled(order="o-1", since=LATER, salt=SALT)]}, heads={}
    )
    assert (book.answer(placed), book.answer(longer)) == ("duplicate", GateClosed.code)
