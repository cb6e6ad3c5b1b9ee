"""Who and what is to take part and does not yet: the events that bring the registry up to that.

The settings ask for it, and so may an operator over the API.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal, NamedTuple

import msgspec

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


class MeterPlace(NamedTuple):
    """A meter, and the device that reads it, if one is told.

    Without `since` a meter counts from now on, and one that is known as before; without `read_since` its
    reader's word counts from now on, and of a new meter from its beginning, if that has passed.
    """

    meter: str
    role: MeterRole
    building: str | None
    model: str
    rated_w: int
    gateway: str | None
    since: datetime | None = None
    read_since: datetime | None = None


class Lacking(NamedTuple):
    """What the settings ask for and the book does not say."""

    missing: Parts
    otherwise: list[str]
    """What they asked for before already: it was changed over the API since, and is left alone."""
    retired: list[str]
    """Meters that they list still."""


def lacking(
    registry: Registry,
    settings: Settings,
    meters: Sequence[MeterPlace],
    gateway_keys: Mapping[str, SigningKey],
    now: datetime,
    applied: Mapping[str, str] = NEVER_APPLIED,
) -> Lacking:
    """The registry's events, in an order that fits, that `settings` ask for and `registry` lacks.

    `gateway_keys` are the keys of those gateways that run in this installation; gateways elsewhere are
    enrolled by request, and their meters are assigned to them when they are. Nothing is ever taken out of
    the registry here, and no meter that was retired comes back: both take an operator's word. A field whose
    value was `applied` before, by the digests of `asked_for`, and is not the book's by now was changed over
    the API: it is left alone until the settings ask for something new.
    """
    enrolments = {
        f"device/{gateway}": enrolment(settings.community.id, gateway, "gateway", key)
        for gateway, key in gateway_keys.items()
        if gateway not in registry.devices
    }
    enrolled = {*registry.devices, *gateway_keys}
    ended = {name for name, known in registry.meters.items() if known.has_ended(now)}
    retired = [each.meter for each in meters if each.meter in ended]
    counting = [each for each in meters if each.meter not in ended]
    asked = {**_places(settings), **enrolments, **meter_parts(registry, counting, now, readers=enrolled)}
    wanted = {
        part: _merged(part, event, _said(registry, event), applied)
        for part, event in asked.items()
        if not _is_planned(registry, event, now)
    }
    missing = lacked(registry, wanted)
    otherwise = [part for part in lacked(registry, asked) if missing.get(part) != asked[part]]
    return Lacking(missing, otherwise, retired)


def asked_for(
    registry: Registry,
    settings: Settings,
    meters: Sequence[MeterPlace],
    now: datetime,
) -> Mapping[str, str]:
    """What `settings` ask for, as digests of fields, whenever it counts from."""
    parts = {**_places(settings), **meter_parts(registry, meters, now)}
    return {name: digest for part, event in parts.items() for name, digest in _digests(part, event).items()}


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
            from_begin = min(place.since or now, now) if known is None else now
            parts[f"reader/{place.meter}"] = MeterAssigned(
                meter=place.meter, device=place.gateway, since=place.read_since or from_begin
            )
    return parts


def lacked(registry: Registry, parts: Parts) -> Parts:
    """Those that the book does not say by now. Who reads a meter is the same, since whenever that is."""
    return {part: event for part, event in parts.items() if not _is_same(_said(registry, event), event)}


def _is_same(said: Event | None, event: Event) -> bool:
    if isinstance(said, MeterAssigned) and isinstance(event, MeterAssigned):
        return said.device == event.device
    return said == event


def _said(registry: Registry, event: Event) -> Event | None:
    """What the book says of the same by now."""
    match event:
        case FeederAdded():
            return registry.feeders.get(event.feeder)
        case BuildingAdded():
            return registry.buildings.get(event.building)
        case MeterAdded():
            known = registry.meters.get(event.meter)
            return known.added if known else None
        case MeterAssigned():
            known = registry.meters.get(event.meter)
            if known is None or not known.readers:
                return None
            since, device = known.readers[-1]
            return MeterAssigned(meter=event.meter, device=device, since=since)
    return None


def said_before(registry: Registry, event: Event) -> Mapping[str, Any] | None:
    """The same in the fields of the event, for people."""
    said = _said(registry, event)
    return None if said is None else told_fields(said)


def told_fields(event: Event) -> Mapping[str, Any]:
    """An event's fields, for people."""
    return {name: value for name, value in msgspec.to_builtins(event).items() if name != "type"}


def _is_planned(registry: Registry, event: Event, now: datetime) -> bool:
    """Whether an operator has said of the same what is still to come: that a meter ends, or who reads it."""
    known = registry.meters.get(event.meter) if isinstance(event, MeterAdded | MeterAssigned) else None
    if known is None:
        return False
    if isinstance(event, MeterAdded):
        return known.until is not None
    return bool(known.readers) and known.readers[-1][0] > now


def _merged(part: str, event: Event, said: Event | None, applied: Mapping[str, str]) -> Event:
    """What is asked for, but for the fields that were asked for before: they are the book's."""
    if said is None:
        return event
    digests = _digests(part, event)
    kept = [name for name in _fields(event) if applied.get(f"{part}.{name}") == digests[f"{part}.{name}"]]
    merged: Event = msgspec.structs.replace(event, **{name: getattr(said, name) for name in kept})
    return merged


def _digests(part: str, event: Event) -> Mapping[str, str]:
    return {
        f"{part}.{name}": sha256(msgspec.json.encode(getattr(event, name))).hexdigest()
        for name in _fields(event)
    }


def _fields(event: Event) -> list[str]:
    """The fields that somebody chose; not since when it is so."""
    return [name for name in event.__struct_fields__ if name != "since"]
