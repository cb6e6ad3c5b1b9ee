"""What the doctor says of a tariff: until when it is known, and from when on it is not."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from api.http.operator_shapes import tariff_shape
from api.market_checks import _hole, _tariff, keys_findings, market_lines
from ledger.events import AnyEvent
from ledger.grid import Grid
from ledger.market_events import MarketRulesPublished, TariffPublished
from ledger.registry import Registry
from settlement.rules_in_force import OtherCurrency, RulesInForce
from settlement.settings import MarketSettings
from settlement.tariff import load_tariff, tariff_documents
from tests.support.campus import MORNING, Campus

GRID = Grid(15, "Asia/Bangkok")
MARKET = MarketSettings(mechanism="uniform_price", tariff="ends.toml")
ENDS = """
name = "ends"
country = "TH"
currency = "THB"
zone = "Asia/Bangkok"
source = "a test"
confirmed = true
versions = [{ from = 2026-01-01, until = 2026-06-15, feed_in_per_kwh = 2, periods = [
    { name = "all", energy_per_kwh = 4 },
] }]
"""


def registry_of(tariff: TariffPublished) -> Registry:
    registry = Registry("campus")
    published = MarketRulesPublished(
        begin=MORNING, mechanism="uniform_price", tariff=tariff.tariff, gate_minutes=0, final_days=7
    )
    facts: list[AnyEvent] = [Campus("campus").opening(), tariff, published]
    for fact in facts:
        registry.apply(fact)
    return registry


def rules(tariff: TariffPublished) -> RulesInForce:
    return RulesInForce(registry_of(tariff))


@pytest.mark.parametrize(("days", "verdict"), [(0, "odd"), (13, "odd"), (14, "wrong")])
def test_a_hole_is_told_with_its_day_before_it_is_reached(days: int, verdict: str) -> None:
    now = MORNING + timedelta(days=days)
    (finding,) = _tariff(rules(TariffPublished(tariff="ends", document=ENDS)), MARKET, GRID, now)
    assert (finding.what, finding.verdict) == ("tariff", verdict)
    assert "2026-06-15" in finding.found
    assert finding.hint.startswith("put what is missing into ends.toml")


def test_a_hole_beyond_the_next_30_days_is_told_as_what_is_known() -> None:
    tariff = TariffPublished(tariff="ends", document=ENDS.replace("06-15", "09-01"))
    (finding,) = _tariff(rules(tariff), MARKET, GRID, MORNING)
    assert (finding.verdict, finding.found) == ("well", "ends, known: the tariff until 2026-09-01")


def test_a_tariff_of_a_regulator_tells_its_surcharge_and_its_holidays() -> None:
    documents = tariff_documents("th-mea-4.2-12-24kv")
    published = TariffPublished(
        tariff=documents.name, document=documents.document, beside=dict(documents.beside)
    )
    finding, *remarks = _tariff(rules(published), MARKET, GRID, MORNING)
    assert {each.verdict for each in remarks} <= {"well"}
    ends = dict(load_tariff("th-mea-4.2-12-24kv").known_until(date(2026, 6, 1)))
    assert set(ends) >= {"the tariff", "holidays"}
    for what, end in ends.items():
        assert (f"{what} until {end}" in finding.found) == (end is not None)


@pytest.mark.parametrize(("day", "end"), [(1, "2026-06-15"), (14, "2026-06-15"), (29, "2026-06-15")])
def test_what_a_tariff_lacks_is_told_by_the_first_day_without_it_also_where_that_has_passed(
    day: int, end: str
) -> None:
    tariff = TariffPublished(tariff="ends", document=ENDS)
    today = (MORNING + timedelta(days=day - 1)).date()
    shape = tariff_shape(tariff, today)
    assert [(each.part, str(each.until)) for each in shape.known] == [("the tariff", end)]
    is_over = str(today) >= end
    assert shape.problem == (
        f"no price today: nothing is said of the tariff since {end}" if is_over else None
    )
    (finding,) = _tariff(rules(tariff), MARKET, GRID, MORNING + timedelta(days=day - 1))
    if is_over:
        assert finding.found.startswith(f"no price from {end} 00:00 on: ")


def test_a_surcharge_and_holidays_that_have_ended_are_told_since_when() -> None:
    tariff = load_tariff("th-mea-4.2-12-24kv")
    ends = dict(tariff.known_until(date(2026, 6, 1)))
    assert {name: end for name, end in ends.items() if end} == {
        name: end for name, end in tariff.known_until(date(2031, 2, 3)) if end
    }, "as seen from afterwards"
    assert tariff.unknown_since(date(2026, 6, 1)) is None
    assert tariff.unknown_since(date(2031, 2, 3)) == min(end for end in ends.values() if end)


def test_a_start_tells_the_rules_that_are_in_force_in_the_book_and_what_their_tariff_lacks() -> None:
    registry = registry_of(TariffPublished(tariff="ends", document=ENDS))
    later = MarketRulesPublished(
        begin=MORNING + timedelta(days=1), mechanism="pay_as_bid", tariff="ends", gate_minutes=0, final_days=7
    )
    registry.apply(later)
    assert list(market_lines(registry, MORNING)) == ["it trades by uniform_price"]
    assert list(market_lines(registry, later.begin)) == ["it trades by pay_as_bid"]
    (ahead,) = market_lines(registry, MORNING - timedelta(days=1))
    assert ahead == "it will trade by uniform_price from 2026-06-01T00:00:00Z on"
    _, hole = market_lines(registry, MORNING + timedelta(days=20))
    assert hole.startswith("nothing can be settled now: the tariff ends does not say")
    assert list(market_lines(Registry("campus"), MORNING)) == []


def test_before_the_first_rules_there_is_no_hole() -> None:
    tariff = TariffPublished(tariff="ends", document=ENDS)
    begin: datetime = MORNING - timedelta(days=2)
    assert _hole(rules(tariff), GRID, begin, MORNING) is None


@pytest.mark.parametrize(
    ("settings", "begin"),
    [
        ("th-mea-1.1", "copy its files beside the settings (`energy-ledger tariffs --copy th-mea-1.1`)"),
        ("/here/th-mea-1.1.toml", "put what is missing into th-mea-1.1.toml"),
    ],
)
def test_a_tariff_that_was_copied_is_to_be_mended_and_not_copied_again(settings: str, begin: str) -> None:
    tariff = TariffPublished(tariff="th-mea-1.1", document=ENDS)
    market = MarketSettings(mechanism="uniform_price", tariff=settings)
    (finding,) = _tariff(rules(tariff), market, GRID, MORNING)
    assert finding.hint.startswith(begin)


def test_nothing_is_settled_by_a_tariff_in_another_currency() -> None:
    tariff = TariffPublished(tariff="ends", document=ENDS.replace("THB", "EUR"))
    with pytest.raises(OtherCurrency, match="ends is in EUR, the community is in THB"):
        rules(tariff).at(MORNING)


@pytest.mark.parametrize(
    ("keys", "kind", "found"),
    [
        ({"a": 500_000, "b": 400_000}, "static", ["keys sum to 900,000; each counts as its part of that"]),
        ({"a": 500_000, "b": 500_000}, "static", []),
        ({"a": 1}, "proportional", []),
    ],
)
def test_keys_that_are_not_parts_a_million_are_remarked(
    keys: dict[str, int], kind: Any, found: list[str]
) -> None:
    market = MarketSettings(mechanism="sharing_key", tariff="ends.toml", key_kind=kind, keys=keys)
    assert [each.found for each in keys_findings(market)] == [f"a remark: {each}" for each in found]
