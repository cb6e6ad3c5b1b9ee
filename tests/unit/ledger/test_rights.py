"""Who may write which events to which streams, as the answers to envelopes tell."""

from datetime import timedelta
from typing import Any

import pytest

from ledger.events import (
    AlarmRaised,
    AnyEvent,
    BlockSealed,
    BuildingAdded,
    CommunityOpened,
    FeederAdded,
    KeyRevoked,
    KeyRotated,
    MeterAdded,
    MeterAssigned,
    MeterRead,
    MeterRetired,
    RegisterEpochOpened,
)
from ledger.registry import OPERATOR, SERVICE, NotPermitted
from tests.unit.ledger.campus import (
    ALARM,
    KEYS,
    MORNING,
    Book,
    campus,
    enrolled,
    key,
    opening,
    reading,
    readings,
    rotated,
)

NOON = MORNING + timedelta(hours=12)

# --- taking over a meter -----------------------------------------------------------------------------------


@pytest.fixture
def taken_over() -> Book:
    """A campus where gw-1 sent four readings of m-1, and gw-2 takes over at quarter 8."""
    book = campus()
    book.take(book.sealed("gw-1", {"meter/m-1": readings(0, 4)}))
    assigned = MeterAssigned(meter="m-1", device="gw-2", since=MORNING + timedelta(hours=2))
    book.take(book.sealed(OPERATOR, {"registry": [assigned]}))
    return book


def test_the_new_gateway_continues_the_chain_of_the_old(taken_over: Book) -> None:
    assert taken_over.answer(taken_over.sealed("gw-2", {"meter/m-1": readings(8, 10)})) == "recorded"
    assert taken_over.heads["meter/m-1"].sequence == 6


def test_the_old_gateway_may_still_deliver_what_it_measured_before(taken_over: Book) -> None:
    assert taken_over.answer(taken_over.sealed("gw-1", {"meter/m-1": readings(4, 8)})) == "recorded"
    assert taken_over.answer(taken_over.sealed("gw-2", {"meter/m-1": readings(8, 9)})) == "recorded"
    missed = [reading(7)]
    assert taken_over.answer(taken_over.sealed("gw-1", {"meter/m-1": missed})) == "recorded"


@pytest.mark.parametrize(
    ("device", "begin", "end"), [("gw-1", 8, 9), ("gw-1", 7, 9), ("gw-2", 7, 8), ("gw-2", 7, 9)]
)
def test_neither_gateway_reads_in_the_other_s_time(
    taken_over: Book, device: str, begin: int, end: int
) -> None:
    envelope = taken_over.sealed(device, {"meter/m-1": readings(begin, end)})
    assert taken_over.answer(envelope) == NotPermitted.code


# --- who may write what, and where --------------------------------------------------------------------------

REGISTRY_FACTS = (
    FeederAdded(feeder="f-2", name="North"),
    BuildingAdded(building="b-1", feeder="f-1", name="Science"),
    MeterAdded(meter="m-3", role="sub", model="x", rated_w=1, since=MORNING, building="b-1"),
    MeterRetired(meter="m-1", until=NOON),
    MeterAssigned(meter="m-1", device="gw-2", since=NOON),
    RegisterEpochOpened(meter="m-1", since=NOON, reason="rollover"),
    enrolled("gw-3", "gateway", key(21)),
    KeyRevoked(device="gw-1", key=KEYS["gw-1"].public.id, reason="stolen"),
)
BLOCK = BlockSealed(number=1, previous="0" * 64, root="ab" * 32, sealed_at=NOON, size=1)
STREAMS = (
    "registry",
    "registry/x",
    "device",
    *(f"device/{name}" for name in (SERVICE, OPERATOR, "gw-1", "gw-2", "m-9", "b-1", "nobody")),
    *(f"meter/{name}" for name in ("m-1", "m-2", "m-9", "m-0")),
    "meter",
    "building/b-1",
    "market",
    "settlement",
    "carbon",
    "crop/c-1",
)
EVENTS: tuple[AnyEvent, ...] = (opening(), *REGISTRY_FACTS, ALARM, BLOCK, reading(4))
ALLOWED: set[tuple[str, str, type[Any]]] = {
    *((OPERATOR, "registry", type(event)) for event in REGISTRY_FACTS),
    *((device, f"device/{device}", AlarmRaised) for device in KEYS),
    *((device, f"device/{device}", KeyRotated) for device in KEYS),
    (SERVICE, f"device/{SERVICE}", BlockSealed),
    # The rights are the service's; that the book is open already is a contradiction.
    (SERVICE, "registry", CommunityOpened),
    ("gw-1", "meter/m-1", MeterRead),
    ("gw-2", "meter/m-2", MeterRead),
    ("m-9", "meter/m-9", MeterRead),
}


@pytest.mark.parametrize("device", KEYS)
@pytest.mark.parametrize("stream", STREAMS)
def test_each_role_writes_its_own_events_to_its_own_streams(device: str, stream: str) -> None:
    book = campus()
    for event in (*EVENTS, rotated(device, key(30))):
        allowed = (device, stream, type(event)) in ALLOWED
        code = book.answer(book.sealed(device, {stream: [event]}, heads={}))
        assert (code != NotPermitted.code) is allowed, f"{type(event).__name__}: {code}"


def test_nobody_rotates_the_key_of_another() -> None:
    book = campus()
    for device in KEYS:
        other = "gw-2" if device == "gw-1" else "gw-1"
        stolen = rotated(other, key(30))
        for stream in (f"device/{device}", f"device/{other}", "registry"):
            envelope = book.sealed(device, {stream: [stolen]})
            assert book.answer(envelope) == NotPermitted.code


def test_one_event_that_is_not_permitted_refuses_its_run() -> None:
    book = campus()
    runs: list[list[AnyEvent]] = [[ALARM, BLOCK], [BLOCK, ALARM], [ALARM, reading(4)], [reading(4), ALARM]]
    for events in runs:
        assert book.answer(book.sealed("gw-1", {"device/gw-1": events})) == NotPermitted.code
    assert book.answer(book.sealed("gw-1", {"meter/m-1": [reading(4), ALARM]})) == NotPermitted.code
    assert book.answer(book.sealed(OPERATOR, {"registry": [*REGISTRY_FACTS[:1], opening()]})) == (
        NotPermitted.code
    )
