"""What of the book is asked about events that somebody sent: where one stands, and what stands at a place."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ledger.postgres.connection import Connection, statement


class RecordedPlace(NamedTuple):
    """An event's place in its stream and in the log, its bytes, and when the ledger recorded it."""

    sequence: int
    position: int
    body: bytes
    recorded_at: datetime


async def recorded_place(
    connection: Connection, community: str, stream: str, salt: str
) -> RecordedPlace | None:
    """The place of the event with a salt, which no other event has; none where it is not among the stream's
    newest thousand."""
    row = await connection.fetchrow(statement("recorded_by_salt"), community, stream, salt)
    return RecordedPlace(*row) if row else None


async def recorded_hashes(
    connection: Connection, community: str, places: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], bytes]:
    """The entry hashes at those (stream, sequence) that the book has."""
    streams, sequences = [stream for stream, _ in places], [sequence for _, sequence in places]
    rows = await connection.fetch(statement("read_recorded"), community, streams, sequences)
    return {(row["stream"], row["sequence"]): row["entry_hash"] for row in rows}
