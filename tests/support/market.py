"""A little of all that the market writes into a book."""

from ledger.event import Event
from ledger.events import BuildingAdded
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
)
from ledger.registry import OPERATOR, SERVICE
from tests.support.campus import MORNING, QUARTER, SALT


def market_events() -> list[tuple[str, str, list[Event]]]:
    """Rules, orders, agreements, a settlement and an invoice: who writes what to which stream."""
    begin = MORNING + 3_000 * QUARTER  # the gate is still open
    span = {"begin": begin, "until": begin + 8 * QUARTER, "salt": SALT}
    changed = {"since": begin + QUARTER, "salt": SALT}
    rules = MarketRulesPublished(
        begin=MORNING, mechanism="uniform_price", tariff="flat", gate_minutes=0, final_days=3
    )
    sell = OrderPlaced(order="o-1", side="sell", limit_micro_per_kwh=3, energy_wh=500, **span)
    buy = OrderPlaced(
        order="o-2", side="buy", limit_micro_per_kwh=4, clock_from="22:00", clock_until="06:00", **span
    )
    proposed = AgreementProposed(agreement="a-1", side="sell", partner="b-1", price_micro_per_kwh=3, **span)
    run = SettlementRun(
        number=1, kind="provisional", begin=MORNING, until=begin, tree_size=9, root="0" * 64, rules="1" * 64,
        result="2" * 64, settled=300,
    )  # fmt: skip
    invoice = InvoiceIssued(number="c-2026-000001", building="b-0", code="3" * 64, document="{}", run=1)
    return [
        (OPERATOR, "registry", [BuildingAdded(building="b-0", feeder="f-1", name="Arts")]),
        (OPERATOR, "market", [TariffPublished(tariff="flat", document=""), rules]),
        (OPERATOR, "building/b-0", [sell, buy, OrderCancelled(order="o-1", **changed), proposed]),
        (OPERATOR, "building/b-1", [AgreementAccepted(agreement="a-1", proposer="b-0", **changed)]),
        (OPERATOR, "building/b-0", [AgreementEnded(agreement="a-1", proposer="b-0", **changed)]),
        (SERVICE, "settlement", [run, invoice]),
    ]
