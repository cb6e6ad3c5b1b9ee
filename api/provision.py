"""What the settings say and the registry does not yet: the events that bring the book up to date."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from ledger.event import Event
from ledger.events import BuildingAdded, FeederAdded, MeterAdded, MeterAssigned
from ledger.keys import SigningKey
from ledger.opening import enrolment
from ledger.registry import Registry
from ledger.settings import Settings


class MeterPlace(NamedTuple):
    """A meter of the settings and the gateway that reads it."""

    meter: str
    role: Literal["connection", "main", "sub"]
    building: str | None
    model: str
    rated_w: int
    gateway: str


def missing_events(
    registry: Registry,
    settings: Settings,
    meters: Sequence[MeterPlace],
    gateway_keys: Mapping[str, SigningKey],
    now: datetime,
) -> list[Event]:
    """The registry events, in an order that fits, that `settings` ask for and `registry` lacks.

    `gateway_keys` are the keys of those gateways that run in this installation; gateways elsewhere are
    enrolled by request, and their meters are assigned to them when they are. Nothing is ever taken out of
    the registry here: that takes an operator's command.
    """
    events: list[Event] = []
    for feeder in settings.feeders:
        added = FeederAdded(feeder=feeder.id, name=feeder.name or feeder.id)
        if registry.feeders.get(feeder.id) != added:
            events.append(added)
    for building in settings.buildings:
        placed = BuildingAdded(
            building=building.id, feeder=building.feeder, name=building.name or building.id
        )
        if registry.buildings.get(building.id) != placed:
            events.append(placed)
    for gateway, key in gateway_keys.items():
        if gateway not in registry.devices:
            events.append(enrolment(settings.community.id, gateway, "gateway", key))
    enrolled = {*registry.devices, *gateway_keys}
    for place in meters:
        events += _missing_of_meter(registry, place, now, has_reader=place.gateway in enrolled)
    return events


def _missing_of_meter(
    registry: Registry, place: MeterPlace, now: datetime, *, has_reader: bool
) -> list[Event]:
    """What one meter needs. It is assigned once its gateway is enrolled, and not before."""
    known = registry.meters.get(place.meter)
    wanted = MeterAdded(
        meter=place.meter,
        role=place.role,
        model=place.model,
        rated_w=place.rated_w,
        since=known.added.since if known else now,
        building=place.building,
    )
    events: list[Event] = [] if known and known.added == wanted else [wanted]
    is_assigned = known is not None and known.readers and known.readers[-1][1] == place.gateway
    if has_reader and not is_assigned:
        events.append(MeterAssigned(meter=place.meter, device=place.gateway, since=now))
    return events
