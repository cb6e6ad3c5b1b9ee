"""What people ask of the store: the registry's tables, energy, quarantine, and the newest checkpoint."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

import asyncpg

from ledger.batch import Fence
from ledger.postgres.connection import APP, Connection, PostgresSettings, close, connect, statement
from ledger.postgres.errors import StoreRefused, translated
from ledger.postgres.projection import LIVE

Row = dict[str, Any]


class Reader:
    """One connection that reads the book and the live projections."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, settings: PostgresSettings) -> Self:
        """Connect. Raises `StoreUnavailable`."""
        return cls(await connect(settings, name="reader", role=APP, search_path=LIVE))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await close(self._connection)

    async def _rows(self, name: str, *values: Any) -> list[Row]:
        try:
            with translated():
                return [dict(row) for row in await self._connection.fetch(statement(name), *values)]
        except StoreRefused as error:
            if isinstance(error.__cause__, asyncpg.UndefinedTableError):
                raise StoreRefused(
                    "the database lacks its tables", hint="run `energy-ledger migrate`, start the projector"
                ) from error
            raise

    async def fence(self, community: str) -> Fence | None:
        """The newest state of the log; None where there is no such book."""
        rows = await self._rows("read_fence", community)
        if not rows:
            return None
        row = rows[0]
        return Fence(row["size"], row["peaks"], row["root"], row["checkpoint"])

    async def projected(self, community: str) -> int:
        """The position up to which the projections have applied the book."""
        rows = await self._rows("projection_positions")
        return next((row["position"] for row in rows if row["community"] == community), 0)

    async def log_key(self, community: str) -> str:
        """The verifier key that the log's checkpoints are signed with; empty before it is projected."""
        rows = await self._rows("read_log_key", community)
        return str(rows[0]["log_key"]) if rows else ""

    async def feeders(self, community: str) -> list[Row]:
        """Feeders with their names."""
        return await self._rows("list_feeders", community)

    async def buildings(self, community: str) -> list[Row]:
        """Buildings with name and feeder."""
        return await self._rows("list_buildings", community)

    async def devices(self, community: str) -> list[Row]:
        """Devices with role, public key (none while revoked) and the position that set it."""
        return await self._rows("list_devices", community)

    async def meters(self, community: str) -> list[Row]:
        """Meters with building, role, reader and the newest interval that was projected."""
        return await self._rows("list_meters", community)

    async def read_at(self, community: str) -> dict[str, datetime]:
        """When each meter was read last, of those that were."""
        return {row["meter"]: row["read_at"] for row in await self._rows("list_meters_read", community)}

    async def blocks(self, community: str) -> list[Row]:
        """Blocks from the first."""
        return await self._rows("list_blocks", community)

    async def alarms(self, community: str, most: int) -> list[Row]:
        """The newest alarms."""
        return await self._rows("list_alarms", community, most)

    async def quarantine(self, community: str, most: int) -> list[Row]:
        """What was refused, newest first."""
        return await self._rows("list_quarantine", community, most)

    async def quarantine_dropped(self, community: str) -> list[Row]:
        """How much of what strangers left in quarantine had to go, by code."""
        return await self._rows("list_quarantine_dropped", community)

    async def building_energy(
        self, community: str, begin: datetime | None = None, end: datetime | None = None
    ) -> list[Row]:
        """Per building: import and export in Wh within [begin, end), intervals, how many estimated."""
        return await self._rows("sum_buildings", community, begin, end)

    async def meter_energy(
        self,
        community: str,
        meters: Sequence[str],
        begin: datetime | None = None,
        end: datetime | None = None,
    ) -> list[Row]:
        """Per meter: import and export in Wh within [begin, end), intervals, how many estimated."""
        return await self._rows("sum_meters", community, meters, begin, end)
