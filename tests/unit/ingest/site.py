"""A site for the tests of the gateway: one gateway with three meters, and a ledger double without Postgres.

`LedgerDouble` decides with the ledger's own code (`examine`, `Plan`) over dicts. It stands in for the writer
where a test must make it lose, repeat and delay what it does.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from ingest.cut import Seal
from ingest.outbox import Outgoing
from ledger.admission import Examined, SequenceGap, examine
from ledger.canonical import encode
from ledger.entry import EMPTY, NO_HASH, Head
from ledger.envelope import seal_envelope
from ledger.errors import BadInput
from ledger.event import new_salt
from ledger.events import (
    AnyEvent,
    BuildingAdded,
    CommunityOpened,
    FeederAdded,
    KeyEnrolled,
    MeterAdded,
    MeterAssigned,
    MeterRead,
)
from ledger.keys import SigningKey, b64
from ledger.note import Verifier
from ledger.planner import Item, Plan
from ledger.receipt import HEADS, Answer, StreamHead, sign_receipts
from ledger.registry import Registry, possession_text

COMMUNITY = "campus"
GATEWAY = "gw-1"
METERS = ("m-1", "m-2", "m-3")
STREAMS = tuple(f"meter/{meter}" for meter in METERS)
OWN_STREAM = f"device/{GATEWAY}"
START = datetime(2026, 6, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
RATED_W = 69_000

SERVICE_KEY, OPERATOR_KEY, LOG_KEY, GATEWAY_KEY, OTHER_KEY = (
    SigningKey(bytes([number]) * 32) for number in range(1, 6)
)


def sealer(key: SigningKey = GATEWAY_KEY, device: str = GATEWAY) -> Seal:
    """What an outbox of the gateway seals envelopes with."""
    return partial(seal_envelope, COMMUNITY, device, key)


def read_body(quarter: int, meter: int = 0) -> bytes:
    """The body of a meter's reading at the end of a quarter counted from `START`."""
    return encode(
        MeterRead(
            import_wh=1_000 * meter + 250 * quarter,
            export_wh=0,
            measured_at=START + quarter * QUARTER,
            quality="measured",
            salt=new_salt(),
        )
    )


def tick(quarter: int, streams: Sequence[str] = STREAMS) -> list[Outgoing]:
    """A reading of each of the meters."""
    return [Outgoing(stream, read_body(quarter, meter)) for meter, stream in enumerate(streams)]


def empty_heads(streams: Sequence[str] = (*STREAMS, OWN_STREAM)) -> list[StreamHead]:
    """What the ledger tells of streams without events."""
    return [StreamHead.of(stream, EMPTY) for stream in streams]


def enrolled(device: str, key: SigningKey) -> KeyEnrolled:
    """The enrolment of a gateway."""
    public = key.public.bytes.hex()
    possession = b64(key.sign(possession_text(COMMUNITY, device, public)))
    return KeyEnrolled(device=device, role="gateway", public_key=public, possession=possession)


def opening() -> CommunityOpened:
    """The first event of the book."""
    return CommunityOpened(
        community=COMMUNITY,
        name="Campus",
        zone="Asia/Bangkok",
        interval_minutes=15,
        currency="THB",
        log_key=str(Verifier("ledger.example/campus", SERVICE_KEY.public)),
        service_key=SERVICE_KEY.public.bytes.hex(),
        operator_key=OPERATOR_KEY.public.bytes.hex(),
    )


def facts(device: str = GATEWAY, key: SigningKey = GATEWAY_KEY) -> list[AnyEvent]:
    """What the operator tells the book of the site."""
    events: list[AnyEvent] = [
        FeederAdded(feeder="f-1", name="Feeder"),
        BuildingAdded(building="school", feeder="f-1", name="School"),
        enrolled(device, key),
    ]
    for meter in METERS:
        events += [
            MeterAdded(
                meter=meter,
                role="connection",
                model="sdm630",
                rated_w=RATED_W,
                since=START - QUARTER,
                building="school",
            ),
            MeterAssigned(meter=meter, device=device, since=START - QUARTER),
        ]
    return events


class LedgerDouble:
    """The ledger without its store and its bus. `bodies` are what it recorded, in order of the book."""

    def __init__(self, now: Callable[[], datetime] = lambda: START + timedelta(days=60)) -> None:
        self.registry = Registry(COMMUNITY)
        for event in (opening(), *facts()):
            self.registry.apply(event)
        self.heads: dict[str, Head] = {}
        self.recorded: dict[tuple[str, int], bytes] = {}
        self.bodies: list[Outgoing] = []
        self.answers: list[Answer] = []
        self._parked: list[Item] = []
        self._now = now

    def take(self, envelope: bytes) -> list[Answer]:
        """Judge an envelope, and again those that waited for it; all answers to give."""
        answers = [self._judge(Item(GATEWAY, envelope, self._examine(envelope)))]
        for item in list(self._parked) if answers[0].is_safe else []:
            answer = self._judge(item, parked=True)
            if answer.is_safe:
                answers.append(answer)
        self.answers += answers
        return answers

    def _examine(self, envelope: bytes) -> Examined | BadInput:
        try:
            return examine(envelope, self.registry, self._now(), SERVICE_KEY.public)
        except BadInput as error:
            return error

    def _judge(self, item: Item, *, parked: bool = False) -> Answer:
        plan = Plan(COMMUNITY, self._now(), len(self.bodies), self.registry)
        places = plan.overlapping(item, self.heads)
        plan.take(item, self.heads, {place: self.recorded[place] for place in places})
        self.registry = plan.registry
        self.heads.update(plan.heads)
        for row in plan.events:
            self.recorded[row[2], row[3]] = row[5]
            self.bodies.append(Outgoing(row[2], row[6]))
        (answer,) = plan.answers
        if parked and answer.code != SequenceGap.code:
            self._parked.remove(item)
        elif not parked and answer.code == SequenceGap.code:
            self._parked.append(item)
        return answer

    def tell(self, device: str = GATEWAY) -> Answer:
        """The heads of all streams that `device` may write."""
        return Answer(
            code=HEADS,
            community=COMMUNITY,
            device=device,
            envelope=NO_HASH.hex(),
            heads=[
                StreamHead.of(stream, self.heads.get(stream, EMPTY))
                for stream in self.registry.streams_of(device)
            ],
            recorded_at=self._now(),
        )


def signed(answer: Answer, key: SigningKey = SERVICE_KEY) -> bytes:
    """The receipt with this answer."""
    return sign_receipts(COMMUNITY, [answer], key)[0]
