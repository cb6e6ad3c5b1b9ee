"""A community of any name: its keys, its facts, and envelopes that continue its chains."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from ledger.book import Book
from ledger.canonical import encode
from ledger.clock import Clock, VirtualClock
from ledger.entry import EMPTY, Head
from ledger.envelope import NewRun, seal_envelope
from ledger.event import Event
from ledger.events import BuildingAdded, CommunityOpened, FeederAdded, MeterAdded, MeterAssigned, MeterRead
from ledger.keys import SigningKey
from ledger.note import Verifier
from ledger.opening import enrolment
from ledger.postgres import PostgresSettings
from ledger.registry import OPERATOR, SERVICE
from ledger.writer import Writer, WriterSettings

MORNING = datetime(2026, 6, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
GATEWAY = "gw-1"
SALT = "AAAAAAAAAAAAAAAA"


def key(name: str) -> SigningKey:
    """A key that everybody can have."""
    return SigningKey(sha256(name.encode()).digest())


def reading(quarter: int, import_wh: int, export_wh: int = 0, serial: str | None = None) -> MeterRead:
    """A meter's registers so many quarters after the first morning."""
    return MeterRead(
        import_wh=import_wh,
        export_wh=export_wh,
        measured_at=MORNING + quarter * QUARTER,
        quality="measured",
        salt=SALT,
        serial=serial,
    )


def readings(begin: int, end: int) -> list[Event]:
    """The readings of a meter that takes 250 Wh a quarter."""
    return [reading(quarter, 1_000_000 + 250 * quarter) for quarter in range(begin, end)]


class Campus:
    """Keys and chains of one community: one gateway reads the meters m-0, m-1, .. of one building."""

    def __init__(
        self,
        community: str,
        *,
        meters: int = 1,
        rated_w: int = 69_000,
        zone: str = "Asia/Bangkok",
        minutes: int = 15,
    ) -> None:
        self.community = community
        self.meters = meters
        self.rated_w = rated_w
        self.zone = zone
        self.minutes = minutes
        self.log_key = key("log")
        self.keys = {name: key(name) for name in (SERVICE, OPERATOR, GATEWAY)}
        self.heads: dict[str, Head] = {}
        self._writers: list[Writer] = []

    @property
    def verifier(self) -> Verifier:
        """Who signs the checkpoints."""
        return Verifier(f"ledger.example/{self.community}", self.log_key.public)

    def opening(self) -> CommunityOpened:
        """The first event of the book."""
        return CommunityOpened(
            community=self.community,
            name="Campus",
            zone=self.zone,
            interval_minutes=self.minutes,  # type: ignore[arg-type]  # a test may ask for any of them
            currency="THB",
            log_key=str(self.verifier),
            service_key=self.keys[SERVICE].public.bytes.hex(),
            operator_key=self.keys[OPERATOR].public.bytes.hex(),
        )

    def facts(self) -> list[Event]:
        """What the operator tells the book on its first day."""
        since = MORNING - timedelta(days=30)
        events: list[Event] = [
            FeederAdded(feeder="f-1", name="Feeder 1"),
            BuildingAdded(building="b-1", feeder="f-1", name="Science"),
            enrolment(self.community, GATEWAY, "gateway", self.keys[GATEWAY]),
        ]
        for meter in (f"m-{number}" for number in range(self.meters)):
            events.append(
                MeterAdded(
                    meter=meter,
                    role="connection",
                    model="sdm630",
                    rated_w=self.rated_w,
                    since=since,
                    building="b-1",
                )
            )
            events.append(MeterAssigned(meter=meter, device=GATEWAY, since=since))
        return events

    def envelope(
        self,
        device: str,
        runs: Mapping[str, Sequence[Event]],
        *,
        signer: SigningKey | None = None,
        after: Mapping[str, Head] | None = None,
    ) -> bytes:
        """An envelope of `device` that continues this campus's chains, or goes on `after` other heads."""
        heads = self.heads if after is None else after
        written = [
            NewRun(stream, heads.get(stream, EMPTY), [encode(event) for event in events])
            for stream, events in runs.items()
        ]
        data, moved = seal_envelope(self.community, device, signer or self.keys[device], written)
        if after is None:
            self.heads.update(moved)
        return data

    def read(self, begin: int, end: int, meter: int = 0) -> bytes:
        """An envelope of the gateway with a meter's readings of some quarters."""
        return self.envelope(GATEWAY, {f"meter/m-{meter}": readings(begin, end)})

    def writer(
        self, postgres: PostgresSettings, clock: Clock | None = None, settings: WriterSettings | None = None
    ) -> Writer:
        """A writer of this community, not opened yet. It works ten days after the first morning."""
        clock = clock or VirtualClock(MORNING + timedelta(days=10))
        book = Book(self.community, postgres, self.keys[SERVICE], self.log_key, clock)
        writer = Writer(book, clock, settings or WriterSettings(wait_seconds=0.05))
        self._writers.append(writer)
        return writer

    async def close(self) -> None:
        """Close all writers that were made."""
        for writer in self._writers:
            await writer.book.close()

    async def opened(
        self, postgres: PostgresSettings, clock: Clock | None = None, settings: WriterSettings | None = None
    ) -> Writer:
        """A writer whose book is open and knows the campus."""
        writer = self.writer(postgres, clock, settings)
        await writer.book.open()
        await self.open_book(writer)
        return writer

    async def open_book(self, writer: Writer) -> None:
        """Open the book through `writer`, and have the operator tell the facts."""
        await writer.book.open_community(self.opening())
        self.envelope(SERVICE, {"registry": [self.opening()]})  # as the writer did: the chain goes on from it
        await record(writer, OPERATOR, self.envelope(OPERATOR, {"registry": self.facts()}))


async def record(writer: Writer, device: str, *envelopes: bytes) -> list[str]:
    """Have `writer` take envelopes as one batch; the codes of its answers."""
    answers = await writer.book.record([writer.book.examine(device, data) for data in envelopes])
    return [answer.code for answer in answers]
