"""The doctor's checks of billing: what an invoice would lack. No server is asked."""

from collections.abc import Iterator

from api.finding import Finding
from ledger.errors import LedgerError
from ledger.settings import Settings
from settlement.billing.settings import BillingSettings, is_thai_tax_id
from settlement.settings import MarketSettings
from settlement.tariff import load_tariff

_TABLE = "complete [billing]: name, address, tax_id, branch, and [billing.buildings.ID] likewise"


def billing_findings(
    settings: Settings, market: MarketSettings, billing: BillingSettings
) -> Iterator[Finding]:
    """What there is to say of who bills whom."""
    lacking = [*_of_seller(market, billing, settings.community.currency), *_of_buyers(settings, billing)]
    for what in lacking:
        yield Finding("billing", "odd", what, _TABLE)
    if not lacking:
        yield Finding("billing", "well", f"{billing.name} bills {len(settings.buildings)} buildings")


def _of_seller(market: MarketSettings, billing: BillingSettings, currency: str) -> Iterator[str]:
    try:
        tariff = load_tariff(market.tariff)
    except LedgerError:
        return  # the check of the market tells it
    if not billing.tax_id and any(version.vat for version in tariff.file.versions):
        yield "who bills has no tax_id: drafts are shown, and no invoice with tax is issued"
    elif billing.tax_id and currency == "THB" and not is_thai_tax_id(billing.tax_id):
        yield f"{billing.tax_id} is no Thai tax ID: it has 13 digits, and the last one checks the others"
    if not (billing.name and billing.address):
        yield "who bills has no name or address on its invoices"


def _of_buyers(settings: Settings, billing: BillingSettings) -> Iterator[str]:
    bare = [
        building.id
        for building in settings.buildings
        if building.id not in billing.buildings or not billing.buildings[building.id].address
    ]
    if bare:
        yield f"{len(bare)} of {len(settings.buildings)} buildings have no address: {', '.join(bare[:5])}"
