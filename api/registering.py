"""Who and what is to take part and does not yet: the events that bring the registry up to that.

The settings ask for it, and so may an operator over the API.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal, NamedTuple

import msgspec

from ledger.canonical import encode
from ledger.event import Event
from ledger.events import BuildingAdded, FeederAdded, MeterAdded, MeterAssigned
from ledger.keys import SigningKey
from ledger.opening import enrolment
from ledger.registry import Registry
from ledger.settings import Settings

MeterRole = Literal["connection", "main", "sub"]
Parts = Mapping[str, Event]
"""Events by what they are about: `feeder/NAME`, `building/NAME`, `meter/NAME`, and `reader/METER`."""

NEVER_APPLIED: Mapping[str, str] = {}
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


class MeterPlace(NamedTuple):
    """A meter, and the device that reads it, if one is told.

    Without `since` a meter counts from now on, and one that is known as before; without `read_since` its
    reader's word counts from now on, and of a new meter from its beginning.
    """

    meter: str
    role: MeterRole
    building: str | None
    model: str
    rated_w: int
    gateway: str | None
    since: datetime | None = None
    read_since: datetime | None = None


def missing_events(
    registry: Registry,
    settings: Settings,
    meters: Sequence[MeterPlace],
    gateway_keys: Mapping[str, SigningKey],
    now: datetime,
    applied: Mapping[str, str] = NEVER_APPLIED,
) -> list[Event]:
    """The registry events, in an order that fits, that `settings` ask for and `registry` lacks.

    `gateway_keys` are the keys of those gateways that run in this installation; gateways elsewhere are
    enrolled by request, and their meters are assigned to them when they are. Nothing is ever taken out of
    the registry here: that takes an operator's word. What was `applied` before, by the digests of
    `asked_for`, and is not what the book has by now was changed over the API: it is left alone until the
    settings ask for something new.
    """

    def missing(parts: Parts) -> list[Event]:
        lacking = lacked(registry, parts)
        return [event for part, event in lacking.items() if applied.get(part) != _digest(event)]

    enrolments = [
        enrolment(settings.community.id, gateway, "gateway", key)
        for gateway, key in gateway_keys.items()
        if gateway not in registry.devices
    ]
    enrolled = {*registry.devices, *gateway_keys}
    return [
        *missing(_places(settings)),
        *enrolments,
        *missing(meter_parts(registry, meters, now, readers=enrolled)),
    ]


def asked_for(
    registry: Registry,
    settings: Settings,
    meters: Sequence[MeterPlace],
    gateway_keys: Mapping[str, SigningKey],
    now: datetime,
) -> Mapping[str, str]:
    """What `settings` ask for, as digests by parts, whenever it counts from."""
    enrolled = {*registry.devices, *gateway_keys}
    parts = {**_places(settings), **meter_parts(registry, meters, now, readers=enrolled)}
    return {part: _digest(event) for part, event in parts.items()}


def _places(settings: Settings) -> Parts:
    return place_parts(
        [FeederAdded(feeder=each.id, name=each.name or each.id) for each in settings.feeders],
        [
            BuildingAdded(building=each.id, feeder=each.feeder, name=each.name or each.id)
            for each in settings.buildings
        ],
    )


def place_parts(feeders: Iterable[FeederAdded], buildings: Iterable[BuildingAdded]) -> Parts:
    """Feeders, and the buildings that hang on them."""
    return {
        **{f"feeder/{each.feeder}": each for each in feeders},
        **{f"building/{each.building}": each for each in buildings},
    }


def meter_parts(
    registry: Registry, meters: Iterable[MeterPlace], now: datetime, readers: Iterable[str] | None = None
) -> Parts:
    """Meters, and who reads them; where `readers` are given, only those devices can."""
    parts: dict[str, Event] = {}
    for place in meters:
        known = registry.meters.get(place.meter)
        parts[f"meter/{place.meter}"] = MeterAdded(
            meter=place.meter,
            role=place.role,
            model=place.model,
            rated_w=place.rated_w,
            since=place.since or (known.added.since if known else now),
            building=place.building,
        )
        if place.gateway is not None and (readers is None or place.gateway in readers):
            from_begin = None if known else place.since
            parts[f"reader/{place.meter}"] = MeterAssigned(
                meter=place.meter, device=place.gateway, since=place.read_since or from_begin or now
            )
    return parts


def lacked(registry: Registry, parts: Parts) -> Parts:
    """Those that the book does not say by now."""
    return {part: event for part, event in parts.items() if not _is_said(registry, event)}


def _is_said(registry: Registry, event: Event) -> bool:
    match event:
        case FeederAdded():
            return registry.feeders.get(event.feeder) == event
        case BuildingAdded():
            return registry.buildings.get(event.building) == event
        case MeterAdded():
            known = registry.meters.get(event.meter)
            return known is not None and known.added == event
        case MeterAssigned():
            known = registry.meters.get(event.meter)
            return known is not None and bool(known.readers) and known.readers[-1][1] == event.device
    return False


def _digest(event: Event) -> str:
    if isinstance(event, MeterAdded | MeterAssigned):
        event = msgspec.structs.replace(event, since=_ANY_TIME)
    return sha256(encode(event)).hexdigest()
