"""What the doctor says of billing: every name, address and tax ID that an invoice would lack."""

from api.billing_checks import billing_findings
from ledger.settings import BuildingSettings, CommunitySettings, Settings
from settlement.billing.settings import BillingSettings, PartyTable
from settlement.settings import MarketSettings

MARKET = MarketSettings(mechanism="uniform_price", tariff="th-mea-4.2-12-24kv")
RIGHT, WRONG = "0105561000011", "0105561000012"


def found(seller: str, buyers: dict[str, str], currency: str = "THB") -> list[str]:
    buildings = [BuildingSettings(name, "f-1") for name in buyers]
    settings = Settings(CommunitySettings("campus", currency=currency), buildings=buildings)
    billed = {name: PartyTable(name, "1 Road", tax_id) for name, tax_id in buyers.items()}
    billing = BillingSettings("Campus Energy", "1 Road", tax_id=seller, buildings=billed)
    return [each.found for each in billing_findings(settings, MARKET, billing)]


def test_every_tax_id_that_is_none_is_told_with_whose_it_is() -> None:
    said = found(WRONG, {"a": WRONG, "b": RIGHT, "c": "123", "d": ""})
    assert [each.partition(" is no Thai tax ID")[0] for each in said] == [
        f"[billing]: {WRONG}", f"[billing.buildings.a]: {WRONG}", "[billing.buildings.c]: 123",
    ]  # fmt: skip


def test_tax_ids_of_other_countries_are_not_judged() -> None:
    assert found("DE123456789", {"a": "ESB12345678"}, "EUR") == ["Campus Energy bills 1 building"]
