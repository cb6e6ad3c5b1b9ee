"""Where in the book an event stands that somebody sent: found by its salt, which no other event has."""

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
    """The place of the event with a salt; none where it is not among the stream's newest thousand."""
    row = await connection.fetchrow(statement("recorded_by_salt"), community, stream, salt)
    return RecordedPlace(*row) if row else None
