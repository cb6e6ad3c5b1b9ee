"""What of the settings was brought into the book last."""

from collections.abc import Mapping
from datetime import datetime

from ledger.postgres.connection import APP, PostgresSettings, close, connect, statement, transaction
from ledger.postgres.errors import translated


async def read_provisioned(settings: PostgresSettings, community: str) -> Mapping[str, str]:
    """The digests of its parts, by their names. Raises `StoreUnavailable`."""
    connection = await connect(settings, name="provision", role=APP)
    try:
        with translated():
            rows = await connection.fetch(statement("provisioned"), community)
    finally:
        await close(connection)
    return {row["part"]: row["digest"] for row in rows}


async def keep_provisioned(
    settings: PostgresSettings, community: str, parts: Mapping[str, str], now: datetime
) -> None:
    """Remember that these parts are in the book. Raises `StoreUnavailable`."""
    connection = await connect(settings, name="provision", role=APP)
    try:
        with translated():
            async with transaction(connection):
                rows = [(community, part, digest, now) for part, digest in parts.items()]
                await connection.executemany(statement("provisioned_keep"), rows)
    finally:
        await close(connection)
