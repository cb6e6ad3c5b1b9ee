"""Export: a community's book as a file that proves itself (`ledger.book_file`).

What is written is exactly what the store holds at one instant, up to the checkpoint that is published then,
which is written with the cosignatures under it. Nothing here grows with the book: rows come in pages, lines
go out one by one. `ledger.extract` does the same for a meter.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from ledger.book_file import (
    FORMAT,
    BlockLine,
    CheckpointLine,
    EnvelopeLine,
    Header,
    HeaderLine,
    KeyLine,
    Wrote,
    block_line,
    new_book,
    unbounded,
)
from ledger.envelope import Envelope, Run
from ledger.errors import BadInput, Damaged
from ledger.events import BlockSealed, CommunityOpened, read_recorded
from ledger.key_history import KeyHistory
from ledger.keys import b64
from ledger.planner import RunHeader
from ledger.tree_reader import TileSource
from ledger.witness_settings import NOBODY, LogSettings

Write = Callable[[Any], None]
Progress = Callable[[int, int], None]
"""Told now and then how many events are done, and of how many."""

read_run_headers = msgspec.json.Decoder(list[RunHeader]).decode


class NothingToExport(BadInput):
    """There is no such book or meter, or it has no events."""

    code = "nothing-to-export"


class EventRow(NamedTuple):
    """An event as the store keeps it; `envelope` is the position of its envelope."""

    position: int
    stream: str
    sequence: int
    body_hash: bytes
    entry_hash: bytes
    body: bytes
    envelope: int


class EnvelopeRow(NamedTuple):
    """An envelope as the store keeps it: without bodies; `runs` is canonical JSON of run headers."""

    position: int
    device: str
    key: str
    signature: bytes
    runs: bytes


class Published(NamedTuple):
    """A checkpoint that others are given, with the cosignatures of witnesses under it, and its size."""

    size: int
    checkpoint: str


Pages = AsyncIterator[list[EventRow]]


class Snapshot(TileSource, Protocol):
    """The store at one instant; `size` says how much of a community's log is meant."""

    async def published(self, community: str, settings: LogSettings) -> Published | None:
        """The checkpoint that others are given; None where there is no such book, or none has a quorum."""

    def events(self, community: str, size: int) -> Pages:
        """All events in order of the log."""

    def registry(self, community: str, size: int) -> Pages:
        """The events of the registry and of all devices in order of the log."""

    def stream(self, community: str, size: int, stream: str) -> Pages:
        """One stream in its order."""

    def envelopes(self, community: str, size: int) -> AsyncIterator[list[EnvelopeRow]]:
        """All envelopes in order of the log."""

    async def envelopes_at(self, community: str, positions: Sequence[int]) -> list[EnvelopeRow]:
        """The envelopes at these positions, in any order."""

    async def bodies(self, community: str, stream: str, first: int, last: int) -> list[bytes]:
        """The bodies of the events `first` to `last` of a stream."""

    async def count(self, community: str, size: int, streams: Sequence[str]) -> int:
        """How many events these streams have together."""

    async def signers(self, community: str, size: int, stream: str) -> list[str]:
        """The devices that signed events of a stream."""

    async def recorded(
        self, community: str, places: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], bytes]:
        """The entry hashes at (stream, sequence)."""


class Exported(NamedTuple):
    """What was written: the file, the size of its log and how many events of it are inside."""

    path: Path
    size: int
    events: int


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


async def published(snapshot: Snapshot, community: str, log: LogSettings) -> Published:
    """The checkpoint that the export is of. Raises `NothingToExport`."""
    found = await snapshot.published(community, log)
    if found is not None and found.size:
        return found
    if log.quorum:
        raise NothingToExport(
            f"no checkpoint was cosigned by {log.quorum} witnesses yet",
            where=community,
            hint="`energy-ledger doctor` tells how far each is; with `quorum = 0` under [log] none is needed",
        )
    raise NothingToExport("there is no book of this community, or it is empty", where=community)


async def log_key_of(snapshot: Snapshot, community: str) -> str:
    """The verifier key that the book's first event names."""
    body = (await snapshot.bodies(community, "registry", 1, 1))[0]
    (event,) = read_recorded([body])
    if not isinstance(event, CommunityOpened):
        raise Damaged("the book does not begin with community-opened", where=community)
    return event.log_key


async def export_community(
    snapshot: Snapshot,
    community: str,
    path: Path | None = None,
    progress: Progress = no_progress,
    *,
    log: LogSettings = NOBODY,
    durable: bool = True,
    wrote: Wrote = unbounded,
) -> Exported:
    """Write the whole book of `community` to `path`, by default `<community>-<size>.jsonl` in this folder, up
    to the checkpoint that is published by `log`; `durable` and `wrote` as `new_book` has them.

    Raises `NothingToExport`, `NoBookFile`, `StoreUnavailable`, and `Damaged` when the store contradicts
    itself; then no file appears.
    """
    size, checkpoint = await published(snapshot, community, log)
    path = path or Path(f"{community}-{size}.jsonl")
    with new_book(path, durable=durable, wrote=wrote) as write:
        log_key = await log_key_of(snapshot, community)
        write(
            HeaderLine(
                Header(community=community, format=FORMAT, log_key=log_key, scope="community", size=size)
            )
        )
        await _write_keys(snapshot, community, size, write)
        await _write_log(snapshot, community, size, write, progress)
        write(CheckpointLine(checkpoint))
    return Exported(path, size, size)


async def _write_keys(snapshot: Snapshot, community: str, size: int, write: Write) -> None:
    history = KeyHistory()
    async for page in snapshot.registry(community, size):
        for row, event in zip(page, read_recorded([row.body for row in page]), strict=True):
            history.take(row.position, event)
    for key in history.keys:
        write(KeyLine(key))


async def _write_log(snapshot: Snapshot, community: str, size: int, write: Write, progress: Progress) -> None:
    """Envelopes in order of the log, each block before the envelope that stands at its size."""
    blocks = _blocks(snapshot, community, size)
    envelopes = _each_envelope(snapshot, community, size)
    block = await anext(blocks, None)
    done = 0
    async for rows in by_envelope(snapshot.events(community, size)):
        while block is not None and block.block.size <= done:
            write(block)
            block = await anext(blocks, None)
        envelope = await anext(envelopes, None)
        if envelope is None or envelope.position != done or rows[0].envelope != done:
            raise Damaged("an event has no envelope", where=f"{community}, position {done}")
        write(await _envelope_line(snapshot, community, envelope, rows))
        done += len(rows)
        progress(done, size)
    if done != size:
        raise Damaged(f"the store gave {done} of {size} events", where=community)


async def by_envelope(pages: Pages) -> AsyncIterator[list[EventRow]]:
    """The events of `pages`, together with those that came in the same envelope."""
    rows: list[EventRow] = []
    async for page in pages:
        for row in page:
            if rows and row.envelope != rows[0].envelope:
                yield rows
                rows = []
            rows.append(row)
    if rows:
        yield rows


async def _each_envelope(snapshot: Snapshot, community: str, size: int) -> AsyncIterator[EnvelopeRow]:
    async for page in snapshot.envelopes(community, size):
        for envelope in page:
            yield envelope


async def _blocks(snapshot: Snapshot, community: str, size: int) -> AsyncIterator[BlockLine]:
    """The blocks that the book's events sealed, from the first."""
    async for page in snapshot.registry(community, size):
        for row, event in zip(page, read_recorded([row.body for row in page]), strict=True):
            if isinstance(event, BlockSealed):
                yield block_line(community, row.position, event)


async def _envelope_line(
    snapshot: Snapshot, community: str, envelope: EnvelopeRow, rows: list[EventRow]
) -> EnvelopeLine:
    """The envelope as it was sent: with the bodies it brought and those that were in the book already."""
    new: dict[str, list[bytes]] = {}
    for row in rows:
        new.setdefault(row.stream, []).append(row.body)
    runs = []
    for header in read_run_headers(envelope.runs):
        bodies = new.get(header.stream, [])
        known = header.last - header.first + 1 - len(bodies)
        if known:
            last_known = header.first + known - 1
            bodies = await snapshot.bodies(community, header.stream, header.first, last_known) + bodies
        raw = [msgspec.Raw(body) for body in bodies]
        runs.append(Run(bodies=raw, first=header.first, previous=header.previous, stream=header.stream))
    sent = Envelope(
        community=community,
        device=envelope.device,
        key=envelope.key,
        runs=runs,
        signature=b64(envelope.signature),
    )
    hashes = "".join([row.entry_hash.hex() for row in rows])
    return EnvelopeLine(envelope=sent, hashes=hashes, position=envelope.position)
