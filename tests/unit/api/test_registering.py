"""What the settings say and the registry lacks."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.installation import meter_places
from api.registering import MeterPlace, asked_for, lacking
from ingest.settings import gateways_from
from ledger.event import Event
from ledger.events import (
    BuildingAdded,
    FeederAdded,
    MeterAdded,
    MeterAssigned,
    MeterRead,
    MeterRetired,
)
from ledger.keys import SigningKey
from ledger.opening import enrolment
from ledger.registry import NotPermitted, Registry
from ledger.settings import BuildingSettings, CommunitySettings, FeederSettings, Settings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LATER = datetime(2026, 7, 1, tzinfo=UTC)
KEYS = {"gw-1": SigningKey(bytes(32)), "gw-2": SigningKey(bytes([1] * 32))}
SETTINGS = Settings(
    community=CommunitySettings(id="campus"),
    feeders=[FeederSettings(id="f-1")],
    buildings=[BuildingSettings(id="school", feeder="f-1")],
)
METERS = [
    MeterPlace("m-1", "connection", "school", "sdm630", 100_000, "gw-1"),
    MeterPlace("m-main", "main", None, "sdm630", 900_000, "gw-1"),
]


def missing_events(*asked: Any) -> list[Event]:
    return list(lacking(*asked).missing.values())


def applied(registry: Registry, events: list[Event]) -> Registry:
    for event in events:
        registry.apply(event)  # type: ignore[arg-type] # the union of all events
    return registry


def test_an_empty_registry_is_filled_in_an_order_that_it_takes() -> None:
    registry = applied(Registry("campus"), missing_events(Registry("campus"), SETTINGS, METERS, KEYS, NOW))
    assert set(registry.meters) == {"m-1", "m-main"}
    assert registry.meters["m-1"].reader_at(NOW) == "gw-1"


def test_a_registry_that_is_up_to_date_gets_no_events() -> None:
    registry = applied(Registry("campus"), missing_events(Registry("campus"), SETTINGS, METERS, KEYS, NOW))
    assert missing_events(registry, SETTINGS, METERS, KEYS, LATER) == []


def test_a_meter_that_moved_to_another_gateway_is_assigned_from_now_on() -> None:
    registry = applied(Registry("campus"), missing_events(Registry("campus"), SETTINGS, METERS, KEYS, NOW))
    moved = [METERS[0]._replace(gateway="gw-2"), METERS[1]]
    assert missing_events(registry, SETTINGS, moved, KEYS, LATER) == [
        MeterAssigned(meter="m-1", device="gw-2", since=LATER)
    ]


def test_a_changed_rating_is_told_once_and_keeps_the_meters_beginning() -> None:
    registry = applied(Registry("campus"), missing_events(Registry("campus"), SETTINGS, METERS, KEYS, NOW))
    rerated = [METERS[0]._replace(rated_w=200_000), METERS[1]]
    events = missing_events(registry, SETTINGS, rerated, KEYS, LATER)
    assert [event.since for event in events] == [NOW]  # type: ignore[attr-defined] # one meter-added
    assert missing_events(applied(registry, events), SETTINGS, rerated, KEYS, LATER) == []


def test_the_meters_of_a_remote_gateway_are_assigned_once_it_is_enrolled() -> None:
    remote = [METERS[0]._replace(gateway="gw-far")]
    events = missing_events(Registry("campus"), SETTINGS, remote, {}, NOW)
    registry = applied(Registry("campus"), events)
    assert registry.meters["m-1"].readers == []
    registry.apply(enrolment("campus", "gw-far", "gateway", KEYS["gw-2"]))
    assert missing_events(registry, SETTINGS, remote, {}, LATER) == [
        MeterAssigned(meter="m-1", device="gw-far", since=LATER)
    ]


def test_a_meter_that_signs_for_itself_is_its_devices_once_that_is_enrolled() -> None:
    table = {"id": "m-wifi", "model": "acme-wifi-3", "building": "school", "rated_w": 20_000}
    tables = {"gateways": [{"id": "wifi-1", "remote": True, "meters": [table]}]}
    places = meter_places(gateways_from(tables, Path("site.toml")))
    registry = applied(Registry("campus"), missing_events(Registry("campus"), SETTINGS, places, {}, NOW))
    registry.apply(enrolment("campus", "wifi-1", "meter", KEYS["gw-2"]))
    early, late = (
        MeterRead(import_wh=1, export_wh=0, measured_at=at, quality="measured", salt="A" * 16)
        for at in (NOW, LATER)
    )
    with pytest.raises(NotPermitted) as caught:
        registry.check_may_write("wifi-1", "meter/m-wifi", [late])
    assert "the operator assigns" in caught.value.hint
    applied(registry, missing_events(registry, SETTINGS, places, {}, LATER))
    registry.check_may_write("wifi-1", "meter/m-wifi", [late])
    with pytest.raises(NotPermitted, match="may not write") as caught:
        registry.check_may_write("wifi-1", "meter/m-wifi", [early])
    assert "what was measured before is not" in caught.value.hint


def test_what_was_changed_otherwise_is_left_alone_until_the_settings_ask_for_something_new() -> None:
    registry = applied(Registry("campus"), missing_events(Registry("campus"), SETTINGS, METERS, KEYS, NOW))
    brought = asked_for(registry, SETTINGS, METERS, NOW)
    assert {name.partition(".")[0] for name in brought} == {
        "feeder/f-1", "building/school", "meter/m-1", "meter/m-main", "reader/m-1", "reader/m-main",
    }  # fmt: skip
    assert asked_for(registry, SETTINGS, METERS, LATER) == brought, "whenever it counts from"
    otherwise: list[Event] = [
        FeederAdded(feeder="f-1", name="North"),
        BuildingAdded(building="school", feeder="f-1", name="Old school"),
        msgspec.structs.replace(registry.meters["m-1"].added, rated_w=1),
        MeterAssigned(meter="m-1", device="gw-2", since=LATER),
    ]
    applied(registry, otherwise)
    assert missing_events(registry, SETTINGS, METERS, KEYS, LATER, brought) == []
    assert len(missing_events(registry, SETTINGS, METERS, KEYS, LATER)) == 4
    left = lacking(registry, SETTINGS, METERS, KEYS, LATER, brought).otherwise
    assert left == ["feeder/f-1", "building/school", "meter/m-1", "reader/m-1"]
    rerated = [METERS[0]._replace(rated_w=200_000), METERS[1]]
    (event,) = missing_events(registry, SETTINGS, rerated, KEYS, LATER, brought)
    assert isinstance(event, MeterAdded)
    assert event.rated_w == 200_000


def test_only_what_the_settings_ask_for_anew_is_taken_back() -> None:
    feeders = [FeederSettings(id="f-1"), FeederSettings(id="f-2")]
    settings = msgspec.structs.replace(SETTINGS, feeders=feeders)
    registry = applied(Registry("campus"), missing_events(Registry("campus"), settings, METERS, KEYS, NOW))
    brought = asked_for(registry, settings, METERS, NOW)
    applied(registry, [BuildingAdded(building="school", feeder="f-2", name="school")])
    renamed = msgspec.structs.replace(
        settings, buildings=[BuildingSettings(id="school", feeder="f-1", name="School")]
    )
    assert missing_events(registry, renamed, METERS, KEYS, LATER, brought) == [
        BuildingAdded(building="school", feeder="f-2", name="School")
    ]


def test_a_meter_that_was_retired_stays_so_whatever_the_settings_ask_for() -> None:
    registry = applied(Registry("campus"), missing_events(Registry("campus"), SETTINGS, METERS, KEYS, NOW))
    applied(registry, [MeterRetired(meter="m-1", until=LATER)])
    rerated = [METERS[0]._replace(rated_w=200_000, gateway="gw-2"), METERS[1]]
    found = lacking(registry, SETTINGS, rerated, KEYS, LATER)
    assert (found.missing, found.retired) == ({}, ["m-1"])


def test_what_an_operator_has_planned_is_left_alone() -> None:
    registry = applied(Registry("campus"), missing_events(Registry("campus"), SETTINGS, METERS, KEYS, NOW))
    planned: list[Event] = [
        MeterRetired(meter="m-main", until=LATER),
        MeterAssigned(meter="m-1", device="gw-2", since=LATER),
    ]
    applied(registry, planned)
    rerated = [METERS[0], METERS[1]._replace(rated_w=1, gateway="gw-2")]
    found = lacking(registry, SETTINGS, rerated, KEYS, NOW)
    assert list(found.missing) == ["reader/m-main"], "who reads it until then can be another"
    assert found.otherwise == ["reader/m-1", "meter/m-main"]
    assert found.retired == []


def test_a_gateway_that_is_enrolled_later_does_not_take_a_meter_from_whom_it_was_given_to() -> None:
    remote = [METERS[0]._replace(gateway="gw-far")]
    registry = applied(Registry("campus"), missing_events(Registry("campus"), SETTINGS, remote, KEYS, NOW))
    brought = asked_for(registry, SETTINGS, remote, NOW)
    applied(registry, [MeterAssigned(meter="m-1", device="gw-1", since=NOW)])
    far = enrolment("campus", "gw-far", "gateway", SigningKey(bytes([2] * 32)))
    applied(registry, [far])
    assert missing_events(registry, SETTINGS, remote, KEYS, LATER, brought) == []


def test_what_the_settings_no_longer_name_stays_in_the_registry() -> None:
    registry = applied(Registry("campus"), missing_events(Registry("campus"), SETTINGS, METERS, KEYS, NOW))
    assert missing_events(registry, SETTINGS, METERS[:1], KEYS, LATER) == []
