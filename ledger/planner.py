"""What a batch of envelopes does to a book: pure, given the state that the writer remembers.

The plan is made against in-memory state; the store's fence then says whether that state was the newest. If it
was not, the plan is thrown away and the state read again, so nothing decided here can be wrong in the book.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

import msgspec

from ledger.admission import Examined, ExaminedRun, InStream, Placement, overlaps, place
from ledger.batch import Batch, EnvelopeRow, EventRow, Fence, QuarantineRow, TileRow
from ledger.canonical import encode
from ledger.entry import EMPTY, Head
from ledger.errors import BadInput, Contradiction
from ledger.keys import SigningKey, unb64
from ledger.log_edge import LogEdge
from ledger.note import Checkpoint
from ledger.receipt import DUPLICATE, RECORDED, Answer, Refusal, StreamHead
from ledger.registry import Registry

WHAT_MAX = 500
"""Characters that are told of a refusal."""


class RunHeader(msgspec.Struct, frozen=True):
    """What the store keeps of a run: with the bodies, the envelope can be written out again."""

    first: int
    last: int
    previous: str
    stream: str


@dataclass(slots=True)
class Item:
    """One envelope on its way: what came in, and what the examination said of it."""

    device: str
    data: bytes
    outcome: Examined | BadInput


@dataclass(slots=True)
class Plan:
    """Rows to write, answers to give, and the state as it will be when the rows are written."""

    community: str
    now: datetime
    size: int
    registry: Registry
    events: list[EventRow] = field(default_factory=list)
    envelopes: list[EnvelopeRow] = field(default_factory=list)
    quarantine: list[QuarantineRow] = field(default_factory=list)
    heads: dict[str, Head] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    parked: set[str] = field(default_factory=set)

    def overlapping(self, item: Item, heads: Mapping[str, Head]) -> list[tuple[str, int]]:
        """The places whose recorded hash must be known before `take` can judge the envelope."""
        if not isinstance(item.outcome, Examined):
            return []
        return [
            (run.stream, run.last)
            for run in item.outcome.runs
            if overlaps(run, self._head(run.stream, heads))
        ]

    def touches(self, places: list[tuple[str, int]]) -> bool:
        """Whether this plan already appends to one of the streams of these places."""
        return any(stream in self.heads for stream, _ in places)

    def _head(self, stream: str, heads: Mapping[str, Head]) -> Head:
        return self.heads.get(stream) or heads.get(stream, EMPTY)

    def take(
        self,
        item: Item,
        heads: Mapping[str, Head],
        recorded: Mapping[tuple[str, int], bytes],
    ) -> None:
        """Decide about one envelope: append its events, call it a duplicate, or refuse it."""
        outcome = item.outcome
        if isinstance(outcome, BadInput):
            self._refuse(item, outcome, [])
            return
        known = {run.stream: self._head(run.stream, heads) for run in outcome.runs}
        try:
            placement = place(outcome, known, recorded)
            registry = self._changed_registry(placement)
        except BadInput as error:
            # Heads are for whoever may write there.
            self._refuse(item, error, [] if error is outcome.refused else _told(known))
            return
        self.registry = registry
        if placement.appended:
            self._append(placement)
        after = {run.stream: self._head(run.stream, known) for run in outcome.runs}
        self._answer(item, RECORDED if placement.appended else DUPLICATE, _told(after), None)

    def _changed_registry(self, placement: Placement) -> Registry:
        """The registry after what is new in this envelope. Raises `Contradiction`, naming the event."""
        if not placement.examined.changes_registry or not placement.appended:
            return self.registry
        registry = self.registry.copy()
        for run, known in zip(placement.examined.runs, placement.known, strict=True):
            for index in range(known, len(run.events)):
                try:
                    registry.apply(run.events[index])
                except Contradiction as error:
                    raise InStream(error, run.stream, run.first + index) from error
        return registry

    def _append(self, placement: Placement) -> None:
        envelope = placement.examined.envelope
        first = self.size
        headers = []
        for run, known in zip(placement.examined.runs, placement.known, strict=True):
            self._append_run(run, known, first)
            headers.append(RunHeader(run.first, run.last, run.previous.hex(), run.stream))
        self.envelopes.append(
            (
                self.community,
                first,
                envelope.device,
                envelope.key,
                unb64(envelope.signature),
                encode(headers),
                self.now,
            )
        )

    def _append_run(self, run: ExaminedRun, known: int, envelope: int) -> None:
        if known == len(run.bodies):
            return
        community, stream = self.community, run.stream
        position, sequence = self.size, run.first + known
        for body, link in zip(run.bodies[known:], run.links[known:], strict=True):
            self.events.append(
                (community, position, stream, sequence, link.body_hash, link.entry_hash, body, envelope)
            )
            position += 1
            sequence += 1
        self.size = position
        self.heads[stream] = Head(run.last, run.links[-1].entry_hash)

    def _refuse(self, item: Item, error: BadInput, heads: list[StreamHead]) -> None:
        told, digest = refusal(error), sha256(item.data).digest()
        place = (told.stream, told.sequence, told.what)
        self.quarantine.append((self.community, digest, error.code, item.device, *place, item.data, self.now))
        if error.code == "sequence-gap" and told.stream:
            self.parked.add(told.stream)
        self._answer(item, error.code, heads, told)

    def _answer(self, item: Item, code: str, heads: list[StreamHead], refusal: Refusal | None) -> None:
        self.answers.append(
            Answer(
                code=code,
                community=self.community,
                device=item.device,
                envelope=sha256(item.data).hexdigest(),
                heads=heads,
                recorded_at=self.now,
                refusal=refusal,
            )
        )

    def batch(self, edge: LogEdge, origin: str, log_key: SigningKey) -> Batch:
        """The rows as one transaction, with the log grown by them. Changes `edge`."""
        before = edge.size
        tiles: list[TileRow] = [
            (self.community, tile.level, tile.index, tile.hashes, tile.root)
            for tile in edge.append([row[5] for row in self.events])
        ]
        root = edge.root()
        checkpoint = Checkpoint(origin, edge.size, root).sign(log_key) if self.events else ""
        return Batch(
            community=self.community,
            before=before,
            after=Fence(edge.size, edge.peaks(), root, checkpoint),
            now=self.now,
            events=self.events,
            envelopes=self.envelopes,
            tiles=tiles,
            heads=self.heads,
            quarantine=self.quarantine,
        )


def refusal(error: BadInput) -> Refusal:
    """What a receipt says of an error."""
    stream = error.stream if isinstance(error, InStream) else None
    sequence = error.sequence if isinstance(error, InStream) else None
    what = f"{error.what} ({error.where})" if error.where and stream is None else error.what
    what = what[:WHAT_MAX]  # an error may quote a whole message
    return Refusal(what=what, hint=error.hint, sequence=sequence, stream=stream)


def _told(heads: Mapping[str, Head]) -> list[StreamHead]:
    return [StreamHead.of(stream, head) for stream, head in heads.items()]
