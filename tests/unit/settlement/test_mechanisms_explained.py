"""Every mechanism is explained with all that can be set, by the names that rules and settings have for it."""

from datetime import date, timedelta

import pytest
from msgspec import inspect

from settlement.mechanism_commands import mechanisms
from settlement.mechanisms import MECHANISMS
from settlement.mechanisms.explained import EXPLAINED
from settlement.month import midnight
from settlement.plain.rules import ParametersTable
from settlement.settings import MarketSettings
from settlement.tariff import load_tariff, tariff_names


def choices(kind: type, name: str) -> list[str]:
    """The texts among which a setting is chosen."""
    (found,) = (field for field in inspect.type_info(kind).fields if field.name == name)  # type: ignore[attr-defined]  # a struct's
    return list(found.type.values) if isinstance(found.type, inspect.LiteralType) else []


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_mechanism_is_explained_with_its_own_parameters(name: str) -> None:
    explained = EXPLAINED[name]
    assert {each.name for each in explained.settings} == set(MECHANISMS[name].parameters)
    for each in explained.settings:
        for kind, key in ((ParametersTable, each.name), (MarketSettings, each.market)):
            assert key in kind.__struct_fields__
            assert all(choice in each.values for choice in choices(kind, key))
    does_not_count = "orders do not count" in explained.pays
    assert does_not_count != MECHANISMS[name].takes_orders


def test_they_are_shown_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    mechanisms()
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if line in MECHANISMS] == list(EXPLAINED)
    assert set(EXPLAINED) == set(MECHANISMS)


@pytest.mark.parametrize("name", tariff_names())
def test_all_that_a_tariff_needs_is_known_between_its_two_days(name: str) -> None:
    tariff = load_tariff(name)
    begin, until = tariff.known()
    assert until is None or begin < until
    noon = 12 * 3600
    last = (until or date(begin.year + 1, 1, 1)) - timedelta(days=1)
    for day in (begin, last):
        tariff.terms(int(midnight(day, tariff.zone).timestamp()) + noon)
