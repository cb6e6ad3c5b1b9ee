"""The registry: who takes part, whose key counts and who may write where, as a fold over events.

The state at any position of the book is the fold of the registry and device events before it; the writer
holds the newest, the auditor walks through all. Nothing is ever taken from a message itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ledger.block import NO_BLOCK, block_hash
from ledger.entry import stream_kind, stream_subject
from ledger.errors import BadInput, Contradiction
from ledger.event import Event, Role
from ledger.events import (
    STREAM_KINDS,
    AnyEvent,
    BlockSealed,
    BuildingAdded,
    CommunityOpened,
    FeederAdded,
    KeyEnrolled,
    KeyRevoked,
    KeyRotated,
    MeterAdded,
    MeterAssigned,
    MeterRead,
    MeterRetired,
    RegisterEpochOpened,
)
from ledger.grid import Grid
from ledger.keys import PublicKey, unb64
from ledger.market import Market
from ledger.market_events import MarketRulesPublished, TariffPublished
from ledger.note import NoteError, Verifier

SERVICE = "service"
OPERATOR = "operator"
"""Names of the two devices that a community is opened with."""


WHO_ASSIGNS = (
    "the operator assigns each meter to one device, by the settings and `provision` or by"
    " `POST .../registry`: what is measured from then on is taken, and what was measured before is not"
)


_FIRST = {"device": "it is enrolled first, by a token or by `energy-ledger device enrol`"}
"""What to do where there is no such thing."""


class NotPermitted(BadInput):
    """The device may not write this event, or not to this stream."""

    code = "not-permitted"


class UnknownDevice(BadInput):
    """No such device or key is enrolled."""

    code = "unknown-device"


class KeyIsRevoked(BadInput):
    """The key was valid once and is no longer."""

    code = "key-revoked"


def possession_text(community: str, device: str, public_hex: str) -> bytes:
    """What a device signs with a new key to show that it holds the private half."""
    return f"energy-ledger/possession/v1\n{community}\n{device}\n{public_hex}\n".encode()


@dataclass(slots=True)
class Device:
    """A device, its role, its one valid key (none after revocation) and its former keys: bytes by id."""

    role: Role
    key: PublicKey | None
    former: Mapping[str, bytes] = field(default_factory=dict)

    def without_key(self) -> "Device":
        """The same device with its key among the former ones."""
        gone = {self.key.id: self.key.bytes} if self.key else {}
        return Device(self.role, None, {**self.former, **gone})


@dataclass(slots=True)
class Meter:
    """A meter as the registry knows it; `readers` are (since, device) in order of time, `epochs` what the
    operator has said of its registers, in order of the book."""

    added: MeterAdded
    until: datetime | None = None
    readers: list[tuple[datetime, str]] = field(default_factory=list)
    epochs: list[RegisterEpochOpened] = field(default_factory=list)

    def has_ended(self, at: datetime) -> bool:
        """Whether it was retired by then."""
        return self.until is not None and self.until <= at

    def reader_at(self, instant: datetime) -> str | None:
        """The device whose word counts for readings measured at `instant`."""
        found = None
        for since, device in self.readers:
            if since > instant:
                break
            found = device
        return found


class Registry:
    """The state of one community. `apply` changes it; `copy` first where a change may be taken back."""

    def __init__(self, community: str) -> None:
        self.community = community
        self.opened: CommunityOpened | None = None
        self.feeders: dict[str, FeederAdded] = {}
        self.buildings: dict[str, BuildingAdded] = {}
        self.meters: dict[str, Meter] = {}
        self.devices: dict[str, Device] = {}
        self.last_block: BlockSealed | None = None
        self.market = Market()

    def copy(self) -> "Registry":
        """An independent copy (meters are replaced, never changed in place)."""
        twin = Registry(self.community)
        twin.opened, twin.last_block, twin.market = self.opened, self.last_block, self.market
        twin.feeders, twin.buildings = dict(self.feeders), dict(self.buildings)
        twin.meters, twin.devices = dict(self.meters), dict(self.devices)
        return twin

    # --- whose word counts -----------------------------------------------------------------

    def key_of(self, device: str, key: str) -> PublicKey:
        """The public key that `device` signs with, if it is the one named `key`.

        Raises `UnknownDevice` or `KeyIsRevoked`.
        """
        known = self.devices.get(device)
        if known is None:
            raise UnknownDevice("this device is not enrolled", where=device, hint="enrol its key first")
        if known.key is not None and known.key.id == key:
            return known.key
        if key in known.former:
            raise KeyIsRevoked(f"key {key} was rotated or revoked", where=device)
        raise UnknownDevice(f"key {key} was never enrolled for this device", where=device)

    def former_key_of(self, device: str, key: str) -> PublicKey:
        """The public key that `device` signed with before, where `key_of` says `KeyIsRevoked` of it."""
        return PublicKey(self.devices[device].former[key])

    def check_may_write(self, device: str, stream: str, events: Sequence[AnyEvent]) -> None:
        """Return if the enrolled `device` may write `events` to `stream`. Raises `NotPermitted` otherwise."""
        kind = stream_kind(stream)
        for event in events:
            if STREAM_KINDS.get(type(event)) != kind:
                raise NotPermitted(f"{tag_of(event)} does not belong to this stream", where=stream)
        rule = _WRITE_RULES.get((self.devices[device].role, kind))
        if rule is None or not rule(self, device, stream_subject(stream), events):
            hint = WHO_ASSIGNS if kind == "meter" else ""
            raise NotPermitted(f"{device} may not write this to {stream}", where=stream, hint=hint)

    def streams_of(self, device: str) -> list[str]:
        """The streams that `device` continues: its own, its meters' or the registry; empty if unknown."""
        known = self.devices.get(device)
        if known is None:
            return []
        meters = [
            f"meter/{name}"
            for name, meter in self.meters.items()
            if any(reader == device for _, reader in meter.readers)
        ]
        shared = _SHARED_STREAMS.get(known.role, ())
        buildings = [f"building/{name}" for name in self.buildings if _acts_for(known.role, device, name)]
        return sorted([f"device/{device}", *shared, *meters, *buildings])

    # --- what happened ---------------------------------------------------------------------

    def apply(self, event: AnyEvent) -> None:
        """Take in one event of a registry or device stream. Raises `Contradiction`; then nothing changed."""
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def open(self, event: CommunityOpened) -> None:
        """The genesis: sets the rules and enrols the service and the operator."""
        if self.opened is not None or event.community != self.community:
            raise Contradiction("a book is opened once, by its own community", where=event.community)
        service, operator = _public(event.service_key), _public(event.operator_key)
        if service.id == operator.id:
            raise Contradiction("the service and the operator need a key each", where=event.community)
        try:
            ZoneInfo(event.zone)
            Verifier.parse(event.log_key)
        except (LookupError, ValueError, OSError, NoteError) as error:  # OSError: the name of a folder
            raise Contradiction(
                f"the time zone or the log's key is none: {error}", where=event.zone
            ) from error
        self.opened = event
        self.devices[SERVICE] = Device("service", service)
        self.devices[OPERATOR] = Device("operator", operator)

    def add_feeder(self, event: FeederAdded) -> None:
        """A new feeder, or a new name for one."""
        self.feeders[event.feeder] = event

    def add_building(self, event: BuildingAdded) -> None:
        """A new building, or a building that moved to another feeder."""
        self._known(self.feeders, event.feeder, "feeder")
        self.buildings[event.building] = event

    def add_meter(self, event: MeterAdded) -> None:
        """A new meter, or new facts about one (another rating after a change of CTs)."""
        if event.role == "main":
            if event.building is not None:
                raise Contradiction("a main meter belongs to no building", where=event.meter)
        elif event.building is None:
            raise Contradiction("only a main meter stands without a building", where=event.meter)
        else:
            self._known(self.buildings, event.building, "building")
        before = self.meters.get(event.meter)
        if before and before.added.role != event.role:
            raise Contradiction(
                f"it is a {before.added.role} meter, and stays so", where=event.meter,
                hint="retire it, and add it under another name",
            )  # fmt: skip
        if before and before.added.building != event.building:
            # Its chain is one building's for ever: who may read it must not change with a fact.
            raise Contradiction(
                f"the meter is {before.added.building or 'the main meter'}'s, and stays so",
                where=event.meter,
                hint="retire it, and add it under another name where it hangs now",
            )
        self.meters[event.meter] = replace(before, added=event, until=None) if before else Meter(event)

    def retire_meter(self, event: MeterRetired) -> None:
        """A meter that no longer counts."""
        meter = self._known(self.meters, event.meter, "meter")
        if event.until <= meter.added.since:
            raise Contradiction("a meter cannot end before it began", where=event.meter)
        self.meters[event.meter] = replace(meter, until=event.until)

    def assign_meter(self, event: MeterAssigned) -> None:
        """Another device reads the meter from `since` on."""
        meter = self._known(self.meters, event.meter, "meter")
        device = self._known(self.devices, event.device, "device")
        if device.role not in ("gateway", "meter"):
            article = "an" if device.role[0] in "aeiou" else "a"
            raise Contradiction(f"{article} {device.role} reads no meters", where=event.device)
        if meter.readers and event.since < meter.readers[-1][0]:
            raise Contradiction("a later assignment stands already", where=event.meter)
        kept = [reader for reader in meter.readers if reader[0] < event.since]
        readers = [*kept, (event.since, event.device)]
        self.meters[event.meter] = replace(meter, readers=readers)

    def open_register_epoch(self, event: RegisterEpochOpened) -> None:
        """Concerns the energy of a meter, which must exist."""
        meter = self._known(self.meters, event.meter, "meter")
        self.meters[event.meter] = replace(meter, epochs=[*meter.epochs, event])

    def enrol_key(self, event: KeyEnrolled) -> None:
        """A device's first key, or its next after a revocation."""
        device = self.devices.get(event.device)
        if device is not None and device.key is not None:
            raise Contradiction("the device has a key; rotate or revoke it", where=event.device)
        if event.role == "service":
            raise Contradiction("a book has one service, which opened it", where=event.device)
        key = self._possessed(event.device, event.public_key, event.possession)
        former = device.former if device else {}
        if device is not None and device.role != event.role:
            raise Contradiction(f"the device is a {device.role}", where=event.device)
        self.devices[event.device] = Device(event.role, key, former)

    def rotate_key(self, event: KeyRotated) -> None:
        """A device's next key."""
        device = self._known(self.devices, event.device, "device")
        if device.key is None:
            raise Contradiction("the device's key was revoked", where=event.device, hint="enrol a new key")
        key = self._possessed(event.device, event.public_key, event.possession)
        gone = device.without_key()
        self.devices[event.device] = Device(gone.role, key, gone.former)

    def revoke_key(self, event: KeyRevoked) -> None:
        """A key that no longer counts."""
        device = self._known(self.devices, event.device, "device")
        if device.key is None or device.key.id != event.key:
            raise Contradiction(f"{event.key} is not the device's valid key", where=event.device)
        operators = [each for each in self.devices.values() if each.role == "operator" and each.key]
        if device.role == "service" or operators == [device]:
            raise Contradiction(
                "without this key nobody could write to the registry or seal a block",
                where=event.device,
                hint="rotate it, or enrol another operator first",
            )
        self.devices[event.device] = device.without_key()

    def seal_block(self, event: BlockSealed) -> None:
        """The next block of the chain of blocks. Its root is held against the log by who has the log."""
        last = self.last_block
        number, previous, size = (
            (last.number, block_hash(self.community, last), last.size) if last else (0, NO_BLOCK, 0)
        )
        if (event.number, event.previous) != (number + 1, previous) or event.size <= size:
            raise Contradiction(
                "the block does not continue the chain of blocks", where=f"block {event.number}"
            )
        self.last_block = event

    def publish_tariff(self, event: TariffPublished) -> None:
        """A tariff, or a new state of one."""
        self.market = self.market.with_tariff(event)

    def publish_rules(self, event: MarketRulesPublished) -> None:
        """The next rules of the market."""
        if self.opened is None:
            raise Contradiction("the book is not open yet", where=str(event.begin))
        self.market = self.market.with_rules(event, Grid.of(self.opened), self.buildings, self.feeders)

    def _known(self, table: dict[str, Any], name: str, noun: str) -> Any:
        if name not in table:
            hint = _FIRST.get(noun, f"add the {noun} first")
            raise Contradiction(f"there is no such {noun}", where=name, hint=hint)
        return table[name]

    def _possessed(self, device: str, public_hex: str, possession: str) -> PublicKey:
        """The new key, if its owner has shown to hold it and it was never used before."""
        key = _public(public_hex)
        if any(key.id in d.former or (d.key and d.key.id == key.id) for d in self.devices.values()):
            raise Contradiction("this key is or was in use", where=device)
        try:
            signature = unb64(possession)
        except ValueError as error:
            raise Contradiction("the proof of possession is not base64", where=device) from error
        if not key.verifies(signature, possession_text(self.community, device, public_hex)):
            raise Contradiction(
                "the proof of possession does not fit the key",
                where=device,
                hint=f"the request must be made for community {self.community} and device {device}",
            )
        return key


def _public(text: str) -> PublicKey:
    try:
        return PublicKey.from_hex(text)
    except ValueError as error:
        raise Contradiction("this is not an Ed25519 public key", where=text) from error


def tag_of(event: Event) -> str:
    """`meter-read/1` and so on."""
    return str(event.__struct_config__.tag)


# --- tables --------------------------------------------------------------------------------------

Handler = Callable[[Registry, Any], None]

_HANDLERS: dict[type[Event], Handler] = {
    CommunityOpened: Registry.open,
    FeederAdded: Registry.add_feeder,
    BuildingAdded: Registry.add_building,
    MeterAdded: Registry.add_meter,
    MeterRetired: Registry.retire_meter,
    MeterAssigned: Registry.assign_meter,
    RegisterEpochOpened: Registry.open_register_epoch,
    KeyEnrolled: Registry.enrol_key,
    KeyRevoked: Registry.revoke_key,
    KeyRotated: Registry.rotate_key,
    BlockSealed: Registry.seal_block,
    TariffPublished: Registry.publish_tariff,
    MarketRulesPublished: Registry.publish_rules,
}

WriteRule = Callable[[Registry, str, str, Sequence[AnyEvent]], bool]


def _operator_to_registry(registry: Registry, device: str, subject: str, events: Sequence[AnyEvent]) -> bool:
    return subject == "" and not any(isinstance(event, CommunityOpened) for event in events)


def _genesis_by_service(registry: Registry, device: str, subject: str, events: Sequence[AnyEvent]) -> bool:
    return subject == "" and [type(event) for event in events] == [CommunityOpened]


def _own_device(registry: Registry, device: str, subject: str, events: Sequence[AnyEvent]) -> bool:
    return subject == device and all(
        not isinstance(event, BlockSealed) and (not isinstance(event, KeyRotated) or event.device == device)
        for event in events
    )


def _own_device_and_blocks(registry: Registry, device: str, subject: str, events: Sequence[AnyEvent]) -> bool:
    others = [event for event in events if not isinstance(event, BlockSealed)]
    return _own_device(registry, device, subject, others)


def _assigned_meter(registry: Registry, device: str, subject: str, events: Sequence[AnyEvent]) -> bool:
    meter = registry.meters.get(subject)
    if meter is None:
        return False
    return all(
        meter.reader_at(event.measured_at) == device for event in events if isinstance(event, MeterRead)
    )


def _the_one(registry: Registry, device: str, subject: str, events: Sequence[AnyEvent]) -> bool:
    return subject == ""


def _for_building(registry: Registry, device: str, subject: str, events: Sequence[AnyEvent]) -> bool:
    return subject in registry.buildings and _acts_for(registry.devices[device].role, device, subject)


def _acts_for(role: Role, device: str, building: str) -> bool:
    """A building acts for itself, under a device of its own name; operator and service act on behalf."""
    return role in ("operator", "service") or (role == "building" and device == building)


_SHARED_STREAMS: dict[str, tuple[str, ...]] = {"operator": ("registry", "market"), "service": ("settlement",)}
"""Streams that stand once in a community, by the role that writes to them."""

_WRITE_RULES: dict[tuple[str, str], WriteRule] = {
    ("operator", "registry"): _operator_to_registry,
    ("operator", "market"): _the_one,
    ("operator", "building"): _for_building,
    ("operator", "device"): _own_device,
    ("service", "registry"): _genesis_by_service,
    ("service", "device"): _own_device_and_blocks,
    ("service", "building"): _for_building,
    ("service", "settlement"): _the_one,
    ("gateway", "device"): _own_device,
    ("gateway", "meter"): _assigned_meter,
    ("meter", "device"): _own_device,
    ("meter", "meter"): _assigned_meter,
    ("building", "device"): _own_device,
    ("building", "building"): _for_building,
}
"""Who may write where: (role, kind of stream) -> rule. What is not listed is refused."""
