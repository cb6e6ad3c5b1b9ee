"""What holds of the registry whatever events come, and in whatever order."""

from contextlib import suppress
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.block import NO_BLOCK
from ledger.errors import Contradiction
from ledger.events import (
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
from ledger.registry import Registry
from tests.unit.ledger.campus import COMMUNITY, MORNING, key, opening, possession, state_of

KEYS = [key(number) for number in range(1, 8)]
PUBLIC = {held.public.bytes.hex(): held for held in KEYS}
POSSESSIONS = {
    (device, public): possession(device, held)
    for device in ("gw-1", "gw-2", "operator")
    for public, held in PUBLIC.items()
}

FEEDERS = st.sampled_from(["f-1", "f-2"])
BUILDINGS = st.sampled_from(["b-1", "b-2"])
METERS = st.sampled_from(["m-1", "m-2"])
DEVICES = st.sampled_from(["gw-1", "gw-2", "operator"])
INSTANTS = st.integers(0, 5).map(lambda hours: MORNING + timedelta(hours=hours))
ROLES = st.sampled_from(["gateway", "meter", "building", "operator"])


def possessed(kind: type[KeyEnrolled | KeyRotated]) -> st.SearchStrategy[AnyEvent]:
    """Enrolments or rotations; now and then the proof is of another device or key."""
    pairs = st.tuples(DEVICES, st.sampled_from(list(PUBLIC)))
    proofs = st.sampled_from(list(POSSESSIONS.values()))
    role = {"role": ROLES} if kind is KeyEnrolled else {}
    return pairs.flatmap(
        lambda pair: st.builds(
            kind,
            device=st.just(pair[0]),
            public_key=st.just(pair[1]),
            possession=st.one_of(st.just(POSSESSIONS[pair]), st.just(POSSESSIONS[pair]), proofs),
            **role,
        )
    )


EVENTS: st.SearchStrategy[AnyEvent] = st.one_of(
    st.just(opening()),
    st.builds(FeederAdded, feeder=FEEDERS, name=st.just("")),
    st.builds(BuildingAdded, building=BUILDINGS, feeder=FEEDERS, name=st.just("")),
    st.builds(
        MeterAdded,
        meter=METERS,
        role=st.sampled_from(["connection", "main", "sub"]),
        model=st.just(""),
        rated_w=st.just(1),
        since=INSTANTS,
        building=st.none() | BUILDINGS,
    ),
    st.builds(MeterRetired, meter=METERS, until=INSTANTS),
    st.builds(MeterAssigned, meter=METERS, device=DEVICES, since=INSTANTS),
    st.builds(RegisterEpochOpened, meter=METERS, since=INSTANTS, reason=st.just("rollover")),
    possessed(KeyEnrolled),
    possessed(KeyRotated),
    st.builds(
        KeyRevoked,
        device=DEVICES,
        key=st.sampled_from([held.public.id for held in KEYS]),
        reason=st.just(""),
    ),
    st.builds(
        BlockSealed,
        number=st.integers(1, 2),
        previous=st.just(NO_BLOCK),
        root=st.just("ab" * 32),
        sealed_at=INSTANTS,
        size=st.integers(1, 3),
    ),
)
HISTORIES = st.lists(EVENTS, max_size=25)


def told(events: list[AnyEvent], registry: Registry | None = None) -> tuple[Registry, list[AnyEvent]]:
    """A registry that was told events, and those it believed."""
    registry = registry or Registry(COMMUNITY)
    believed = []
    for event in events:
        with suppress(Contradiction):
            registry.apply(event)
            believed.append(event)
    return registry, believed


@settings(max_examples=150, deadline=None)
@given(HISTORIES)
def test_a_contradiction_changes_nothing(events: list[AnyEvent]) -> None:
    registry = Registry(COMMUNITY)
    for event in events:
        before = state_of(registry)
        try:
            registry.apply(event)
        except Contradiction:
            assert state_of(registry) == before


@settings(max_examples=80, deadline=None)
@given(HISTORIES)
def test_the_state_is_the_fold_of_what_was_believed(events: list[AnyEvent]) -> None:
    registry, believed = told(events)
    again = Registry(COMMUNITY)
    for event in believed:
        again.apply(event)
    assert state_of(again) == state_of(registry)


@settings(max_examples=80, deadline=None)
@given(HISTORIES, HISTORIES)
def test_a_copy_and_its_original_go_their_own_ways(first: list[AnyEvent], then: list[AnyEvent]) -> None:
    original, _ = told(first)
    before = state_of(original)
    twin, _ = told(then, original.copy())
    assert state_of(original) == before
    after = state_of(twin)
    told(then, original)
    assert state_of(twin) == after == state_of(original)


@settings(max_examples=80, deadline=None)
@given(HISTORIES)
def test_no_key_ever_serves_two_devices_or_returns(events: list[AnyEvent]) -> None:
    registry = Registry(COMMUNITY)
    owners: dict[str, str] = {}
    gone: set[str] = set()
    for event in [opening(), *events]:
        told([event], registry)
        valid = {device.key.id: name for name, device in registry.devices.items() if device.key}
        assert len(valid) == sum(device.key is not None for device in registry.devices.values())
        assert all(owners.setdefault(named, owner) == owner for named, owner in valid.items())
        assert not gone & set(valid)
        gone |= set(owners) - set(valid)
        assert gone == set().union(*(device.former for device in registry.devices.values()))


@settings(max_examples=80, deadline=None)
@given(HISTORIES)
def test_a_meter_is_read_by_one_device_at_a_time(events: list[AnyEvent]) -> None:
    registry, believed = told(events)
    for name, meter in registry.meters.items():
        assigned = [event for event in believed if isinstance(event, MeterAssigned) and event.meter == name]
        assert [since for since, _ in meter.readers] == sorted({event.since for event in assigned})
        for since, device in meter.readers:
            assert meter.reader_at(since) == device
            last = [event.device for event in assigned if event.since == since][-1]
            assert device == last
