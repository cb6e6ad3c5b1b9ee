"""How orders and agreements stand at an instant, in words."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ledger.market_events import (
    AgreementAccepted,
    AgreementEnded,
    AgreementProposed,
    OrderCancelled,
    OrderPlaced,
)
from settlement.order_book import OrderBook
from settlement.order_rows import agreement_rows, order_rows
from tests.support.campus import MORNING, QUARTER, SALT

END = MORNING + 8 * QUARTER
SPAN: dict[str, Any] = {"begin": MORNING, "until": END, "salt": SALT}
PROPOSED = AgreementProposed(agreement="a-1", side="sell", partner="b-2", price_micro_per_kwh=3, **SPAN)


def book() -> OrderBook:
    return OrderBook(ZoneInfo("Asia/Bangkok"))


def placed(name: str = "o-1") -> OrderPlaced:
    return OrderPlaced(order=name, side="sell", limit_micro_per_kwh=3, **SPAN)


@pytest.mark.parametrize(
    ("quarters", "state"), [(-1, "will hold"), (0, "holds"), (7, "holds"), (8, "held"), (9, "held")]
)
def test_an_order_holds_from_its_beginning_to_its_end(quarters: int, state: str) -> None:
    orders = book()
    orders.apply("b-1", placed())
    assert [row.state for row in order_rows(orders, MORNING + quarters * QUARTER)] == [state]


@pytest.mark.parametrize("since", [MORNING - QUARTER, MORNING])
def test_an_order_that_was_cancelled_before_it_began_never_held_and_ends_as_it_begins(
    since: datetime,
) -> None:
    orders = book()
    orders.apply("b-1", placed())
    orders.apply("b-1", OrderCancelled(order="o-1", since=since, salt=SALT))
    for now in (MORNING - QUARTER, MORNING, END):
        (row,) = order_rows(orders, now)
        assert (row.state, row.begin, row.until) == ("never held", MORNING, MORNING)


def test_a_proposal_is_open_while_it_can_still_be_accepted() -> None:
    orders = book()
    orders.apply("b-1", PROPOSED)
    assert [row.state for row in agreement_rows(orders, END - QUARTER)] == ["proposed"]
    assert [row.state for row in agreement_rows(orders, END)] == ["never held"]
    orders.apply("b-2", AgreementAccepted(agreement="a-1", proposer="b-1", since=END - QUARTER, salt=SALT))
    (row,) = agreement_rows(orders, MORNING)
    assert (row.state, row.begin, row.accepted_since) == ("will hold", END - QUARTER, END - QUARTER)
    orders.apply("b-1", AgreementEnded(agreement="a-1", proposer="b-1", since=END - QUARTER, salt=SALT))
    (row,) = agreement_rows(orders, MORNING)
    assert (row.state, row.until) == ("never held", row.begin)


def test_a_building_has_its_own_orders_and_the_agreements_of_both_parties() -> None:
    orders = book()
    for building, name in (("b-2", "o-2"), ("b-1", "o-1"), ("b-1", "o-0")):
        orders.apply(building, placed(name))
    orders.apply("b-1", PROPOSED)
    now = MORNING + timedelta(minutes=1)
    assert [row.order for row in order_rows(orders, now, "b-1")] == ["o-0", "o-1"]
    assert [(row.building, row.order) for row in order_rows(orders, now)][-1] == ("b-2", "o-2")
    found = {name: len([*agreement_rows(orders, now, name)]) for name in ("b-1", "b-2", "b-3")}
    assert found == {"b-1": 1, "b-2": 1, "b-3": 0}
