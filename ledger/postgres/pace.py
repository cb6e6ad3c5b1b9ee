"""How fast a stream grows, as the book itself tells it."""

from datetime import datetime

from ledger.postgres.connection import Connection, statement


async def recorded_before(connection: Connection, community: str, stream: str, newer: int) -> datetime | None:
    """When the event was recorded that has so many newer ones in its stream; none where it has fewer."""
    found: datetime | None = await connection.fetchval(statement("recorded_before"), community, stream, newer)
    return found
