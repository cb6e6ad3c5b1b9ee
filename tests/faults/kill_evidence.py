"""What must be true of a book after anything was killed: the gateways' witnesses held against it."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from ingest.outbox import Outbox
from ledger.events import AlarmRaised, MeterRead, read_recorded
from ledger.keys import PublicKey
from ledger.note import Verifier
from ledger.settings import Settings
from tests.faults.kill_gateway import Plan, Rising
from tests.support.store import Book, check_book, owner

Body = tuple[str, str]
"""Stream and hash of a body."""


@dataclass
class Account:
    """What one gateway's witness saw. `kept` in the order in which the outbox took it; `failed` is what it
    never took, `uncertain` what it was asked to keep when the gateway was killed."""

    kept: list[Body] = field(default_factory=list)
    failed: set[Body] = field(default_factory=set)
    uncertain: set[Body] = field(default_factory=set)
    generations: int = 0
    polls: int = 0

    @classmethod
    def read(cls, path: Path) -> "Account":
        """The witness's file; a last line that a kill tore off counts as not written."""
        seen = cls()
        begun: set[Body] = set()
        for line in path.read_text().rpartition("\n")[0].splitlines():
            match line.split():
                case "begin", *_:
                    seen.generations += 1
                    seen.uncertain |= begun
                    begun = set()
                case "poll", *_:
                    seen.polls += 1
                case "intent", stream, digest:
                    begun.add((stream, digest))
                case "kept", stream, digest:
                    begun.remove((stream, digest))
                    seen.kept.append((stream, digest))
                case "failed", stream, digest:
                    begun.remove((stream, digest))
                    seen.failed.add((stream, digest))
        seen.uncertain = (seen.uncertain | begun).difference(seen.kept)
        seen.failed.difference_update(seen.kept)
        return seen

    def told(self) -> str:
        """The account in a line."""
        kept, uncertain = len(self.kept), len(self.uncertain)
        return f"{self.generations} lives, {self.polls} polls, {kept} kept, {uncertain} uncertain"


@dataclass
class Evidence:
    """The store's rows and the witnesses of one site, which is at rest."""

    book: Book
    plans: list[Plan]
    verifier: Verifier
    signers: list[PublicKey]
    settings: Settings

    def check(self) -> None:
        """Everything that was kept is in the book exactly once, in its order, with what the meters showed."""
        check_book(self.book, self.verifier, self.signers)
        self.check_witnesses()
        self.check_readings()

    def accounts(self) -> dict[str, Account]:
        """What each gateway's witness saw."""
        return {plan.witness: Account.read(Path(plan.witness)) for plan in self.plans}

    def recorded(self) -> list[Body]:
        """All bodies of gateways' and meters' streams, in the order of the book."""
        ours = {f"device/{plan.gateway}" for plan in self.plans}
        return [
            (row["stream"], row["body_hash"].hex())
            for row in self.book.events
            if row["stream"] in ours or row["stream"].startswith("meter/")
        ]

    def refused(self) -> list[Body]:
        """What the outboxes have laid aside because the ledger refused it for good."""
        found: list[Body] = []
        for plan in self.plans:
            outbox = Outbox.open(Path(plan.outbox), reserve_bytes=0)
            assert outbox.standing().waiting == 0
            found += [(one.stream, sha256(one.body).hexdigest()) for one in outbox.refusals()]
            outbox.close()
        return found

    def check_witnesses(self) -> None:
        """Kept is recorded or laid aside, exactly once; recorded is kept, but for kills in between."""
        recorded, refused = self.recorded(), self.refused()
        twice = [body for body, times in Counter(recorded + refused).items() if times > 1]
        assert not twice, twice
        there = set(recorded) | set(refused)
        known: set[Body] = set()
        for seen in self.accounts().values():
            lost = [body for body in seen.kept if body not in there]
            assert not lost, f"{len(lost)} of {len(seen.kept)} lost: {lost[:5]}"
            known.update(seen.kept, seen.uncertain)
            kept = set(seen.kept)
            in_book = [body for body in recorded if body in kept]
            in_order = [body for body in seen.kept if body not in refused]
            assert by_stream(in_book) == by_stream(in_order), "a stream is in another order than it was kept"
        invented = there - known
        assert not invented, invented

    def check_readings(self) -> None:
        """Every reading says what its meter showed at that instant: no answer was taken for another."""
        for stream, event in self.events():
            if isinstance(event, MeterRead):
                shown = Rising(stream.removeprefix("meter/")).registers_at(event.measured_at)
                assert (event.import_wh, event.export_wh, event.power_w) == shown, (stream, event)

    def events(self) -> list[tuple[str, Any]]:
        """Stream and event, in the order of the book."""
        events = read_recorded([row["body"] for row in self.book.events])
        return [(row["stream"], event) for row, event in zip(self.book.events, events, strict=True)]

    def alarms(self) -> Counter[str]:
        """How often each alarm was raised."""
        return Counter(event.alarm for _, event in self.events() if isinstance(event, AlarmRaised))

    def codes(self) -> Counter[str]:
        """How many messages stand in quarantine under each code."""
        return Counter(row["code"] for row in self.book.quarantine)

    async def check_energy(self) -> None:
        """Per meter, the energy of all intervals is exactly what the registers moved by."""
        instants: dict[str, list[datetime]] = defaultdict(list)
        for stream, event in self.events():
            if isinstance(event, MeterRead):
                instants[stream.removeprefix("meter/")].append(event.measured_at)
        moved = {}
        for meter, at in instants.items():
            first, last = (Rising(meter).registers_at(instant) for instant in (min(at), max(at)))
            moved[meter] = (last.import_wh - first.import_wh, last.export_wh - first.export_wh)
        async with owner(self.settings.postgres) as connection:
            rows = await connection.fetch(
                "SELECT meter, sum(import_wh)::bigint, sum(export_wh)::bigint"
                " FROM projection.meter_intervals GROUP BY meter"
            )
        assert {row[0]: (row[1], row[2]) for row in rows} == moved


def by_stream(bodies: list[Body]) -> dict[str, list[str]]:
    """The hashes of each stream, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for stream, digest in bodies:
        found[stream].append(digest)
    return found
