"""The store as the projector needs it: pages of the book in, rows of the projections out, one transaction."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Self, cast

import msgspec

from ledger.energy import Aside
from ledger.errors import Unavailable
from ledger.gap import Gap, Interval, Mark
from ledger.postgres.connection import (
    PROJECTOR,
    Connection,
    PostgresSettings,
    close,
    connect,
    statement,
    storable,
    transaction,
)
from ledger.postgres.errors import translated
from ledger.recorded import EventRow

LIVE = "projection"
NEXT = "projection_next"

_INTERVAL_COLUMNS = (
    "community", "meter", "start", "import_wh", "export_wh", "import_register_wh", "export_register_wh",
    "end_quality", "quality", "epoch", "position", "decided_by",
)  # fmt: skip
_ASIDE_COLUMNS = (
    "community", "meter", "position", "at", "import_wh", "export_wh", "verdict", "reason", "epoch",
    "quality",
)  # fmt: skip


class OtherRules(Unavailable):
    """The projections follow another version of the rules than this program does."""

    code = "other-rules"


class RebuildUnderWay(Unavailable):
    """Only one can rebuild at a time."""

    code = "rebuild-under-way"


class ProjectionStore:
    """One connection that reads the book and owns the projections of one schema."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, settings: PostgresSettings, schema: str = LIVE) -> Self:
        """Connect as the projector's role, with `schema` as the place of the projections."""
        return cls(await connect(settings, name=f"projector {schema}", role=PROJECTOR, search_path=schema))

    async def close(self) -> None:
        """Leave."""
        await close(self._connection)

    # --- schemas ---------------------------------------------------------------------------

    async def prepare_live(self, version: int) -> int:
        """Make the tables where there are none; the version of the rules by which they were made."""
        with translated():
            async with transaction(self._connection):
                await self._connection.execute(statement("projection_lock_swap"))
                await self._connection.execute(statement("projection_create_schema"))
                if not await self._connection.fetchval(statement("projection_exists")):
                    await self._make_tables(version)
                return int(await self._connection.fetchval(statement("projection_read_version")))

    async def prepare_next(self, version: int) -> None:
        """Make a fresh set of tables beside the live one. Raises `RebuildUnderWay`.

        Nobody else can do so until this connection is closed.
        """
        with translated():
            if not await self._connection.fetchval(statement("projection_lock_rebuild")):
                raise RebuildUnderWay("the projections are being rebuilt by somebody else")
            async with transaction(self._connection):
                await self._connection.execute(statement("projection_create_next"))
                await self._make_tables(version)

    async def _make_tables(self, version: int) -> None:
        await self._connection.execute(statement("projection_schema"))
        await self._connection.execute(statement("projection_write_version"), version)

    async def swap(self) -> None:
        """Put the rebuilt projections in the old ones' place; live projectors wait for it."""
        with translated():
            async with transaction(self._connection):
                await self._connection.execute(statement("projection_lock_swap"))
                await self._connection.execute(statement("projection_swap"))

    # --- the book --------------------------------------------------------------------------

    async def behind(self) -> list[str]:
        """The communities whose books hold more than has been applied."""
        with translated():
            rows = await self._connection.fetch(statement("projection_behind"))
        return [row["community"] for row in rows]

    async def size(self, community: str) -> int:
        """How many events the book has."""
        with translated():
            row = await self._connection.fetchrow(statement("read_fence"), community)
        return int(row["size"]) if row else 0

    async def positions(self) -> dict[str, int]:
        """The next position to apply, by community."""
        with translated():
            rows = await self._connection.fetch(statement("projection_positions"))
        return {row["community"]: row["position"] for row in rows}

    async def events(self, community: str, begin: int, end: int) -> Sequence[EventRow]:
        """The events at positions [begin, end), as far as there are any."""
        with translated():
            rows: Any = await self._connection.fetch(statement("read_events"), community, begin, end)
        return cast(Sequence[EventRow], rows)  # the driver's rows unpack like tuples

    async def registry_bodies(self, community: str, end: int) -> list[bytes]:
        """The bodies of registry and device events before position `end`."""
        with translated():
            rows = await self._connection.fetch(statement("read_registry"), community)
        return [row["body"] for row in rows if row["position"] < end]

    # --- one transaction of the projector -----------------------------------------------------

    @asynccontextmanager
    async def transaction(self, community: str, version: int) -> AsyncIterator[int]:
        """Everything within happens together with the move of the position, or not at all.

        Gives the next position to apply. Raises `OtherRules`, `StoreUnavailable` or `StoreRefused`.
        """
        with translated():
            async with transaction(self._connection):
                await self._connection.execute(statement("projection_lock_use"))
                row = await self._connection.fetchrow(statement("projection_take_position"), community)
                if row is None or row["version"] != version:
                    raise OtherRules("the projections have been replaced by those of another version")
                yield row["position"]

    async def move(self, community: str, position: int) -> None:
        """The next position to apply from now on."""
        await self._connection.execute(statement("projection_move_position"), community, position)

    async def put(self, name: str, *values: Any) -> None:
        """Write or change one row of what is no reading, by `sql/projection_<name>.sql`."""
        await self._connection.execute(statement(f"projection_{name}"), *storable(values))

    async def states(self, community: str, meters: Sequence[str]) -> dict[str, bytes]:
        """What the fold remembers of `meters`."""
        rows = await self._connection.fetch(statement("projection_read_states"), community, meters)
        return {row["meter"]: row["state"] for row in rows}

    async def write_states(self, community: str, states: dict[str, bytes]) -> None:
        """Remember what the fold remembers."""
        await self._connection.execute(
            statement("projection_write_states"), community, list(states), list(states.values())
        )

    async def add_intervals(self, community: str, rows: Sequence[tuple[str, Interval]]) -> None:
        """Insert intervals that have no row yet."""
        values = msgspec.structs.astuple
        records = [
            (community, meter, _instant(interval.start), *values(interval)[1:]) for meter, interval in rows
        ]
        await self._connection.copy_records_to_table(
            "meter_intervals", records=records, columns=_INTERVAL_COLUMNS
        )

    async def clear_gaps(self, community: str, gaps: Sequence[tuple[str, Gap]]) -> None:
        """Make room for the intervals of these gaps."""
        await self._connection.executemany(
            statement("projection_clear_gap"),
            [(community, meter, _instant(gap.first.at), _instant(gap.second.at)) for meter, gap in gaps],
        )

    async def add_asides(self, community: str, rows: Sequence[tuple[str, Aside]]) -> None:
        """Insert readings that ended no interval."""
        records = [
            (
                community, meter, aside.position, _instant(aside.at), aside.import_wh, aside.export_wh,
                aside.verdict, aside.reason, aside.epoch, aside.quality,
            )
            for meter, aside in rows
        ]  # fmt: skip
        await self._connection.copy_records_to_table(
            "readings_aside", records=records, columns=_ASIDE_COLUMNS
        )

    # --- what was projected before ------------------------------------------------------------

    async def mark(self, which: str, community: str, meter: str, at: int, step: int) -> Mark | None:
        """The neighbouring mark of an instant; `which` is `before` (at or before it) or `after`."""
        row = await self._connection.fetchrow(
            statement(f"projection_mark_{which}"), community, meter, _instant(at), timedelta(seconds=step)
        )
        if row is None:
            return None
        at = int(row["at"].timestamp())
        return Mark(at, row["import_wh"], row["export_wh"], row["position"], row["epoch"], row["measured"])

    async def measured(
        self, community: str, meter: str, starts: Sequence[int], decided_by: int
    ) -> dict[int, tuple[int, int]]:
        """The energy of those intervals that the events up to `decided_by` measured, by start."""
        instants = [_instant(start) for start in starts]
        rows = await self._connection.fetch(
            statement("projection_measured"), community, meter, instants, decided_by
        )
        return {int(row["start"].timestamp()): (row["import_wh"], row["export_wh"]) for row in rows}


@lru_cache(4_096)  # the meters of a page share their instants
def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
