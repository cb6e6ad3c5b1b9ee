"""The demo's market: orders at the beginning, the month settled at the end, under two mechanisms."""

from collections.abc import Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

import msgspec

from api.demo.campus import Campus
from api.installation import Installation
from ledger.client import BookClient
from ledger.clock import Clock
from ledger.event import new_salt
from ledger.market_events import OrderPlaced
from ledger.postgres.settlement import SettlementStore
from ledger.registry import OPERATOR
from ledger.settings import Settings
from settlement.billing.biller import Biller
from settlement.billing.invoice import Invoice
from settlement.billing.proving import Prover, proof_steps
from settlement.billing.settings import BillingSettings
from settlement.book_state import BookState
from settlement.comparison import by_mechanism, compare
from settlement.settings import MarketSettings
from settlement.settlement_stream import SettlementStream
from settlement.settler_service import settler

MARKET = MarketSettings(
    mechanism="uniform_price", tariff="th-mea-4.2-12-24kv", gate_minutes=60, settle_after_minutes=0,
    final_days=0,
)  # fmt: skip
SELLER = BillingSettings(name="Demo campus", address="1 Demo Road", tax_id="0000000000001")  # nobody's
MECHANISMS = (MARKET.mechanism, "mid_market_rate")


class Outcome(msgspec.Struct, frozen=True):
    """What a building pays without a market and with one; below zero it gets money."""

    without_micro: int
    cost_micro: int
    saving_micro: int


class MarketResult(msgspec.Struct, frozen=True):
    """What was settled, and every building's outcome by mechanism; `digest` is of all postings."""

    intervals: int
    digest: str
    outcomes: dict[str, dict[str, Outcome]]
    invoices: list[Invoice]
    proof: list[str]


async def place_orders(campus: Campus, installation: Installation) -> None:
    """Have the buildings say at what prices they trade, from gate closure on."""
    begin = campus.begin + timedelta(minutes=MARKET.gate_minutes)
    keys, community = installation.keys, installation.settings.community.id
    async with await installation.connect("operator") as bus:
        client = BookClient(bus, community, OPERATOR, keys.operator, keys.service.public)
        await client.open()
        for number, order in enumerate(campus.lives.orders, 1):
            placed = OrderPlaced(
                order=f"order-{number}", side=order.side, limit_micro_per_kwh=order.limit_micro_per_kwh,
                begin=begin, until=campus.end, salt=new_salt(),
            )  # fmt: skip
            await client.append(f"building/{order.building}", [placed])


async def settle(campus: Campus, installation: Installation, clock: Clock) -> MarketResult:
    """Settle all that was measured, and compare with what another mechanism would have come to."""
    settings = installation.settings
    async with (
        await installation.connect("settler") as bus,
        settler(settings, MARKET, bus, installation.keys.service, clock) as running,
    ):
        run, *_ = await running.step()  # the others close months
    async with (
        await SettlementStore.open(settings.postgres) as store,
        store.transaction(settings.community.id) as size,
    ):
        book = BookState(settings.community.id, store)
        await book.follow(size)
        changes = {name: by_mechanism(name) for name in MECHANISMS}
        found = await compare(book, changes, campus.begin, campus.end)
    outcomes = {
        mechanism: {
            row.building: Outcome(row.cost_without_market_micro, row.cost_micro, row.saving_micro)
            for row in way.standings.rows()
        }
        for mechanism, way in found.ways.items()
    }
    invoices = await _bill(campus, installation, clock)
    proof = await _proof(invoices, settings) if invoices[0].number else []
    return MarketResult(run.settled, run.result, outcomes, invoices, proof)


async def _proof(invoices: Sequence[Invoice], settings: Settings) -> list[str]:
    """The first line about energy from neighbours, proven down to the meter."""
    number, line = next(
        (invoice.number, place)
        for invoice in invoices
        for place, line in enumerate(invoice.lines, 1)
        if line.kind == "bought"
    )
    async with await SettlementStore.open(settings.postgres) as store:
        return proof_steps(await Prover(settings.community.id, store).prove(number, line))


async def _bill(campus: Campus, installation: Installation, clock: Clock) -> list[Invoice]:
    """The month's invoices, recorded in the book; a preview where the month is not over."""
    settings = installation.settings
    today = clock.now().astimezone(ZoneInfo(settings.community.zone)).date()
    month = campus.begin.astimezone(ZoneInfo(settings.community.zone)).date().replace(day=1)
    async with (
        await installation.connect("settler") as bus,
        await SettlementStore.open(settings.postgres) as store,
    ):
        stream = SettlementStream(bus, settings.community.id, installation.keys.service)
        await stream.open()
        biller = Biller(settings.community.id, store, SELLER)
        if today.month == month.month:
            return (await biller.preview(month, today)).invoices
        return (await biller.issue(month, today, stream.append)).invoices
