"""A ledger in memory that keeps the very rows of the store, so that a book can be exported without one."""

import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ledger.admission import Examined, examine, overlaps
from ledger.batch import Batch
from ledger.block import NO_BLOCK, block_hash
from ledger.canonical import encode
from ledger.entry import EMPTY, Head
from ledger.envelope import NewRun, seal_envelope
from ledger.events import AnyEvent, BlockSealed, KeyRevoked, MeterAssigned
from ledger.export import EnvelopeRow, EventRow, Published, export_community
from ledger.extract import export_meter
from ledger.keys import SigningKey
from ledger.log_edge import LogEdge
from ledger.merkle import Frontier
from ledger.planner import Item, Plan
from ledger.receipt import RECORDED
from ledger.registry import OPERATOR, SERVICE, Registry
from ledger.witness_settings import LogSettings
from tests.unit.ledger.campus import (
    ALARM,
    COMMUNITY,
    DEVICES,
    KEYS,
    LOG_KEY,
    MORNING,
    NOW,
    SERVICE_KEY,
    facts,
    key,
    opening,
    readings,
    rotated,
)

ORIGIN = "ledger.example/campus"
PAGE = 3
NEXT_KEY = key(20)
REVOKED = [KeyRevoked(device="gw-2", key=DEVICES["gw-2"][1].public.id, reason="stolen")]
ASSIGNED = MeterAssigned(meter="m-2", device="gw-1", since=MORNING + timedelta(hours=4))


class MemoryLedger:
    """Takes envelopes as the writer does, batch by batch."""

    def __init__(self) -> None:
        self.registry = Registry(COMMUNITY)
        self.edge = LogEdge(Frontier(), [])
        self.heads: dict[str, Head] = {}
        self.batches: list[Batch] = []
        self.event_rows: list[EventRow] = []
        self.envelope_rows: list[EnvelopeRow] = []

    # --- taking --------------------------------------------------------------------------------

    def sealed(
        self,
        device: str,
        runs: Mapping[str, Sequence[AnyEvent]],
        signer: SigningKey | None = None,
        heads: Mapping[str, Head] | None = None,
    ) -> bytes:
        """An envelope that continues this ledger, or other heads."""
        after = self.heads if heads is None else heads
        written = [
            NewRun(stream, after.get(stream, EMPTY), [encode(event) for event in events])
            for stream, events in runs.items()
        ]
        return seal_envelope(COMMUNITY, device, signer or KEYS[device], written)[0]

    def take(self, envelope: bytes, now: datetime = NOW, judged_by: Registry | None = None) -> None:
        """Record an envelope; an assertion fails if the ledger refuses it.

        With another registry to judge by, this is a ledger that does not keep its own rules.
        """
        outcome = examine(envelope, judged_by or self.registry, now, SERVICE_KEY.public)
        self._record(envelope, outcome, self.heads, self._overlapping(outcome), now)

    def force(self, envelope: bytes, now: datetime = NOW) -> None:
        """Record an envelope though it repeats events otherwise than this ledger has them."""
        outcome = examine(envelope, self.registry, now, SERVICE_KEY.public)
        heads, recorded = dict(self.heads), {}
        for run in outcome.runs:
            head = heads.get(run.stream, EMPTY)
            if overlaps(run, head):
                recorded[run.stream, run.last] = run.links[-1].entry_hash
            elif run.first <= head.sequence:
                heads[run.stream] = Head(head.sequence, run.links[head.sequence - run.first].entry_hash)
        self._record(envelope, outcome, heads, recorded, now)

    def _record(
        self,
        envelope: bytes,
        outcome: Examined,
        heads: Mapping[str, Head],
        recorded: Mapping[tuple[str, int], bytes],
        now: datetime,
    ) -> None:
        plan = Plan(COMMUNITY, now, self.edge.size, self.registry)
        plan.take(Item(outcome.envelope.device, envelope, outcome), heads, recorded)
        assert plan.answers[0].code == RECORDED, plan.answers
        batch = plan.batch(self.edge, ORIGIN, LOG_KEY)
        self.registry = plan.registry
        self.heads.update(plan.heads)
        self.batches.append(batch)
        self.event_rows += [EventRow(*row[1:]) for row in batch.events]
        self.envelope_rows += [EnvelopeRow(*row[1:6]) for row in batch.envelopes]

    def _overlapping(self, outcome: Examined) -> dict[tuple[str, int], bytes]:
        recorded = {(row.stream, row.sequence): row.entry_hash for row in self.event_rows}
        return {
            (run.stream, run.last): recorded[run.stream, run.last]
            for run in outcome.runs
            if overlaps(run, self.heads.get(run.stream, EMPTY))
        }

    def send(
        self, device: str, runs: Mapping[str, Sequence[AnyEvent]], signer: SigningKey | None = None
    ) -> None:
        """Seal and take."""
        self.take(self.sealed(device, runs, signer))

    def seal(self) -> None:
        """Seal all entries so far into a block."""
        last = self.registry.last_block
        sealed = BlockSealed(
            number=last.number + 1 if last else 1,
            previous=block_hash(COMMUNITY, last) if last else NO_BLOCK,
            root=self.edge.root().hex(),
            sealed_at=NOW,
            size=self.edge.size,
        )
        self.send(SERVICE, {f"device/{SERVICE}": [sealed]})


class MemorySnapshot:
    """A memory ledger as the store's snapshot shows it, in small pages."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self._rows = ledger.event_rows
        self._tiles = {(row[1], row[2]): row for batch in ledger.batches for row in batch.tiles}

    async def published(self, community: str, settings: LogSettings) -> Published | None:
        batches = self._ledger.batches
        if not batches or community != COMMUNITY:
            return None
        return Published(batches[-1].after.size, batches[-1].after.checkpoint)

    def events(self, community: str, size: int) -> AsyncIterator[list[EventRow]]:
        return _pages(self._rows[:size])

    def registry(self, community: str, size: int) -> AsyncIterator[list[EventRow]]:
        return _pages([row for row in self._rows[:size] if row.stream.startswith(("registry", "device/"))])

    def stream(self, community: str, size: int, stream: str) -> AsyncIterator[list[EventRow]]:
        return _pages([row for row in self._rows[:size] if row.stream == stream])

    async def envelopes(self, community: str, size: int) -> AsyncIterator[list[EnvelopeRow]]:
        for row in self._ledger.envelope_rows:
            yield [row]

    async def envelopes_at(self, community: str, positions: Sequence[int]) -> list[EnvelopeRow]:
        return [row for row in self._ledger.envelope_rows if row.position in positions]

    async def bodies(self, community: str, stream: str, first: int, last: int) -> list[bytes]:
        rows = [row for row in self._rows if row.stream == stream]
        return [row.body for row in rows if first <= row.sequence <= last]

    async def count(self, community: str, size: int, streams: Sequence[str]) -> int:
        return sum(row.stream in streams for row in self._rows[:size])

    async def signers(self, community: str, size: int, stream: str) -> list[str]:
        signed = {row.envelope for row in self._rows if row.stream == stream}
        return sorted({row.device for row in self._ledger.envelope_rows if row.position in signed})

    async def recorded(
        self, community: str, places: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], bytes]:
        every = {(row.stream, row.sequence): row.entry_hash for row in self._rows}
        return {place: every[place] for place in places}

    async def full_tiles(
        self, community: str, places: Sequence[tuple[int, int]]
    ) -> Mapping[tuple[int, int], bytes]:
        return {place: self._tiles[place][3] for place in places}

    async def leaves(self, community: str, begin: int, end: int) -> list[bytes]:
        return [row.entry_hash for row in self._rows[begin:end]]

    async def tile_roots(self, community: str, level: int, begin: int, end: int) -> list[bytes]:
        return [self._tiles[level, index][4] for index in range(begin, end)]


async def _pages(rows: Sequence[EventRow]) -> AsyncIterator[list[EventRow]]:
    for begin in range(0, len(rows), PAGE):
        yield list(rows[begin : begin + PAGE])


def write_book(ledger: MemoryLedger, path: Path) -> Path:
    """Export the whole ledger."""
    _drive(export_community(MemorySnapshot(ledger), COMMUNITY, path))
    return path


def write_extract(ledger: MemoryLedger, meter: str, path: Path) -> Path:
    """Export one meter."""
    _drive(export_meter(MemorySnapshot(ledger), COMMUNITY, meter, path))
    return path


def _drive(export: Coroutine[Any, Any, Any]) -> None:
    """Run an export that has nothing to wait for, also where a loop is running already."""
    with contextlib.suppress(StopIteration):
        export.send(None)
        raise AssertionError("a memory snapshot answers at once")


def open_ledger() -> MemoryLedger:
    """A ledger that is open and knows the campus."""
    ledger = MemoryLedger()
    ledger.send(SERVICE, {"registry": [opening()]})
    ledger.send(OPERATOR, {"registry": facts()})
    return ledger


def busy_ledger() -> MemoryLedger:
    """A morning in which everything happens that a book can hold: several runs in an envelope, runs that
    repeat what was sent before, blocks, a rotation, a revocation and a change of readers."""
    ledger = open_ledger()
    ledger.send("gw-1", {"meter/m-1": readings(1, 9)})
    ledger.send("gw-2", {"meter/m-2": readings(1, 5)})
    ledger.seal()
    ledger.send("m-9", {"meter/m-9": readings(1, 3)})
    ledger.send("gw-1", {"device/gw-1": [ALARM], "meter/m-1": readings(9, 11)})
    before = dict(ledger.heads)
    ledger.send("gw-1", {"meter/m-1": readings(11, 13)})
    ledger.send("gw-1", {"device/gw-1": [rotated("gw-1", NEXT_KEY)]})
    # Repeats two readings at the head and brings two more; then repeats one behind the head beside a new one.
    ledger.take(ledger.sealed("gw-1", {"meter/m-1": readings(11, 15)}, NEXT_KEY, before))
    again = before | {"device/gw-1": ledger.heads["device/gw-1"]}
    ledger.take(
        ledger.sealed("gw-1", {"device/gw-1": [ALARM], "meter/m-1": readings(11, 12)}, NEXT_KEY, again)
    )
    ledger.seal()
    ledger.send(OPERATOR, {"registry": [*REVOKED, ASSIGNED]})
    ledger.send("gw-1", {"meter/m-1": readings(15, 17), "meter/m-2": readings(20, 22)}, NEXT_KEY)
    return ledger
