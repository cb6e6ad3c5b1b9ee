"""A small campus for tests of the book, with keys from fixed seeds, and a ledger that lives in memory."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from ledger.admission import Examined, examine, overlaps, place
from ledger.canonical import encode
from ledger.entry import EMPTY, Head, chain
from ledger.envelope import NewRun, RunHead, seal_envelope, signed_text
from ledger.errors import BadInput
from ledger.event import Role
from ledger.events import (
    AlarmRaised,
    AnyEvent,
    BuildingAdded,
    CommunityOpened,
    FeederAdded,
    KeyEnrolled,
    KeyRotated,
    MeterAdded,
    MeterAssigned,
    MeterRead,
)
from ledger.keys import PublicKey, SigningKey, b64
from ledger.note import Verifier
from ledger.registry import OPERATOR, SERVICE, Registry, possession_text

COMMUNITY = "campus"
MORNING = datetime(2026, 6, 1, tzinfo=UTC)
NOW = MORNING + timedelta(hours=12)
SALT = "AAAAAAAAAAAAAAAA"


def key(number: int) -> SigningKey:
    """One of 256 keys that are everyone's."""
    return SigningKey(bytes([number]) * 32)


SERVICE_KEY, OPERATOR_KEY, LOG_KEY, STRANGER_KEY = key(1), key(2), key(3), key(4)
DEVICES: dict[str, tuple[Role, SigningKey]] = {
    "gw-1": ("gateway", key(5)),
    "gw-2": ("gateway", key(6)),
    "m-9": ("meter", key(7)),
    "b-1": ("building", key(8)),
}
KEYS = {SERVICE: SERVICE_KEY, OPERATOR: OPERATOR_KEY} | {name: held for name, (_, held) in DEVICES.items()}


ALARM = AlarmRaised(at=MORNING, alarm="door-open", detail="", salt=SALT)


def opening() -> CommunityOpened:
    """The genesis of the campus."""
    return CommunityOpened(
        community=COMMUNITY,
        name="Campus",
        zone="Asia/Bangkok",
        interval_minutes=15,
        currency="THB",
        log_key=str(Verifier("ledger.example/campus", LOG_KEY.public)),
        service_key=SERVICE_KEY.public.bytes.hex(),
        operator_key=OPERATOR_KEY.public.bytes.hex(),
    )


def possession(device: str, held: SigningKey) -> str:
    """The proof that `device` holds a key."""
    return b64(held.sign(possession_text(COMMUNITY, device, held.public.bytes.hex())))


def enrolled(device: str, role: Role, held: SigningKey) -> KeyEnrolled:
    """The enrolment of a device."""
    return KeyEnrolled(
        device=device, role=role, public_key=held.public.bytes.hex(), possession=possession(device, held)
    )


def rotated(device: str, held: SigningKey) -> KeyRotated:
    """The rotation of a device to the next key."""
    return KeyRotated(device=device, public_key=held.public.bytes.hex(), possession=possession(device, held))


def facts() -> list[AnyEvent]:
    """What the operator tells the book on its first day: two gateways, a meter that signs, a building."""
    return [
        FeederAdded(feeder="f-1", name="Feeder 1"),
        BuildingAdded(building="b-1", feeder="f-1", name="Science"),
        *(enrolled(name, role, held) for name, (role, held) in DEVICES.items()),
        *(
            MeterAdded(
                meter=meter, role="connection", model="sdm630", rated_w=69_000, since=MORNING, building="b-1"
            )
            for meter in ("m-1", "m-2", "m-9")
        ),
        MeterAssigned(meter="m-1", device="gw-1", since=MORNING),
        MeterAssigned(meter="m-2", device="gw-2", since=MORNING),
        MeterAssigned(meter="m-9", device="m-9", since=MORNING),
    ]


def reading(quarter: int) -> MeterRead:
    """The reading at the end of a quarter of an hour, counted from the morning."""
    return MeterRead(
        import_wh=1_000_000 + 250 * quarter,
        export_wh=0,
        measured_at=MORNING + quarter * timedelta(minutes=15),
        quality="measured",
        salt=SALT,
    )


def readings(begin: int, end: int) -> list[AnyEvent]:
    """The readings of some quarters."""
    return [reading(quarter) for quarter in range(begin, end)]


def bodies_of(events: Sequence[AnyEvent]) -> list[bytes]:
    """The canonical bodies of events."""
    return [encode(event) for event in events]


class Book:
    """A ledger in memory: takes envelopes as the writer does, and remembers what it recorded."""

    def __init__(self, service: PublicKey = SERVICE_KEY.public, now: datetime = NOW) -> None:
        self.service, self.now = service, now
        self.registry = Registry(COMMUNITY)
        self.heads: dict[str, Head] = {}
        self.recorded: dict[tuple[str, int], bytes] = {}
        self.leaves: list[bytes] = []

    def sealed(
        self,
        device: str,
        runs: Mapping[str, Sequence[AnyEvent]],
        signer: SigningKey | None = None,
        heads: Mapping[str, Head] | None = None,
    ) -> bytes:
        """An envelope of `device` that continues this book, or the given heads."""
        after = self.heads if heads is None else heads
        written = [
            NewRun(stream, after.get(stream, EMPTY), bodies_of(events)) for stream, events in runs.items()
        ]
        return seal_envelope(COMMUNITY, device, signer or KEYS[device], written)[0]

    def examine(self, envelope: bytes) -> Examined:
        """What the book thinks of an envelope before it looks for its place."""
        return examine(envelope, self.registry, self.now, self.service)

    def take(self, envelope: bytes) -> int:
        """Append what is new in an envelope and return how much that is. Raises what the book refuses."""
        examined = self.examine(envelope)
        looked_up = {
            (run.stream, run.last): self.recorded[run.stream, run.last]
            for run in examined.runs
            if overlaps(run, self.heads.get(run.stream, EMPTY))
        }
        placement = place(examined, self.heads, looked_up)
        registry = self.registry.copy()
        for run, known in zip(examined.runs, placement.known, strict=True):
            for event in run.events[known:]:
                registry.apply(event)
        self.registry = registry
        for run, known in zip(examined.runs, placement.known, strict=True):
            for sequence, link in enumerate(run.links[known:], run.first + known):
                self.recorded[run.stream, sequence] = link.entry_hash
                self.heads[run.stream] = Head(sequence, link.entry_hash)
                self.leaves.append(link.entry_hash)
        return placement.appended

    def answer(self, envelope: bytes) -> str:
        """The code that an envelope is answered with; unless that is `recorded`, nothing has changed."""
        before = self.snapshot()
        try:
            code = "recorded" if self.take(envelope) else "duplicate"
        except BadInput as error:
            code = error.code
        assert code == "recorded" or self.snapshot() == before
        return code

    def snapshot(self) -> list[object]:
        """All that the book is."""
        return [state_of(self.registry), dict(self.heads), dict(self.recorded), list(self.leaves)]


def campus() -> Book:
    """A book that is open and knows the campus."""
    book = Book()
    book.take(book.sealed(SERVICE, {"registry": [opening()]}))
    book.take(book.sealed(OPERATOR, {"registry": facts()}))
    return book


def state_of(registry: Registry) -> list[object]:
    """All that a registry knows, in a form that compares."""
    return [
        registry.opened,
        dict(registry.feeders),
        dict(registry.buildings),
        {name: (m.added, m.until, tuple(m.readers)) for name, m in registry.meters.items()},
        {name: (d.role, d.key.id if d.key else None, d.former) for name, d in registry.devices.items()},
        registry.last_block,
    ]


Runs = Sequence[tuple[str, Head, list[bytes]]]


def forged(runs: Runs, *, device: str = "gw-1", signer: SigningKey = KEYS["gw-1"], **fields: object) -> bytes:
    """An envelope over any bytes as bodies, rightly signed over what it says, then with other fields."""
    community = str(fields.get("community", COMMUNITY))
    heads = [
        RunHead(
            stream,
            head.sequence + 1,
            head.sequence + len(bodies),
            chain(community, stream, head, bodies)[-1].entry_hash,
        )
        for stream, head, bodies in runs
    ]
    return encode(
        {
            "community": community,
            "device": device,
            "key": signer.public.id,
            "runs": [
                {
                    "bodies": [msgspec.Raw(body) for body in bodies],
                    "first": head.sequence + 1,
                    "previous": head.hash.hex(),
                    "stream": stream,
                }
                for stream, head, bodies in runs
            ],
            "signature": b64(signer.sign(signed_text(community, device, heads))),
            **fields,
        }
    )
