"""The settings' market gets into the book once, and again when it changes."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import BadInput
from ledger.grid import Grid
from ledger.market import Market
from ledger.market_events import MarketRulesPublished, TariffPublished, WheelingRule
from ledger.settings import BuildingSettings, CommunitySettings, FeederSettings, Settings, SettingsInvalid
from settlement.publishing import asked_for, missing_events
from settlement.rules_in_force import OtherCurrency, OtherZone
from settlement.settings import MarketSettings, market_from
from settlement.tariff import NoSinglePrice, UnknownTariff, tariff_documents
from settlement.utility_bill import ContractMissing

GRID = Grid(15, "Asia/Bangkok")
NOW = datetime(2026, 6, 1, 0, 7, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
BOOK = Settings(
    CommunitySettings("campus"),
    feeders=[FeederSettings("f-1"), FeederSettings("f-2")],
    buildings=[BuildingSettings("a", "f-1")],
)
EURO = Settings(CommunitySettings("campus", currency="EUR"))
SPAIN = Settings(CommunitySettings("campus", zone="Europe/Madrid", currency="EUR"))
PLACE = Path("energy-ledger.toml")
TABLE = {"mechanism": "uniform_price", "tariff": "th-mea-4.2-12-24kv"}


def market(**more: Any) -> MarketSettings:
    found = market_from({"market": TABLE | more}, PLACE)
    assert found is not None
    return found


def published(known: Market, settings: MarketSettings, now: datetime = NOW, book: Settings = BOOK) -> Market:
    """The market after the missing events."""
    for event in missing_events(known, settings, book, now):
        if isinstance(event, TariffPublished):
            known = known.with_tariff(event)
        else:
            assert isinstance(event, MarketRulesPublished)
            known = known.with_rules(event, GRID, {"a"}, {"f-1", "f-2"})
    return known


def test_the_first_rules_hold_from_the_interval_under_way() -> None:
    first = published(Market(), market())
    assert [rules.begin for rules in first.rules] == [NOW.replace(minute=0)]
    assert set(first.tariffs) == {"th-mea-4.2-12-24kv"}
    assert set(first.tariffs["th-mea-4.2-12-24kv"].beside) >= {"holidays/th.toml"}


def test_what_the_book_says_already_is_not_said_again() -> None:
    first = published(Market(), market())
    assert missing_events(first, market(), BOOK, NOW + timedelta(days=1)) == []


def test_what_was_published_otherwise_is_left_alone_until_the_settings_ask_for_something_new() -> None:
    ours, later = market(), NOW + timedelta(days=1)
    applied = asked_for(Market(), ours, BOOK, NOW)
    book = published(published(Market(), ours), market(mechanism="pay_as_bid"), later)
    assert [type(each) for each in missing_events(book, ours, BOOK, later)] == [MarketRulesPublished]
    assert missing_events(book, ours, BOOK, later, applied) == []
    assert asked_for(book, ours, BOOK, later) == applied, "whenever it begins"
    (rules,) = missing_events(book, market(final_days=3), BOOK, later, applied)
    assert isinstance(rules, MarketRulesPublished)
    edited = book.with_tariff(TariffPublished(tariff=ours.tariff, document="x = 1"))
    assert missing_events(edited, ours, BOOK, later, applied) == []
    assert len(missing_events(edited, ours, BOOK, later)) == 2


def test_rules_that_changed_hold_from_the_first_interval_whose_gate_is_open() -> None:
    wheeling = [{"from": "f-1", "to": "f-2", "fee_micro_per_kwh": 5}]
    changed = market(mechanism="mid_market_rate", keys={"a": 2}, wheeling=wheeling)
    both = published(published(Market(), market()), changed)
    assert [rules.begin for rules in both.rules] == [NOW.replace(minute=0), NOW.replace(hour=1, minute=15)]
    assert both.rules[1].wheeling == [WheelingRule(source="f-1", target="f-2", fee_micro_per_kwh=5)]
    thrice = published(both, market())
    assert thrice.rules[2].begin == NOW.replace(hour=1, minute=30), "two changes within an interval"


def test_rules_can_be_announced_for_a_day_to_come() -> None:
    first = published(Market(), market())
    july = datetime(2026, 6, 30, 17, tzinfo=UTC)
    announced = market(mechanism="pay_as_bid", begin=date(2026, 7, 1))
    both = published(first, announced)
    assert both.rules[1].begin == july
    assert missing_events(both, announced, BOOK, july + timedelta(days=3)) == []
    late = published(first, announced, july + timedelta(minutes=50))
    assert late.rules[1].begin == july + timedelta(hours=2), "what is past is not changed"


def test_a_tariff_that_changed_is_published_again(tmp_path: Path) -> None:
    flat = """
name = "flat"
country = "TH"
currency = "THB"
zone = "Asia/Bangkok"
source = "a test"
confirmed = true
versions = [{ from = 2026-01-01, periods = [{ name = "all", energy_per_kwh = 4 }] }]
"""
    (tmp_path / "flat.toml").write_text(flat)
    settings = market_from({"market": TABLE | {"tariff": "flat.toml"}}, tmp_path / "energy-ledger.toml")
    assert settings is not None
    first = published(Market(), settings)
    (tmp_path / "flat.toml").write_text(flat.replace("= 4 ", "= 5 "))
    (event,) = missing_events(first, settings, BOOK, NOW)
    assert isinstance(event, TariffPublished)
    (tmp_path / "flat.toml").write_text("nonsense")
    with pytest.raises(BadInput):
        missing_events(first, settings, BOOK, NOW)


def test_a_community_without_a_market_has_none() -> None:
    assert market_from({}, PLACE) is None


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"mechanism": "barter"}, "sharing_key"),
        ({"gate_minutes": -1}, "market.gate_minutes"),
        ({"split": 1}, "split_ppm"),
        ({"wheeling": [{"from": "f-1"}]}, "to"),
        ({"keys": {"clinic": 1, "school": 0.5}}, "market.keys.school a whole number is meant"),
        ({"keys": {"school": 0.5}}, "500_000 for a half"),
        ({"keys": {"school": -1}}, "market.keys.school"),
        ({"keys": {"My School": 1}}, "market.keys.My School a name is"),
        ({"tariff": "a\0b.toml"}, "market.tariff a path, without a zero byte"),
        ({"begin": date(1, 1, 1)}, "on 0001-01-01 energy-ledger.toml: market.begin"),
        ({"begin": date(2000, 1, 1)}, "a day between the years 2000 and 2199"),
        ({"begin": date(2500, 1, 1)}, "begin = 2026-07-01"),
        ({"begin": date(9999, 12, 31)}, "market.begin"),
    ],
)
def test_a_market_that_does_not_fit_is_told_with_its_place(more: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        market(**more)
    assert told in f"{caught.value.what} {caught.value.where} {caught.value.hint}"


def test_a_tariff_that_bills_contracted_power_asks_how_much() -> None:
    spain = {"tariff": "es-som-2.0td"}
    with pytest.raises(ContractMissing, match="contracted"):
        published(Market(), market(**spain), book=SPAIN)
    (rules,) = published(Market(), market(**spain, contracted_w=4_600), book=SPAIN).rules
    assert rules.contracted_w == 4_600


def test_a_tariff_in_another_currency_than_the_communitys_is_not_published() -> None:
    with pytest.raises(OtherCurrency, match="kv is in THB, the community is in EUR"):
        missing_events(Market(), market(), EURO, NOW)


def test_a_tariff_of_another_time_zone_than_the_communitys_is_not_published() -> None:
    with pytest.raises(OtherZone, match="in Europe/Madrid, the community's are in Asia/Bangkok"):
        missing_events(Market(), market(tariff="es-som-2.0td", contracted_w=1), EURO, NOW)


def test_a_tariff_whose_price_hangs_on_the_months_sum_is_not_published() -> None:
    with pytest.raises(NoSinglePrice, match="has blocks"):
        missing_events(Market(), market(tariff="th-mea-1.2"), BOOK, NOW)


@pytest.mark.parametrize("tariff", ["th-x", "x.toml", f"{'x' * 400}.toml"])
def test_a_tariff_that_is_not_there_is_told_with_its_place(tariff: str) -> None:
    with pytest.raises(UnknownTariff) as caught:
        missing_events(Market(), market(tariff=tariff), BOOK, NOW)
    assert caught.value.where == "market.tariff"


def test_a_tariffs_file_that_the_book_cannot_call_by_its_name_is_not_published(tmp_path: Path) -> None:
    documents = tariff_documents("th-mea-4.2-12-24kv")
    for name, text in {"My Tariff.toml": documents.document, **documents.beside}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    settings = market(tariff=str(tmp_path / "My Tariff.toml"))
    with pytest.raises(SettingsInvalid, match="cannot call a tariff 'My Tariff'") as caught:
        missing_events(Market(), settings, BOOK, NOW)
    assert caught.value.where == "market.tariff"


@pytest.mark.parametrize("kind", ["static", "cascading"])
@pytest.mark.parametrize("keys", [{}, {"a": 0}])
def test_shares_that_nobody_has_are_not_published(kind: str, keys: dict[str, int]) -> None:
    with pytest.raises(SettingsInvalid, match=f"a {kind} key needs the buildings' shares") as caught:
        missing_events(Market(), market(mechanism="sharing_key", key_kind=kind, keys=keys), BOOK, NOW)
    assert caught.value.where == "market.keys"
    assert missing_events(Market(), market(key_kind=kind, keys=keys), BOOK, NOW), "another mechanism's"


WAY = {"from": "f-1", "to": "f-2"}


@pytest.mark.parametrize(
    ("more", "what", "where", "hint"),
    [
        (
            {"wheeling": [{**WAY, "from": "f-9"}]},
            "no feeder f-9",
            "market.wheeling[0].from",
            "feeders: f-1, f-2",
        ),
        ({"wheeling": [WAY, {**WAY, "to": "g-2"}]}, "no feeder g-2", "market.wheeling[1].to", "f-1, f-2"),
        ({"wheeling": [WAY, WAY]}, "from f-1 to f-2 is told twice", "market.wheeling[1]", ""),
        ({"keys": {"a": 1, "b": 2}}, "no building b", "market.keys.b", "buildings: a"),
    ],
)
def test_rules_that_name_what_the_settings_do_not_have_are_not_published(
    more: dict[str, Any], what: str, where: str, hint: str
) -> None:
    with pytest.raises(SettingsInvalid, match=what) as caught:
        missing_events(Market(), market(**more), BOOK, NOW)
    assert caught.value.where == where
    assert hint in caught.value.hint
