"""Admission: what the writer decides about an envelope, as pure functions.

First the envelope is examined on its own, cheapest checks first; then it is placed against the heads of its
streams; then its new events are applied to the registry. Each refusal has one code, checked in this order:

    examine   malformed        the bytes are no envelope
              not-canonical    .. or not its canonical form
              not-permitted    the envelope is for another community, or the book is not open yet
              unknown-device   the device or its key is not enrolled
              key-revoked      the key was rotated or revoked before this point of the book
              malformed        a body has an unknown type, a wrong field or value
              not-canonical    .. or is not its canonical form
              bad-signature    the signature does not fit
              not-permitted    the device may not write such events to this stream
              clock-skew       a reading claims to be from the future
              gate-closed      an order or agreement would change what is being traded already
              contradiction    .. or makes no sense: it ends before it begins, or between intervals
    place     sequence-gap     events before these are missing; parked until they arrive
              chain-broken     the next sequence, but on another previous hash
              fork             a sequence that the book holds with another hash: an alarm
    apply     contradiction    a registry event does not fit what the registry says

Where more than one run is at fault, the first is named. `duplicate` is no refusal: every event is in the book
already, so the answer is a receipt. Time takes nothing from that: where the signature fits and the book holds
all of it, nothing is refused because the key was rotated or revoked since, or because of what time it is
(`key-revoked`, and all from `clock-skew` on). So whoever lost a receipt may send the same again for ever.
With a key that counts no more, whatever is new, wrongly signed or unreadable is `key-revoked`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from ledger.entry import EMPTY, Head, Link, stream_kind, stream_subject
from ledger.envelope import (
    Envelope,
    Run,
    RunHead,
    read_envelope,
    run_links,
    signature_bytes,
    signed_text,
)
from ledger.errors import BadInput
from ledger.events import AnyEvent, CommunityOpened, MeterRead, read_bodies
from ledger.grid import Grid
from ledger.keys import PublicKey
from ledger.market import check_orders, check_rules
from ledger.market_events import MarketRulesPublished
from ledger.registry import SERVICE, KeyIsRevoked, NotPermitted, Registry

SKEW_MAX = timedelta(minutes=5)
"""How far ahead of the ledger's clock a reading may claim to be."""

REGISTRY_KINDS = ("registry", "device", "market")


class BadSignature(BadInput):
    """The signature was not made by the device's key over these runs."""

    code = "bad-signature"


class ClockSkew(BadInput):
    """A reading claims to be from the future."""

    code = "clock-skew"


class SequenceGap(BadInput):
    """Events between the book's head and this run are missing."""

    code = "sequence-gap"


class ChainBroken(BadInput):
    """The run has the next sequence but does not continue the book's chain."""

    code = "chain-broken"


class Fork(BadInput):
    """The book holds this sequence with another hash."""

    code = "fork"


class InStream(BadInput):
    """A refusal that is tied to one place of a stream; wraps the cause to add that place."""

    def __init__(self, cause: BadInput, stream: str, sequence: int) -> None:
        super().__init__(cause.what, where=f"{stream} {sequence}", hint=cause.hint)
        self.code = cause.code
        self.stream = stream
        self.sequence = sequence


@dataclass(slots=True)
class ExaminedRun:
    """One run whose bodies were read and whose links were computed."""

    stream: str
    first: int
    previous: bytes
    bodies: list[bytes]
    events: list[AnyEvent]
    links: list[Link]

    @property
    def last(self) -> int:
        """The sequence of the last event."""
        return self.first + len(self.bodies) - 1


@dataclass(slots=True)
class Unverified:
    """An envelope that can be read and whose key is known. What its signature covers is worked out.

    `refused` is what it is refused with unless the book holds all of it: its key counts no more.
    """

    envelope: Envelope
    digest: bytes
    runs: list[ExaminedRun]
    key: PublicKey
    signature: bytes
    text: bytes
    refused: BadInput | None = None

    @property
    def changes_registry(self) -> bool:
        """Whether later envelopes may be judged differently because of this one."""
        return any(stream_kind(run.stream) in REGISTRY_KINDS for run in self.runs)

    @property
    def events(self) -> int:
        """How many events it holds."""
        return sum(len(run.bodies) for run in self.runs)

    def is_genuine(self) -> bool:
        """Whether the signature fits. The one costly step, and safe to take on another thread."""
        return self.key.verifies(self.signature, self.text)


@dataclass(slots=True)
class Examined:
    """An envelope that is sound in itself and rightly signed.

    `refused` is what it is refused with unless the book holds all of it.
    """

    envelope: Envelope
    digest: bytes
    runs: list[ExaminedRun]
    changes_registry: bool
    refused: BadInput | None = None


def examine(data: bytes, registry: Registry, now: datetime, genesis_key: PublicKey) -> Examined:
    """Check all of an envelope that does not depend on the heads of its streams.

    `genesis_key` is the ledger's own service key: it alone may open a book. Raises a `BadInput` whose code is
    in the table above, as `InStream` where one event is to blame; what the book may hold in spite of it, is
    `refused` of what is given back.
    """
    unverified = read(data, registry, genesis_key)
    return judge(unverified, unverified.is_genuine(), registry, now, genesis_key)


def read(data: bytes, registry: Registry, genesis_key: PublicKey) -> Unverified:
    """The first half of `examine`: all that comes before the signature."""
    envelope = read_envelope(data)
    if envelope.community != registry.community:
        raise NotPermitted("the envelope is for another community", where=envelope.community)
    if registry.opened is None:
        return _unverified(data, envelope, _opening_key(envelope, genesis_key))
    try:
        key = registry.key_of(envelope.device, envelope.key)
    except KeyIsRevoked as refused:
        return _by_former_key(data, envelope, registry.former_key_of(envelope.device, envelope.key), refused)
    return _unverified(data, envelope, key)


def _unverified(data: bytes, envelope: Envelope, key: PublicKey) -> Unverified:
    runs = [_examine_run(envelope, run) for run in envelope.runs]
    heads = [RunHead(run.stream, run.first, run.last, run.links[-1].entry_hash) for run in runs]
    text = signed_text(envelope.community, envelope.device, heads)
    return Unverified(envelope, sha256(data).digest(), runs, key, signature_bytes(envelope), text)


def _by_former_key(data: bytes, envelope: Envelope, key: PublicKey, refused: KeyIsRevoked) -> Unverified:
    """What a key has signed that counts no more, and that the book may hold. Raises `KeyIsRevoked`."""
    try:
        unverified = _unverified(data, envelope, key)
    except BadInput as error:
        raise refused from error  # such a thing is not in the book
    unverified.refused = refused
    return unverified


def check_genuine(unverified: Unverified, genuine: bool) -> None:
    """Return if the signature fits. Raises `BadSignature`, or `KeyIsRevoked` where the key counts no more."""
    if not genuine:
        raise unverified.refused or BadSignature(
            "the signature does not fit the events",
            where=unverified.envelope.device,
            hint="sign the text of the runs exactly as sent, with the enrolled key",
        )


def judge(
    unverified: Unverified, genuine: bool, registry: Registry, now: datetime, genesis_key: PublicKey
) -> Examined:
    """The second half of `examine`, given whether the signature fits; `registry` is that of the first."""
    check_genuine(unverified, genuine)
    envelope, refused = unverified.envelope, unverified.refused
    if refused is None:
        for run in unverified.runs:
            if registry.opened is None:
                _check_opening(run, genesis_key)
            else:
                _check_rights(registry, envelope.device, run)
        refused = _out_of_time(unverified.runs, registry, now)
    return Examined(envelope, unverified.digest, unverified.runs, unverified.changes_registry, refused)


def _out_of_time(runs: Sequence[ExaminedRun], registry: Registry, now: datetime) -> BadInput | None:
    """Why the runs cannot come into the book at this time; they may have come before."""
    try:
        for run in runs:
            _check_clock(run, now)
            _check_gate(registry, run, now)
    except BadInput as error:
        return error
    return None


def _opening_key(envelope: Envelope, genesis_key: PublicKey) -> PublicKey:
    if envelope.device != SERVICE or envelope.key != genesis_key.id:
        raise NotPermitted(
            "the book is not open yet, and only its own service can open it",
            where=envelope.device,
            hint="start the ledger of this community first",
        )
    return genesis_key


def _check_opening(run: ExaminedRun, genesis_key: PublicKey) -> None:
    event = run.events[0]
    if (
        run.stream != "registry"
        or len(run.events) != 1
        or not isinstance(event, CommunityOpened)
        or event.service_key != genesis_key.bytes.hex()
    ):
        raise NotPermitted("a book begins with community-opened and nothing else", where=run.stream)


def _examine_run(envelope: Envelope, run: Run) -> ExaminedRun:
    bodies = [bytes(body) for body in run.bodies]
    try:
        events = read_bodies(bodies)
    except BadInput as error:
        index = next((i for i, body in enumerate(bodies) if _is_bad(body)), 0)
        raise InStream(error, run.stream, run.first + index) from error
    links = run_links(envelope.community, run)
    return ExaminedRun(run.stream, run.first, bytes.fromhex(run.previous), bodies, events, links)


def _is_bad(body: bytes) -> bool:
    try:
        read_bodies([body])
    except BadInput:
        return True
    return False


def _check_rights(registry: Registry, device: str, run: ExaminedRun) -> None:
    try:
        registry.check_may_write(device, run.stream, run.events)
    except BadInput as error:
        raise InStream(error, run.stream, run.first) from error


def _check_clock(run: ExaminedRun, now: datetime) -> None:
    limit = now + SKEW_MAX
    for index, event in enumerate(run.events):
        if isinstance(event, MeterRead) and event.measured_at > limit:
            cause = ClockSkew("the reading is from the future", hint="set the device's clock (NTP)")
            raise InStream(cause, run.stream, run.first + index)


def _check_gate(registry: Registry, run: ExaminedRun, now: datetime) -> None:
    """Nothing changes what is being traded already: neither orders nor the rules themselves."""
    kind = stream_kind(run.stream)
    if kind not in ("building", "market") or registry.opened is None:
        return
    grid, building = Grid.of(registry.opened), stream_subject(run.stream)
    for index, event in enumerate(run.events):
        try:
            if kind == "building":
                check_orders(event, building, registry.market, grid, registry.buildings, now)
            elif isinstance(event, MarketRulesPublished):
                check_rules(event, registry.market, now)
        except BadInput as error:
            raise InStream(error, run.stream, run.first + index) from error


@dataclass(slots=True)
class Placement:
    """Where an envelope's events go: per run how many of its first events the book already holds."""

    examined: Examined
    known: list[int]

    @property
    def appended(self) -> int:
        """How many events are new."""
        return sum(len(run.bodies) - known for run, known in zip(self.examined.runs, self.known, strict=True))


def place(
    examined: Examined, heads: Mapping[str, Head], recorded: Mapping[tuple[str, int], bytes]
) -> Placement:
    """Hold an examined envelope against the book.

    `heads` are the heads of its streams; `recorded` the entry hashes at (stream, last sequence) for runs that
    end before their stream's head. Raises `SequenceGap`, `ChainBroken` or `Fork`, or what the envelope is
    `refused` with, unless the book holds all of it.
    """
    try:
        known = [_known(run, heads.get(run.stream, EMPTY), recorded) for run in examined.runs]
    except InStream as error:
        raise examined.refused or error from None
    placement = Placement(examined, known)
    if examined.refused is not None and placement.appended:
        raise examined.refused
    return placement


def ends(unverified: Unverified) -> list[tuple[str, int]]:
    """Where the runs end: the places whose recorded hashes tell whether the book holds all of it."""
    return [(run.stream, run.last) for run in unverified.runs]


def is_recorded(unverified: Unverified, recorded: Mapping[tuple[str, int], bytes]) -> bool:
    """Whether the book holds all of it, given the entry hashes at its `ends` that there are."""
    # A chain's hash commits to all before it: agreeing at the end is agreeing on all.
    return all(recorded.get((run.stream, run.last)) == run.links[-1].entry_hash for run in unverified.runs)


def overlaps(run: ExaminedRun, head: Head) -> bool:
    """Whether the run ends before `head`, so that the hash recorded at its end must be looked up."""
    return run.last < head.sequence


def _known(run: ExaminedRun, head: Head, recorded: Mapping[tuple[str, int], bytes]) -> int:
    """How many of the run's events the book holds."""
    if run.first > head.sequence + 1:
        raise InStream(
            SequenceGap(f"the book ends at {head.sequence}", hint=f"send from sequence {head.sequence + 1}"),
            run.stream,
            run.first,
        )
    if run.first == head.sequence + 1:
        if run.previous != head.hash:
            raise InStream(
                ChainBroken(
                    "the run does not continue the book's chain",
                    hint="continue from the head in this answer",
                ),
                run.stream,
                run.first,
            )
        return 0
    # A chain's hash commits to all before it: agreeing at the last shared sequence is agreeing on all.
    known = min(run.last, head.sequence) - run.first + 1
    mine = run.links[known - 1].entry_hash
    theirs = recorded[run.stream, run.last] if overlaps(run, head) else head.hash
    if mine != theirs:
        raise InStream(
            Fork("the book holds another event here", hint="find out who else signs this stream"),
            run.stream,
            run.first,
        )
    return known
