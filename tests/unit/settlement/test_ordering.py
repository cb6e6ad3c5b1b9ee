"""What a building says becomes an event, or is refused in plain words before it is sent."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from ledger.errors import BadInput
from ledger.event import Event
from ledger.events import BuildingAdded
from ledger.grid import Grid
from ledger.market import SENDING
from ledger.market_events import MarketRulesPublished, TariffPublished
from ledger.registry import OPERATOR, NotPermitted, Registry, UnknownDevice
from settlement.order_book import OrderBook
from settlement.ordering import Desk, Words, clock_window, price_micro
from tests.support.campus import MORNING, QUARTER, Campus, key

NOW = MORNING + timedelta(minutes=7)
FIRST = MORNING + 5 * QUARTER  # an hour later the gate is at 01:07, and the interval of 01:15 is the first
SPAN = (None, "2026-06-02T07:00")


class Office:
    """A desk whose book takes what was made at it."""

    def __init__(self) -> None:
        campus = Campus("campus")
        registry = Registry("campus")
        rules = MarketRulesPublished(
            begin=MORNING, mechanism="uniform_price", tariff="flat", gate_minutes=60, final_days=7
        )
        facts: list[Any] = [
            campus.opening(), *campus.facts(), BuildingAdded(building="b-2", feeder="f-1", name="Two"),
            BuildingAdded(building="b-3", feeder="f-1", name="Three"),
            TariffPublished(tariff="flat", document=""), rules,
        ]  # fmt: skip
        for fact in facts:
            registry.apply(fact)
        grid = Grid(15, "Asia/Bangkok")
        self.desk = Desk(grid, registry, OrderBook(grid.zone), NOW)

    def place(self, name: str = "o-1", begin: str | None = None, until: str = SPAN[1] or "") -> Event:
        return self.take("b-1", self.desk.placed("b-1", name, "sell", 3, None, (begin, until), (None, None)))

    def propose(self, partner: str = "b-2", name: str = "a-1") -> Event:
        return self.take("b-1", self.desk.proposed("b-1", name, "sell", partner, 3, 500, SPAN))

    def take(self, building: str, event: Event) -> Event:
        self.desk.orders.apply(building, event)
        return event


@pytest.fixture
def office() -> Office:
    return Office()


def refused(code: str, what: Callable[[], Any]) -> BadInput:
    with pytest.raises(BadInput) as caught:
        what()
    assert caught.value.code == code
    return caught.value


def test_a_building_has_so_many_orders_that_have_not_ended(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("settlement.ordering.ORDERS_OPEN_MAX", 2)
    office.place("o-1")
    office.place("o-2")
    assert "b-1 has 2 orders" in refused("too-many-orders", lambda: office.place("o-3")).what
    office.take("b-1", office.desk.cancelled("b-1", "o-1", None))
    office.place("o-3")


def test_a_building_has_proposed_so_many_agreements_that_have_not_ended(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("settlement.ordering.AGREEMENTS_OPEN_MAX", 3)
    monkeypatch.setattr("settlement.ordering.AGREEMENTS_WITH_ONE_MAX", 2)
    office.propose("b-2", "a-1")
    office.propose("b-2", "a-2")
    told = refused("too-many-agreements", lambda: office.propose("b-2", "a-3"))
    assert "proposed b-2 2 agreements" in told.what
    office.propose("b-3", "a-3")
    assert (
        "b-1 has proposed 3 agreements"
        in refused("too-many-agreements", lambda: office.propose("b-3", "a-4")).what
    )
    office.take("b-2", office.desk.proposed("b-2", "a-1", "sell", "b-1", 3, 500, SPAN))
    office.take("b-2", office.desk.ended("b-2", "a-1", "b-1", None))
    office.propose("b-2", "a-4")
    office.take("b-2", office.desk.accepted("b-2", "a-4", "b-1", None))
    refused("too-many-agreements", lambda: office.propose("b-2", "a-5"))


@pytest.mark.parametrize(
    ("text", "micro"),
    [("3.20", 3_200_000), ("0", 0), ("0.000001", 1), ("1e3", 10**9), ("4.184900", 4_184_900)],
)
def test_a_price_is_exact_to_six_decimals(text: str, micro: int) -> None:
    assert price_micro(Decimal(text), "--limit") == micro


@pytest.mark.parametrize(
    "text",
    ["-1", "0.0000001", "nan", "inf", "1e99999", "1e-99999", "1.00000000000000000000000000000001", "1e9"],
)
def test_what_is_no_price_is_told(text: str) -> None:
    assert refused("bad-cell", lambda: price_micro(Decimal(text), "--limit")).where == "--limit"


@pytest.mark.parametrize("window", [("22:00", None), (None, "6:00"), ("25:00", "06:00"), ("06:00", "06:00")])
def test_a_window_has_two_ends_that_are_times_of_day(window: tuple[str | None, str | None]) -> None:
    refused("bad-cell", lambda: clock_window(*window))


def test_without_a_beginning_it_holds_from_the_first_interval_that_is_open(office: Office) -> None:
    placed = office.desk.placed("b-1", "o-1", "sell", 3, None, SPAN, ("22:00", "06:00"))
    assert (placed.begin, placed.until) == (FIRST, datetime(2026, 6, 2, tzinfo=UTC))
    assert (placed.clock_from, placed.clock_until) == ("22:00", "06:00")


def test_a_gate_that_closes_while_it_is_sent_counts_as_closed(office: Office) -> None:
    for seconds, first in ((11, MORNING + 5 * QUARTER), (9, MORNING + 6 * QUARTER)):
        now = MORNING + QUARTER - timedelta(seconds=seconds)
        desk = Desk(office.desk.grid, office.desk.registry, office.desk.orders, now)
        assert desk.registry.market.gate(now + SENDING) <= first == desk.first_open()


def test_an_instant_may_have_an_offset_or_be_local(office: Office) -> None:
    for text in ("2026-06-01T09:00+07:00", "2026-06-01T02:00:00Z", "2026-06-01T09:00", "2026-06-01 09:00"):
        assert office.desk.instant(text, "--begin") == datetime(2026, 6, 1, 2, tzinfo=UTC)
    assert refused("bad-cell", lambda: office.desk.instant("noon", "--begin")).where == "--begin"


def test_a_closed_gate_is_told_with_the_time_from_when_it_can_hold(office: Office) -> None:
    error = refused("gate-closed", lambda: office.place(begin="2026-06-01T08:00"))
    assert error.what == "the gate is closed for 2026-06-01 08:00"
    assert error.hint == "it can hold from 2026-06-01 08:15 on (Asia/Bangkok)"


def test_an_order_until_a_time_that_is_past_is_told_on_the_communitys_clocks(office: Office) -> None:
    error = refused("contradiction", lambda: office.place(until="2026-05-01T00:00"))
    assert (error.what, error.where) == ("it ends before it begins", "2026-05-01 00:00 (Asia/Bangkok)")


def test_nobody_proposes_to_themselves(office: Office) -> None:
    error = refused("contradiction", lambda: office.propose("b-1"))
    assert error.what == "a building makes no agreement with itself"


def test_a_name_can_be_used_again_once_its_order_ends(office: Office) -> None:
    office.place()
    assert "until 2026-06-02 07:00" in refused("name-in-use", office.place).what
    office.place(begin="2026-06-02T07:00", until="2026-06-03T07:00")
    office.take("b-1", office.desk.cancelled("b-1", "o-1", None))


def test_cancelling_what_is_not_there_is_told(office: Office) -> None:
    office.place("night-sale")
    meant = refused("unknown-order", lambda: office.desk.cancelled("b-1", "nightsale", None))
    assert "did you mean `night-sale`?" in meant.hint
    refused("unknown-order", lambda: office.desk.cancelled("b-2", "night-sale", None))
    office.take("b-1", office.desk.cancelled("b-1", "night-sale", None))
    again = refused("unknown-order", lambda: office.desk.cancelled("b-1", "night-sale", None))
    assert "ends before 2026-06-01 08:15" in again.what


def test_a_proposal_is_accepted_once_by_whom_it_is_for_and_ended_by_either(office: Office) -> None:
    office.propose()
    refused("name-in-use", office.propose)
    desk = office.desk
    refused("not-a-party", lambda: desk.accepted("b-1", "a-1", "b-1", None))
    refused("unknown-agreement", lambda: desk.accepted("b-3", "a-1", "b-1", None))
    refused("unknown-agreement", lambda: desk.accepted("b-2", "a-2", "b-1", None))
    refused("unknown-agreement", lambda: desk.ended("b-3", "a-1", "b-1", None))
    office.take("b-2", desk.accepted("b-2", "a-1", "b-1", None))
    refused("contradiction", lambda: desk.accepted("b-2", "a-1", "b-1", None))
    office.take("b-2", desk.ended("b-2", "a-1", "b-1", None))
    refused("unknown-agreement", lambda: desk.ended("b-1", "a-1", "b-1", None))


def test_a_proposal_of_later_is_accepted_from_its_beginning_on(office: Office) -> None:
    desk = office.desk
    later = desk.proposed("b-1", "a-1", "buy", "b-2", 3, None, ("2026-06-01T20:00", "2026-06-02T00:00"))
    office.take("b-1", later)
    assert desk.accepted("b-2", "a-1", "b-1", None).since == later.begin


def test_a_building_that_the_book_does_not_have_is_told(office: Office) -> None:
    desk = office.desk
    error = refused("unknown-building", lambda: desk.placed("b2", "o", "buy", 1, None, SPAN, (None, None)))
    assert error.hint == "did you mean `b-2`? buildings: b-1, b-2, b-3"
    refused("unknown-building", lambda: office.propose("b-9"))
    refused("contradiction", lambda: office.propose("b-1"))


@pytest.mark.parametrize("energy", [0, -1, 10**13])
def test_an_energy_is_a_number_of_watt_hours(office: Office, energy: int) -> None:
    refused("bad-cell", lambda: office.desk.placed("b-1", "o", "buy", 1, energy, SPAN, (None, None)))


@pytest.mark.parametrize("name", ["", "Night", "a b", "../x", "x" * 65])
def test_a_name_is_one_that_the_book_allows(office: Office, name: str) -> None:
    refused("bad-cell", lambda: office.place(name))


def test_only_the_building_itself_and_the_operator_may_sign(office: Office) -> None:
    placed = office.desk.placed("b-1", "o-1", "sell", 3, None, SPAN, (None, None))
    office.desk.check_signer(OPERATOR, key(OPERATOR).public.id, "b-1", placed)
    with pytest.raises(UnknownDevice):
        office.desk.check_signer("b-1", key("b-1").public.id, "b-1", placed)
    with pytest.raises(NotPermitted):
        office.desk.check_signer("gw-1", key("gw-1").public.id, "b-1", placed)


def test_far_from_the_book_an_instant_has_to_be_named_and_the_ledger_judges() -> None:
    far = Words(Grid(15, "Asia/Bangkok"))
    assert (
        "--begin"
        in refused("bad-cell", lambda: far.placed("b", "o", "buy", 1, None, SPAN, (None, None))).where
    )
    refused("bad-cell", lambda: far.accepted("b", "a-1", "b-1", None))
    placed = far.placed("b", "o", "buy", 1, None, ("2026-06-01T09:00", "2026-06-02T09:00"), (None, None))
    assert placed.begin == datetime(2026, 6, 1, 2, tzinfo=UTC)
    refused("bad-cell", lambda: far.ended("../b", "a-1", "b-1", "2026-06-01T09:00"))


def test_what_is_beyond_a_bound_is_told_with_the_bound_and_its_unit(office: Office) -> None:
    dear = refused("bad-cell", lambda: price_micro(Decimal(100_001), "--limit"))
    assert (dear.where, dear.hint[:63]) == (
        "--limit",
        "what a kWh costs is meant, in the currency: from 0 to 100,000, ",
    )
    for energy_wh in (0, -1, 10**12 + 1):
        placed = partial(office.desk.placed, "b-1", "o", "sell", 3, energy_wh, SPAN, (None, None))
        much = refused("bad-cell", placed)
        assert much.where == "--energy-wh"
        assert much.hint.startswith("whole watt-hours from 1 to 1,000,000,000,000 are meant")
