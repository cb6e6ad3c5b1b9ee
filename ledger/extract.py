"""One meter's part of a community's book, as a file that proves itself and tells nothing about others.

In it are all events of the meter, and of the registry and of the device chains that bear on the meter's keys
only the bodies that concern this meter. Everything else in those chains is withheld: its hash stands in its
place. (Bodies of the registry have no salt: who guesses one rightly can see that the guess is right. Readings
and alarms are salted.) The names of other streams that a shared envelope covered are seen, nothing of what
is in them.
"""

import heapq
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ledger.book_file import (
    FORMAT,
    CheckpointLine,
    Entry,
    EntryLine,
    Header,
    HeaderLine,
    KeyLine,
    Signed,
    SignedLine,
    SignedRun,
    Withheld,
    WithheldLine,
    Wrote,
    new_book,
    unbounded,
)
from ledger.errors import Damaged
from ledger.event import Event
from ledger.events import (
    AnyEvent,
    BuildingAdded,
    CommunityOpened,
    FeederAdded,
    KeyEnrolled,
    KeyRevoked,
    KeyRotated,
    MeterAdded,
    MeterAssigned,
    MeterRetired,
    RegisterEpochOpened,
    read_recorded,
)
from ledger.export import (
    EnvelopeRow,
    EventRow,
    Exported,
    NothingToExport,
    Pages,
    Progress,
    Snapshot,
    Write,
    by_envelope,
    log_key_of,
    no_progress,
    published,
    read_run_headers,
)
from ledger.key_history import KeyHistory
from ledger.keys import b64
from ledger.registry import OPERATOR
from ledger.tree_reader import TreeReader
from ledger.witness_settings import NOBODY, LogSettings

BATCH_EVENTS = 2_000
"""Events whose proofs are fetched together."""


@dataclass(slots=True)
class Concern:
    """Whose events a meter's extract shows."""

    meter: str
    devices: set[str] = field(default_factory=lambda: {OPERATOR})
    buildings: set[str] = field(default_factory=set)
    feeders: set[str] = field(default_factory=set)
    known: bool = False

    @property
    def own(self) -> str:
        """The meter's own stream."""
        return f"meter/{self.meter}"

    @property
    def streams(self) -> list[str]:
        """The streams that the extract shows from their first event on."""
        return [self.own, "registry", *(f"device/{name}" for name in sorted(self.devices))]

    def widen(self, event: AnyEvent) -> None:
        """Learn from an event of the registry what else concerns the meter."""
        match event:
            case MeterAdded(meter=self.meter):
                self.known = True
                if event.building is not None:
                    self.buildings.add(event.building)
            case MeterAssigned(meter=self.meter):
                self.devices.add(event.device)
            case KeyEnrolled(role="operator"):
                self.devices.add(event.device)  # the registry is only as good as the keys that sign it
            case _:
                pass

    def shows(self, event: AnyEvent) -> bool:
        """Whether the body of this event may be in the extract."""
        rule = _SHOWN.get(type(event))
        return rule is not None and rule(self, event)


Rule = Callable[[Concern, Any], bool]


def _of_meter(concern: Concern, event: Any) -> bool:
    return bool(event.meter == concern.meter)


def _of_device(concern: Concern, event: Any) -> bool:
    return event.device in concern.devices


_SHOWN: dict[type[Event], Rule] = {
    CommunityOpened: lambda concern, event: True,
    FeederAdded: lambda concern, event: event.feeder in concern.feeders,
    BuildingAdded: lambda concern, event: event.building in concern.buildings,
    MeterAdded: _of_meter,
    MeterRetired: _of_meter,
    MeterAssigned: _of_meter,
    RegisterEpochOpened: _of_meter,
    KeyEnrolled: _of_device,
    KeyRotated: _of_device,
    KeyRevoked: _of_device,
}
"""Which bodies are shown besides the meter's own readings. What is not listed is withheld."""


async def export_meter(
    snapshot: Snapshot,
    community: str,
    meter: str,
    path: Path | None = None,
    progress: Progress = no_progress,
    *,
    log: LogSettings = NOBODY,
    durable: bool = True,
    wrote: Wrote = unbounded,
) -> Exported:
    """Write the extract of `meter` to `path`, by default `<community>-<meter>-<size>.jsonl` in this folder;
    `log`, `durable` and `wrote` as `export_community` has them.

    Raises `NothingToExport`, `NoBookFile`, `StoreUnavailable`, and `Damaged` when the store contradicts
    itself; then no file appears.
    """
    size, checkpoint = await published(snapshot, community, log)
    concern = await _concern(snapshot, community, meter, size)
    path = path or Path(f"{community}-{meter}-{size}.jsonl")
    events = await snapshot.count(community, size, concern.streams)
    header = Header(
        community=community,
        format=FORMAT,
        log_key=await log_key_of(snapshot, community),
        scope="meter",
        size=size,
        events=events,
        meter=meter,
    )
    with new_book(path, durable=durable, wrote=wrote) as write:
        write(HeaderLine(header))
        await _write_keys(snapshot, community, size, concern, write)
        await _Extract(snapshot, header, concern).write_log(write, progress)
        write(CheckpointLine(checkpoint))
    return Exported(path, size, events)


async def _concern(snapshot: Snapshot, community: str, meter: str, size: int) -> Concern:
    concern = Concern(meter)
    concern.devices.update(await snapshot.signers(community, size, concern.own))
    async for _, event in _registry(snapshot, community, size):
        concern.widen(event)
    if not concern.known:
        raise NothingToExport("there is no such meter", where=meter)
    async for _, event in _registry(snapshot, community, size):
        if isinstance(event, BuildingAdded) and event.building in concern.buildings:
            concern.feeders.add(event.feeder)
    return concern


async def _registry(
    snapshot: Snapshot, community: str, size: int
) -> AsyncIterator[tuple[EventRow, AnyEvent]]:
    async for page in snapshot.registry(community, size):
        for pair in zip(page, read_recorded([row.body for row in page]), strict=True):
            yield pair


async def _write_keys(snapshot: Snapshot, community: str, size: int, concern: Concern, write: Write) -> None:
    history = KeyHistory()
    async for row, event in _registry(snapshot, community, size):
        if concern.shows(event):
            history.take(row.position, event)
    for key in history.keys:
        write(KeyLine(key))


class _Extract:
    """Writes envelopes without bodies and the entries they brought, some thousand at a time."""

    def __init__(self, snapshot: Snapshot, header: Header, concern: Concern) -> None:
        community, size = header.community, header.size
        self._snapshot = snapshot
        self._community = community
        self._concern = concern
        self._events = header.events or 0
        self._tree = TreeReader(snapshot, community, size)
        self._pages = _merged([snapshot.stream(community, size, stream) for stream in concern.streams])

    async def write_log(self, write: Write, progress: Progress) -> None:
        """Write all groups. Raises `Damaged` when the store gives fewer events than it counts."""
        batch: list[list[EventRow]] = []
        waiting = done = 0
        async for rows in by_envelope(self._pages):
            batch.append(rows)
            waiting += len(rows)
            if waiting >= BATCH_EVENTS:
                await self._write(batch, write)
                done += waiting
                batch, waiting = [], 0
                progress(done, self._events)
        await self._write(batch, write)
        if done + waiting != self._events:
            raise Damaged(f"the store gave {done + waiting} of {self._events} events", where=self._community)

    async def _write(self, batch: list[list[EventRow]], write: Write) -> None:
        positions = [rows[0].envelope for rows in batch]
        envelopes = await self._snapshot.envelopes_at(self._community, positions)
        headers = {envelope.position: read_run_headers(envelope.runs) for envelope in envelopes}
        places = {(run.stream, run.last) for runs in headers.values() for run in runs}
        heads = await self._snapshot.recorded(self._community, sorted(places))
        await self._tree.load([row.position for rows in batch for row in rows])
        by_position = {envelope.position: envelope for envelope in envelopes}
        for rows in batch:
            envelope = by_position.get(rows[0].envelope)
            if envelope is None:
                raise Damaged("an event has no envelope", where=f"{self._community}, {rows[0].position}")
            runs = [
                SignedRun(
                    first=run.first, head=heads[run.stream, run.last].hex(), last=run.last, stream=run.stream
                )
                for run in headers[envelope.position]
            ]
            write(SignedLine(self._signed(envelope, runs)))
            for row, event in zip(rows, read_recorded([row.body for row in rows]), strict=True):
                write(self._entry(row, event))

    def _signed(self, envelope: EnvelopeRow, runs: list[SignedRun]) -> Signed:
        return Signed(
            community=self._community,
            device=envelope.device,
            key=envelope.key,
            runs=runs,
            signature=b64(envelope.signature),
        )

    def _entry(self, row: EventRow, event: AnyEvent) -> EntryLine | WithheldLine:
        proof = [node.hex() for node in self._tree.proof(row.position)]
        if row.stream == self._concern.own or self._concern.shows(event):
            entry = Entry(
                body=msgspec.Raw(row.body),
                hash=row.entry_hash.hex(),
                position=row.position,
                proof=proof,
                sequence=row.sequence,
                stream=row.stream,
            )
            return EntryLine(entry)
        withheld = Withheld(
            body_hash=row.body_hash.hex(),
            hash=row.entry_hash.hex(),
            position=row.position,
            proof=proof,
            sequence=row.sequence,
            stream=row.stream,
        )
        return WithheldLine(withheld)


async def _merged(streams: Sequence[Pages]) -> Pages:
    """Streams, each in its own order, as one in order of the log; a row a page."""
    rows = [_rows(pages) for pages in streams]
    heap = [(row.position, number, row) for number, one in enumerate(rows) if (row := await anext(one, None))]
    heapq.heapify(heap)
    while heap:
        _, number, row = heap[0]
        yield [row]
        following = await anext(rows[number], None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following.position, number, following))


async def _rows(pages: Pages) -> AsyncIterator[EventRow]:
    async for page in pages:
        for row in page:
            yield row
