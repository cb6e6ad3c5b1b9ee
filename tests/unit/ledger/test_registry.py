"""The registry believes what fits what it knows, and knows whose word counts where and when."""

from datetime import timedelta
from typing import Literal

import msgspec
import pytest

from ledger.block import NO_BLOCK, block_hash
from ledger.events import (
    AlarmRaised,
    AnyEvent,
    BlockSealed,
    BuildingAdded,
    FeederAdded,
    KeyEnrolled,
    KeyRevoked,
    KeyRotated,
    MeterAdded,
    MeterAssigned,
    MeterRetired,
    RegisterEpochOpened,
)
from ledger.keys import SigningKey, b64
from ledger.registry import (
    OPERATOR,
    SERVICE,
    Contradiction,
    KeyIsRevoked,
    NotPermitted,
    Registry,
    UnknownDevice,
    possession_text,
    tag_of,
)
from tests.unit.ledger.campus import (
    COMMUNITY,
    DEVICES,
    MORNING,
    OPERATOR_KEY,
    SALT,
    SERVICE_KEY,
    STRANGER_KEY,
    enrolled,
    facts,
    key,
    opening,
    possession,
    reading,
    readings,
    rotated,
    state_of,
)

GATEWAY_KEY = DEVICES["gw-1"][1]
NOON = MORNING + timedelta(hours=12)


@pytest.fixture
def registry() -> Registry:
    """The registry of a campus that is open and equipped."""
    registry = Registry(COMMUNITY)
    for event in [opening(), *facts()]:
        registry.apply(event)
    return registry


def contradiction(registry: Registry, event: AnyEvent, words: str) -> None:
    """`event` contradicts the registry, for the reason that `words` tell."""
    with pytest.raises(Contradiction, match=words):
        registry.apply(event)


def meter(
    name: str = "m-5",
    role: Literal["connection", "main", "sub"] = "connection",
    building: str | None = "b-1",
) -> MeterAdded:
    return MeterAdded(meter=name, role=role, model="sdm630", rated_w=1_000, since=MORNING, building=building)


# --- opening -----------------------------------------------------------------------------------------


def test_a_book_is_opened_by_its_service_and_operator() -> None:
    registry = Registry(COMMUNITY)
    registry.apply(opening())
    assert registry.key_of(SERVICE, SERVICE_KEY.public.id).bytes == SERVICE_KEY.public.bytes
    assert registry.key_of(OPERATOR, OPERATOR_KEY.public.id).bytes == OPERATOR_KEY.public.bytes
    assert [device.role for device in registry.devices.values()] == [SERVICE, OPERATOR]


def test_a_book_is_opened_once(registry: Registry) -> None:
    contradiction(registry, opening(), "opened once")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"community": "town"}, "own community"),
        ({"operator_key": SERVICE_KEY.public.bytes.hex()}, "a key each"),
        ({"service_key": "00" * 32}, "not an Ed25519 public key"),
        ({"operator_key": "00" * 32}, "not an Ed25519 public key"),
    ],
    ids=str,
)
def test_a_failed_opening_leaves_the_book_closed(change: dict[str, str], words: str) -> None:
    registry = Registry(COMMUNITY)
    contradiction(registry, msgspec.structs.replace(opening(), **change), words)
    assert registry.opened is None
    assert not registry.devices
    registry.apply(opening())


# --- feeders, buildings, meters ----------------------------------------------------------------------


def test_a_building_hangs_on_a_feeder_that_is_there(registry: Registry) -> None:
    contradiction(registry, BuildingAdded(building="b-2", feeder="f-9", name="Arts"), "no such feeder")
    registry.apply(FeederAdded(feeder="f-9", name="North"))
    registry.apply(BuildingAdded(building="b-2", feeder="f-9", name="Arts"))
    assert registry.buildings["b-2"].feeder == "f-9"


def test_a_building_may_move_to_another_feeder(registry: Registry) -> None:
    registry.apply(FeederAdded(feeder="f-2", name="North"))
    registry.apply(BuildingAdded(building="b-1", feeder="f-2", name="Science"))
    assert registry.buildings["b-1"].feeder == "f-2"


@pytest.mark.parametrize(
    ("added", "words"),
    [
        (meter(building="b-9"), "no such building"),
        (meter(role="connection", building=None), "only a main meter"),
        (meter(role="sub", building=None), "only a main meter"),
        (meter(role="main", building="b-1"), "belongs to no building"),
    ],
)
def test_a_meter_stands_where_its_role_says(registry: Registry, added: MeterAdded, words: str) -> None:
    contradiction(registry, added, words)
    assert "m-5" not in registry.meters


@pytest.mark.parametrize("added", [meter(role="main", building=None), meter(role="sub"), meter()])
def test_a_meter_has_one_of_three_roles(registry: Registry, added: MeterAdded) -> None:
    registry.apply(added)
    assert registry.meters["m-5"].added == added


def test_new_facts_about_a_meter_keep_its_readers(registry: Registry) -> None:
    registry.apply(meter("m-1"))
    assert registry.meters["m-1"].added.rated_w == 1_000
    assert registry.meters["m-1"].reader_at(MORNING) == "gw-1"


def test_a_meter_stays_with_its_building_so_that_its_chain_has_one_owner(registry: Registry) -> None:
    registry.apply(BuildingAdded(building="b-2", feeder="f-1", name="Arts"))
    contradiction(registry, meter("m-1", building="b-2"), "stays so")
    contradiction(registry, meter("m-1", role="main", building=None), "stays so")


def test_a_meter_ends_after_it_began(registry: Registry) -> None:
    contradiction(registry, MeterRetired(meter="m-8", until=NOON), "no such meter")
    contradiction(registry, MeterRetired(meter="m-1", until=MORNING), "before it began")
    registry.apply(MeterRetired(meter="m-1", until=NOON))
    assert registry.meters["m-1"].until == NOON


def test_a_register_epoch_is_of_a_meter_that_is_there(registry: Registry) -> None:
    epoch = RegisterEpochOpened(meter="m-8", since=NOON, reason="replacement")
    contradiction(registry, epoch, "no such meter")
    registry.apply(msgspec.structs.replace(epoch, meter="m-1"))


# --- who reads a meter -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assigned", "words"),
    [
        (MeterAssigned(meter="m-8", device="gw-1", since=NOON), "no such meter"),
        (MeterAssigned(meter="m-1", device="gw-8", since=NOON), "no such device"),
        (MeterAssigned(meter="m-1", device="b-1", since=NOON), "a building reads no meters"),
        (MeterAssigned(meter="m-1", device=SERVICE, since=NOON), "a service reads no meters"),
        (MeterAssigned(meter="m-1", device=OPERATOR, since=NOON), "an? operator reads no meters"),
        (
            MeterAssigned(meter="m-1", device="gw-2", since=MORNING - timedelta(seconds=1)),
            "a later assignment stands",
        ),
    ],
)
def test_a_meter_is_read_by_a_device_that_can(
    registry: Registry, assigned: MeterAssigned, words: str
) -> None:
    contradiction(registry, assigned, words)
    assert registry.meters["m-1"].reader_at(NOON) == "gw-1"


def test_a_meter_is_taken_over_at_an_instant(registry: Registry) -> None:
    registry.apply(MeterAssigned(meter="m-1", device="gw-2", since=NOON))
    taken = registry.meters["m-1"]
    assert taken.reader_at(MORNING - timedelta(seconds=1)) is None
    assert taken.reader_at(MORNING) == taken.reader_at(NOON - timedelta(seconds=1)) == "gw-1"
    assert taken.reader_at(NOON) == taken.reader_at(NOON + timedelta(days=9_999)) == "gw-2"
    assert "meter/m-1" in registry.streams_of("gw-1")
    assert "meter/m-1" in registry.streams_of("gw-2")


def test_an_assignment_at_the_same_instant_takes_the_place_of_the_other(registry: Registry) -> None:
    registry.apply(MeterAssigned(meter="m-1", device="gw-2", since=MORNING))
    assert registry.meters["m-1"].readers == [(MORNING, "gw-2")]


def test_readings_count_by_the_instant_at_which_each_was_measured(registry: Registry) -> None:
    # gw-1 until six, gw-2 until noon, gw-1 again: the ends of a run say nothing of its middle.
    registry.apply(MeterAssigned(meter="m-1", device="gw-2", since=MORNING + timedelta(hours=6)))
    registry.apply(MeterAssigned(meter="m-1", device="gw-1", since=NOON))
    for run in (readings(0, 24), readings(48, 60), [reading(23), reading(48)]):
        registry.check_may_write("gw-1", "meter/m-1", run)
    registry.check_may_write("gw-2", "meter/m-1", readings(24, 48))
    for run in (readings(0, 60), readings(23, 25), readings(47, 49), [reading(24)]):
        with pytest.raises(NotPermitted):
            registry.check_may_write("gw-1", "meter/m-1", run)
    with pytest.raises(NotPermitted):
        registry.check_may_write("gw-2", "meter/m-1", readings(24, 49))


def test_nobody_reads_a_meter_before_it_is_assigned(registry: Registry) -> None:
    registry.apply(meter())
    for device in ("gw-1", "gw-2", "m-9"):
        with pytest.raises(NotPermitted):
            registry.check_may_write(device, "meter/m-5", readings(0, 1))


def test_a_device_continues_its_own_stream_and_those_of_its_meters(registry: Registry) -> None:
    assert registry.streams_of("gw-1") == ["device/gw-1", "meter/m-1"]
    assert registry.streams_of("b-1") == ["building/b-1", "device/b-1"]
    assert registry.streams_of(OPERATOR) == ["building/b-1", "device/operator", "market", "registry"]
    assert registry.streams_of(SERVICE) == ["building/b-1", "device/service", "settlement"]
    assert registry.streams_of("nobody") == []


# --- keys ----------------------------------------------------------------------------------------------


def test_a_key_is_known_by_device_and_name(registry: Registry) -> None:
    assert registry.key_of("gw-1", GATEWAY_KEY.public.id).bytes == GATEWAY_KEY.public.bytes
    for device, name in (
        ("nobody", GATEWAY_KEY.public.id),
        ("gw-1", STRANGER_KEY.public.id),
        ("gw-2", GATEWAY_KEY.public.id),
    ):
        with pytest.raises(UnknownDevice):
            registry.key_of(device, name)


NEXT = key(20)


def test_a_rotated_key_is_revoked_and_its_successor_counts(registry: Registry) -> None:
    registry.apply(rotated("gw-1", NEXT))
    assert registry.key_of("gw-1", NEXT.public.id).bytes == NEXT.public.bytes
    with pytest.raises(KeyIsRevoked):
        registry.key_of("gw-1", GATEWAY_KEY.public.id)
    assert registry.devices["gw-1"].role == "gateway"


def test_a_revoked_key_leaves_its_device_without_one(registry: Registry) -> None:
    registry.apply(KeyRevoked(device="gw-1", key=GATEWAY_KEY.public.id, reason="stolen"))
    with pytest.raises(KeyIsRevoked):
        registry.key_of("gw-1", GATEWAY_KEY.public.id)
    with pytest.raises(UnknownDevice):
        registry.key_of("gw-1", NEXT.public.id)
    contradiction(registry, rotated("gw-1", NEXT), "was revoked")
    registry.apply(enrolled("gw-1", "gateway", NEXT))
    assert registry.key_of("gw-1", NEXT.public.id)
    with pytest.raises(KeyIsRevoked):
        registry.key_of("gw-1", GATEWAY_KEY.public.id)


@pytest.mark.parametrize(
    ("device", "named", "words"),
    [
        ("nobody", GATEWAY_KEY.public.id, "no such device"),
        ("gw-1", STRANGER_KEY.public.id, "not the device's valid key"),
        ("gw-2", GATEWAY_KEY.public.id, "not the device's valid key"),
    ],
)
def test_only_a_valid_key_is_revoked(registry: Registry, device: str, named: str, words: str) -> None:
    contradiction(registry, KeyRevoked(device=device, key=named, reason="x"), words)


def test_a_key_is_revoked_once(registry: Registry) -> None:
    revoked = KeyRevoked(device="gw-1", key=GATEWAY_KEY.public.id, reason="stolen")
    registry.apply(revoked)
    contradiction(registry, revoked, "not the device's valid key")


def test_a_device_has_one_key(registry: Registry) -> None:
    contradiction(registry, enrolled("gw-1", "gateway", NEXT), "rotate or revoke")


def test_a_device_keeps_its_role(registry: Registry) -> None:
    registry.apply(KeyRevoked(device="gw-1", key=GATEWAY_KEY.public.id, reason="stolen"))
    contradiction(registry, enrolled("gw-1", "operator", NEXT), "the device is a gateway")


@pytest.mark.parametrize("used", [GATEWAY_KEY, SERVICE_KEY, OPERATOR_KEY])
def test_no_key_serves_twice(registry: Registry, used: SigningKey) -> None:
    contradiction(registry, enrolled("gw-3", "gateway", used), "is or was in use")
    contradiction(registry, rotated("gw-1", used), "is or was in use")
    registry.apply(rotated("gw-1", NEXT))
    contradiction(registry, enrolled("gw-3", "gateway", GATEWAY_KEY), "is or was in use")
    contradiction(registry, rotated("gw-1", GATEWAY_KEY), "is or was in use")


PUBLIC = NEXT.public.bytes.hex()


@pytest.mark.parametrize(
    "proof",
    [
        possession("gw-4", NEXT),
        possession("gw-3", STRANGER_KEY),
        b64(NEXT.sign(possession_text("town", "gw-3", PUBLIC))),
        b64(NEXT.sign(possession_text(COMMUNITY, "gw-3", PUBLIC).rstrip())),
        b64(NEXT.sign(f"energy-ledger/envelope/v1\n{COMMUNITY}\ngw-3\n{PUBLIC}\n".encode())),
        b64(NEXT.sign(b"")),
        b64(bytes(64)),
        "",
        "not base64!",
        possession("gw-3", NEXT).rstrip("="),
    ],
    ids=["device", "key", "community", "text", "context", "nothing", "zeros", "empty", "words", "padding"],
)
def test_who_enrols_or_rotates_a_key_holds_it(registry: Registry, proof: str) -> None:
    event: KeyEnrolled | KeyRotated = KeyEnrolled(
        device="gw-3", role="gateway", public_key=PUBLIC, possession=proof
    )
    contradiction(registry, event, "proof of possession")
    assert "gw-3" not in registry.devices
    registry.apply(enrolled("gw-3", "gateway", key(21)))
    contradiction(registry, KeyRotated(device="gw-3", public_key=PUBLIC, possession=proof), "possession")
    assert registry.key_of("gw-3", key(21).public.id)


@pytest.mark.parametrize("point", ["00" * 32, "01" + "00" * 31, "ec" + "ff" * 30 + "7f"])
def test_a_key_that_any_signature_fits_is_not_enrolled(registry: Registry, point: str) -> None:
    # For the neutral point as the key, R = the neutral point and S = 0 fit every message.
    event = KeyEnrolled(device="gw-3", role="gateway", public_key=point, possession=b64(b"\x01" + bytes(63)))
    contradiction(registry, event, "not an Ed25519 public key")


# --- blocks ------------------------------------------------------------------------------------------


def block(number: int, previous: str, size: int) -> BlockSealed:
    return BlockSealed(number=number, previous=previous, root="ab" * 32, sealed_at=NOON, size=size)


def test_blocks_follow_one_another_and_grow(registry: Registry) -> None:
    first = block(1, NO_BLOCK, 10)
    for wrong in (block(2, NO_BLOCK, 10), block(1, "cd" * 32, 10)):
        contradiction(registry, wrong, "does not continue")
    registry.apply(first)
    after = block_hash(COMMUNITY, first)
    for wrong in (
        first,
        block(2, NO_BLOCK, 11),
        block(3, after, 11),
        block(2, after, 10),
        block(2, after, 9),
    ):
        contradiction(registry, wrong, "does not continue")
    registry.apply(block(2, after, 11))
    assert registry.last_block == block(2, after, 11)


# --- copies --------------------------------------------------------------------------------------------


def test_a_copy_goes_its_own_way(registry: Registry) -> None:
    twin = registry.copy()
    changes: list[AnyEvent] = [
        FeederAdded(feeder="f-2", name="North"),
        BuildingAdded(building="b-1", feeder="f-2", name="Science"),
        meter(),
        meter("m-1"),
        MeterAssigned(meter="m-1", device="gw-2", since=NOON),
        MeterRetired(meter="m-2", until=NOON),
        rotated("gw-1", NEXT),
        enrolled("gw-3", "gateway", key(21)),
        block(1, NO_BLOCK, 1),
    ]
    for event in changes:
        twin.apply(event)
    fresh = Registry(COMMUNITY)
    for event in [opening(), *facts()]:
        fresh.apply(event)
    assert state_of(registry) == state_of(fresh) != state_of(twin)


def test_alarms_and_readings_change_nothing(registry: Registry) -> None:
    before = state_of(registry)
    registry.apply(AlarmRaised(at=NOON, alarm="door-open", detail="", salt=SALT))
    registry.apply(reading(1))
    assert state_of(registry) == before


def test_a_tag_is_written_as_in_a_body() -> None:
    assert tag_of(reading(0)) == "meter-read/1"


@pytest.mark.parametrize("zone", ["Asia/Bangkokk", "Asia", "../etc", ""])
def test_a_book_is_not_opened_in_a_time_zone_that_is_none(zone: str) -> None:
    registry = Registry("campus")
    with pytest.raises(Contradiction, match="time zone"):
        registry.apply(msgspec.structs.replace(opening(), zone=zone))
    assert registry.opened is None


def test_nobody_is_enrolled_as_a_second_service(registry: Registry) -> None:
    contradiction(registry, enrolled("service-2", "service", key(77)), "one service")


def test_the_last_operator_and_the_service_keep_their_keys(registry: Registry) -> None:
    for device in ("operator", "service"):
        held = registry.devices[device].key
        assert held is not None
        contradiction(registry, KeyRevoked(device=device, key=held.id, reason="lost"), "nobody could write")
    registry.apply(enrolled("operator-2", "operator", key(78)))
    first = registry.devices["operator"].key
    assert first is not None
    registry.apply(KeyRevoked(device="operator", key=first.id, reason="left"))
    assert registry.devices["operator"].key is None
