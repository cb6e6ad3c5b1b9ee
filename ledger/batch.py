"""What one transaction of the writer writes: rows, and the fence that it moves."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from ledger.entry import Head

EventRow = tuple[str, int, str, int, bytes, bytes, bytes, int]
"""community, position, stream, sequence, body hash, entry hash, body, position of the envelope."""

EnvelopeRow = tuple[str, int, str, str, bytes, bytes, datetime]
"""community, position, device, key, signature, runs, recorded_at."""

TileRow = tuple[str, int, int, bytes, bytes]
"""community, level, index, hashes, root."""

QuarantineRow = tuple[str, bytes, str, str, str | None, int | None, str, bytes, datetime]
"""community, digest, code, device, stream, sequence, what, message, now."""


class Fence(NamedTuple):
    """The newest state of a community's log."""

    size: int
    peaks: bytes
    root: bytes
    checkpoint: str


@dataclass(slots=True)
class Batch:
    """All that one transaction writes. `before` is the size that the appender believes in."""

    community: str
    before: int
    after: Fence
    now: datetime
    events: list[EventRow] = field(default_factory=list)
    envelopes: list[EnvelopeRow] = field(default_factory=list)
    tiles: list[TileRow] = field(default_factory=list)
    heads: dict[str, Head] = field(default_factory=dict)
    quarantine: list[QuarantineRow] = field(default_factory=list)
