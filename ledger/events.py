"""The facts the book can hold: one frozen struct an event type, tagged `<kebab-name>/<version>`.

Who takes part and what meters read stands here, what is traded and settled in `ledger.market_events`; both
have their base in `ledger.event`.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, get_args

import msgspec

from ledger.canonical import UNREADABLE, Malformed, NotCanonical, encode
from ledger.event import (
    Base64,
    Event,
    HashHex,
    Instant,
    Integer,
    KeyId,
    Name,
    Natural,
    Positive,
    PublicHex,
    Quality,
    Role,
    Salt,
    Text,
)
from ledger.market_events import MARKET_STREAM_KINDS, MarketEvent

# --- registry: who takes part ------------------------------------------------------------------


class CommunityOpened(Event, tag="community-opened/1", frozen=True):
    """The first event of a book: its rules of time and money and the keys that everything hangs on."""

    community: Name
    name: Text
    zone: Text  # IANA time zone of local days, bills and tariffs
    interval_minutes: Literal[5, 10, 15, 30, 60]
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$", max_length=3)]
    log_key: Annotated[str, msgspec.Meta(max_length=300)]  # C2SP verifier key, names the origin
    service_key: PublicHex
    operator_key: PublicHex


class FeederAdded(Event, tag="feeder-added/1", frozen=True):
    """A feeder of the private grid."""

    feeder: Name
    name: Text


class BuildingAdded(Event, tag="building-added/1", frozen=True):
    """A building that takes part, and the feeder it hangs on."""

    building: Name
    feeder: Name
    name: Text


class MeterAdded(Event, tag="meter-added/1", frozen=True):
    """A meter, what it stands for, and the largest power its connection can carry.

    `connection` meters are summed into their building; `main` is the community's own point of delivery;
    `sub` meters (a plant, a zone) are kept and never summed.
    """

    meter: Name
    role: Literal["connection", "main", "sub"]
    model: Text
    rated_w: Positive
    since: Instant
    building: Name | None = None


class MeterRetired(Event, tag="meter-retired/1", frozen=True):
    """A meter no longer counts for its building from `until` on."""

    meter: Name
    until: Instant


class MeterAssigned(Event, tag="meter-assigned/1", frozen=True):
    """From `since` on `device` reads `meter` and continues its chain."""

    meter: Name
    device: Name
    since: Instant


class RegisterEpochOpened(Event, tag="register-epoch-opened/1", frozen=True):
    """An operator's word that the meter's registers start anew with the first reading at or after `since`.

    For a rollover, `modulus_wh` is where the registers wrap to zero: the energy across it is counted.
    """

    meter: Name
    since: Instant
    reason: Literal["replacement", "ct-change", "rollover", "correction"]
    modulus_wh: Positive | None = None


class KeyEnrolled(Event, tag="key-enrolled/1", frozen=True):
    """A device's first key, approved by the operator who signs this event.

    `possession` is the device's own signature over `possession_text` in `ledger.registry`.
    """

    device: Name
    role: Role
    public_key: PublicHex
    possession: Base64


class KeyRevoked(Event, tag="key-revoked/1", frozen=True):
    """From this point of the book on nothing signed with `key` is accepted."""

    device: Name
    key: KeyId
    reason: Text


# --- devices: what they say of themselves ------------------------------------------------------


class KeyRotated(Event, tag="key-rotated/1", frozen=True):
    """A device's next key: the envelope is signed with the old key, `possession` with the new one."""

    device: Name
    public_key: PublicHex
    possession: Base64


class AlarmRaised(Event, tag="alarm-raised/1", frozen=True):
    """Something on site that a person should look at."""

    at: Instant
    alarm: Name
    detail: Text
    salt: Salt
    meter: Name | None = None


class BlockSealed(Event, tag="block-sealed/1", frozen=True):
    """The service sealed the first `size` events of the log under `root`."""

    number: Positive
    previous: HashHex
    root: HashHex
    sealed_at: Instant
    size: Positive


# --- meters ------------------------------------------------------------------------------------


class MeterRead(Event, tag="meter-read/1", frozen=True):
    """A meter's cumulative registers at one instant, from the meter's point of view.

    `raw` keeps the very Modbus registers in hex, since a float32 in Wh loses single steps above 16.8 MWh;
    `serial` is the serial number that the meter gave, when it was asked.
    """

    import_wh: Natural
    export_wh: Natural
    measured_at: Instant
    quality: Quality
    salt: Salt
    power_w: Integer | None = None
    raw: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    serial: Annotated[str, msgspec.Meta(max_length=40)] | None = None


AnyEvent = (
    CommunityOpened
    | FeederAdded
    | BuildingAdded
    | MeterAdded
    | MeterRetired
    | MeterAssigned
    | RegisterEpochOpened
    | KeyEnrolled
    | KeyRevoked
    | KeyRotated
    | AlarmRaised
    | BlockSealed
    | MeterRead
    | MarketEvent
)

STREAM_KINDS: dict[type[Event], str] = {
    CommunityOpened: "registry",
    FeederAdded: "registry",
    BuildingAdded: "registry",
    MeterAdded: "registry",
    MeterRetired: "registry",
    MeterAssigned: "registry",
    RegisterEpochOpened: "registry",
    KeyEnrolled: "registry",
    KeyRevoked: "registry",
    KeyRotated: "device",
    AlarmRaised: "device",
    BlockSealed: "device",
    MeterRead: "meter",
    **MARKET_STREAM_KINDS,
}
"""The kind of stream that each type of event belongs to."""


def _types(annotation: object) -> set[object]:
    """The types that an annotation is made of: `Instant | None` is made of `datetime` and `None`."""
    return {annotation}.union(*map(_types, get_args(annotation)))


_INSTANTS: dict[type[Event], tuple[str, ...]] = {
    event: tuple(field.name for field in msgspec.structs.fields(event) if datetime in _types(field.type))
    for event in STREAM_KINDS
}
"""The fields of each type of event that hold instants; none stands deeper than a field."""

YEAR_MIN, YEAR_MAX = 2000, 2199
"""What is of another age is a slip of the pen, and a gap of two thousand years would be many intervals."""

_decode_event: Callable[[bytes], AnyEvent] = msgspec.json.Decoder(AnyEvent).decode
_decode_events: Callable[[bytes], list[AnyEvent]] = msgspec.json.Decoder(list[AnyEvent]).decode


def read_bodies(bodies: list[bytes]) -> list[AnyEvent]:
    """The events whose canonical bodies these are.

    Raises `Malformed` for an unknown type, a wrong field, a value out of its bounds or an instant that is not
    of the form 2026-06-01T00:15:00Z, and `NotCanonical` for a body that is not its own re-encoding; the
    message tells which body, counted from 0.
    """
    # Decoded in one go, for speed, but compared one by one: the join can make sense where its parts do not.
    try:
        events = _decode_events(b"[" + b",".join(bodies) + b"]")
    except UNREADABLE:
        events = []
    if list(map(encode, events)) != bodies or any(map(_odd_instant, events)):
        return [_read_body(index, body) for index, body in enumerate(bodies)]
    return events


def _odd_instant(event: Event) -> str:
    """The name of a field whose instant is not in UTC, whole seconds and this age; empty when all are."""
    for name in _INSTANTS[type(event)]:
        instant = getattr(event, name)
        if instant is not None and (
            instant.tzinfo is not UTC or instant.microsecond or not YEAR_MIN <= instant.year <= YEAR_MAX
        ):
            return name
    return ""


def read_recorded(bodies: Sequence[bytes]) -> list[AnyEvent]:
    """The events of bodies that come from the book, where they were checked when they were recorded.

    Raises `Malformed` for a type that this version of the program does not know.
    """
    try:
        return _decode_events(b"[" + b",".join(bodies) + b"]")
    except msgspec.DecodeError as error:
        raise Malformed(f"the book holds what this program cannot read: {error}") from error


def _read_body(index: int, body: bytes) -> AnyEvent:
    """One body, read alone so that what is wrong with it can be named."""
    try:
        event = _decode_event(body)
    except UNREADABLE as error:
        raise Malformed(f"body {index}: {error}", where=f"body {index}") from error
    if name := _odd_instant(event):
        raise Malformed(
            f"body {index}: `{name}` is not in UTC, whole seconds and the years 2000 to 2199",
            where=f"body {index}",
            hint="write instants as 2026-06-01T00:15:00Z",
        )
    if encode(event) != body:
        raise NotCanonical(
            f"body {index} is not the canonical form of its content",
            where=f"body {index}",
            hint="sort the keys, write no white space, leave out absent fields",
        )
    return event
