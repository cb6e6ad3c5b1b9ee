"""What becomes of an event that is no reading: rows of the projections, as pure functions.

Each gives the names of statements (`sql/projection_<name>.sql`) and their values behind the community.
"""

from collections.abc import Callable, Iterator
from typing import Any

from ledger.block import block_hash
from ledger.entry import stream_subject
from ledger.event import Event
from ledger.events import (
    AlarmRaised,
    BlockSealed,
    BuildingAdded,
    CommunityOpened,
    FeederAdded,
    KeyEnrolled,
    KeyRevoked,
    KeyRotated,
    MeterAdded,
    MeterAssigned,
    MeterRetired,
    RegisterEpochOpened,
)
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
from ledger.recorded import RecordedEvent
from ledger.registry import OPERATOR, SERVICE, Registry

Row = tuple[str, tuple[Any, ...]]
Rows = Callable[[Registry, RecordedEvent, Any], Iterator[Row]]
"""The registry after the event, where it stands, and the event itself."""


# --- who takes part --------------------------------------------------------------------------------


def _community(registry: Registry, at: RecordedEvent, event: CommunityOpened) -> Iterator[Row]:
    yield "put_community", (event.name, event.zone, event.interval_minutes, event.currency, event.log_key)
    for device in (SERVICE, OPERATOR):
        yield _device(registry, at, device)


def _device(registry: Registry, at: RecordedEvent, name: str) -> Row:
    device = registry.devices[name]
    public = device.key.bytes.hex() if device.key else None
    return "put_device", (name, device.role, public, at.position)


def _key(
    registry: Registry, at: RecordedEvent, event: KeyEnrolled | KeyRotated | KeyRevoked
) -> Iterator[Row]:
    yield _device(registry, at, event.device)


def _feeder(registry: Registry, at: RecordedEvent, event: FeederAdded) -> Iterator[Row]:
    yield "put_feeder", (event.feeder, event.name)


def _building(registry: Registry, at: RecordedEvent, event: BuildingAdded) -> Iterator[Row]:
    yield "put_building", (event.building, event.feeder, event.name)


def _meter(registry: Registry, at: RecordedEvent, event: MeterAdded | MeterRetired) -> Iterator[Row]:
    meter = registry.meters[event.meter]
    added = meter.added
    yield (
        "put_meter",
        (event.meter, added.role, added.building, added.model, added.rated_w, added.since, meter.until),
    )


def _reader(registry: Registry, at: RecordedEvent, event: MeterAssigned) -> Iterator[Row]:
    yield "put_reader", (event.meter, event.since, event.device)


def _block(registry: Registry, at: RecordedEvent, event: BlockSealed) -> Iterator[Row]:
    digest = block_hash(registry.community, event)
    yield "put_block", (event.number, event.previous, event.root, event.size, event.sealed_at, digest)


def _alarm(registry: Registry, at: RecordedEvent, event: AlarmRaised) -> Iterator[Row]:
    device = stream_subject(at.stream)
    yield "put_alarm", (at.position, device, event.alarm, event.meter, event.detail, event.at)


def _none(registry: Registry, at: RecordedEvent, event: RegisterEpochOpened) -> Iterator[Row]:
    return iter(())  # concerns the energy of a meter, which the projector folds


# --- the market ------------------------------------------------------------------------------------


def _tariff(registry: Registry, at: RecordedEvent, event: TariffPublished) -> Iterator[Row]:
    yield "put_tariff", (event.tariff, at.position)


def _rules(registry: Registry, at: RecordedEvent, event: MarketRulesPublished) -> Iterator[Row]:
    yield "put_rules", (event.begin, event.mechanism, event.tariff, at.position)


def _order(registry: Registry, at: RecordedEvent, event: OrderPlaced) -> Iterator[Row]:
    yield (
        "put_order",
        (
            stream_subject(at.stream), event.order, event.side, event.energy_wh, event.limit_micro_per_kwh,
            event.begin, event.until, event.clock_from, event.clock_until, at.position,
        ),
    )  # fmt: skip


def _cancelled(registry: Registry, at: RecordedEvent, event: OrderCancelled) -> Iterator[Row]:
    yield "cancel_order", (stream_subject(at.stream), event.order, event.since)


def _proposal(registry: Registry, at: RecordedEvent, event: AgreementProposed) -> Iterator[Row]:
    yield (
        "put_agreement",
        (
            stream_subject(at.stream), event.agreement, event.partner, event.side, event.energy_wh,
            event.price_micro_per_kwh, event.begin, event.until, at.position,
        ),
    )  # fmt: skip


def _accepted(registry: Registry, at: RecordedEvent, event: AgreementAccepted) -> Iterator[Row]:
    partner = stream_subject(at.stream)
    yield "accept_agreement", (event.proposer, event.agreement, partner, event.since)


def _ended(registry: Registry, at: RecordedEvent, event: AgreementEnded) -> Iterator[Row]:
    yield "end_agreement", (event.proposer, event.agreement, stream_subject(at.stream), event.since)


def _run(registry: Registry, at: RecordedEvent, event: SettlementRun) -> Iterator[Row]:
    yield (
        "put_run",
        (event.number, event.kind, event.begin, event.until, event.tree_size, event.result, at.position),
    )


def _invoice(registry: Registry, at: RecordedEvent, event: InvoiceIssued) -> Iterator[Row]:
    yield "put_invoice", (event.number, event.building, event.code, event.run, at.position)


ROWS: dict[type[Event], Rows] = {
    CommunityOpened: _community,
    FeederAdded: _feeder,
    BuildingAdded: _building,
    MeterAdded: _meter,
    MeterRetired: _meter,
    MeterAssigned: _reader,
    RegisterEpochOpened: _none,
    KeyEnrolled: _key,
    KeyRotated: _key,
    KeyRevoked: _key,
    BlockSealed: _block,
    AlarmRaised: _alarm,
    TariffPublished: _tariff,
    MarketRulesPublished: _rules,
    OrderPlaced: _order,
    OrderCancelled: _cancelled,
    AgreementProposed: _proposal,
    AgreementAccepted: _accepted,
    AgreementEnded: _ended,
    SettlementRun: _run,
    InvoiceIssued: _invoice,
}
"""By type of event. A type that is not here stops the projector."""
