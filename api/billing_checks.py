"""The doctor's checks of billing: what an invoice would lack. No server is asked."""

from collections.abc import Iterator

from api.finding import Finding
from ledger.settings import Settings
from ledger.words import counted
from settlement.billing.settings import BillingSettings
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
        yield Finding(
            "billing", "well", f"{billing.name} bills {counted(len(settings.buildings), 'building')}"
        )


def _of_seller(market: MarketSettings, billing: BillingSettings, currency: str) -> Iterator[str]:
    tariff = load_tariff(market.tariff)
    if not billing.tax_id and any(version.vat for version in tariff.file.versions):
        yield "who bills has no tax_id: drafts are shown, and no invoice with tax is issued"
    for table, tax_id in billing.odd_tax_ids(currency):
        yield f"{table}: {tax_id} is no Thai tax ID: it has 13 digits, and the last one checks the others"
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
