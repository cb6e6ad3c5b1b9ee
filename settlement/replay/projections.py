"""Projections in a file of SQLite's, as far as settlement asks for them: what the projector writes and reads.

One book is replayed at a time, so nothing here tells communities apart; and nothing waits.
"""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec

from ledger.canonical import encode
from ledger.energy import Aside
from ledger.entry import stream_kind
from ledger.gap import Gap, Interval, Mark
from ledger.recorded import EventRow
from settlement.replay.database import seconds, statement, together
from settlement.replay.work import Work

_astuple = msgspec.structs.astuple


class ReplayedProjections:
    """What `ledger.projector.CommunityProjector` asks of a store; it is fed the book's pages."""

    def __init__(self, connection: sqlite3.Connection, work: Work) -> None:
        self._connection = connection
        self._work = work
        self._position = 0
        self._page: Sequence[EventRow] = ()

    def feed(self, page: Sequence[EventRow]) -> None:
        """The events that come next."""
        self._page = page
        self._work.earn(len(page))

    @asynccontextmanager
    async def transaction(self, community: str, version: int) -> AsyncIterator[int]:
        with together(self._connection):
            yield self._position

    async def move(self, community: str, position: int) -> None:
        others = [row for row in self._page if stream_kind(row[1]) != "meter"]
        self._connection.executemany(statement("add_event"), others)
        self._position = position

    # --- the book --------------------------------------------------------------------------

    async def events(self, community: str, begin: int, end: int) -> Sequence[EventRow]:
        return self._page[: end - begin]

    async def registry_bodies(self, community: str, end: int) -> Sequence[bytes]:
        rows = self._connection.execute(statement("list_events"), (0, end))
        return [row[3] for row in rows]

    # --- what is projected -----------------------------------------------------------------

    async def put(self, name: str, *values: Any) -> None:
        if name == "put_meter":  # nothing else is asked for
            _, meter, role, building, _, _, since, until = values
            row = (meter, role, building, seconds(since), _seconds(until))
            self._connection.execute(statement("put_meter"), row)

    async def states(self, community: str, meters: Sequence[str]) -> dict[str, bytes]:
        return dict(self._connection.execute(statement("read_states"), (_json(meters),)))

    async def write_states(self, community: str, states: dict[str, bytes]) -> None:
        self._connection.executemany(statement("write_state"), states.items())

    async def add_intervals(self, community: str, rows: Sequence[tuple[str, Interval]]) -> None:
        self._work.spend(len(rows))
        self._connection.executemany(
            statement("add_interval"), ((meter, *_astuple(interval)) for meter, interval in rows)
        )

    async def clear_gaps(self, community: str, gaps: Sequence[tuple[str, Gap]]) -> None:
        for meter, gap in gaps:
            self._connection.execute(statement("clear_gap"), (meter, gap.first.at, gap.second.at))

    async def add_asides(self, community: str, rows: Sequence[tuple[str, Aside]]) -> None:
        opened = [
            (
                meter, aside.at, aside.import_wh, aside.export_wh, aside.position, aside.epoch,
                aside.quality == "measured",
            )
            for meter, aside in rows
            if aside.verdict == "opened"
        ]  # fmt: skip
        self._connection.executemany(statement("add_opening"), opened)

    # --- what was projected before ------------------------------------------------------------

    async def mark(self, which: str, community: str, meter: str, at: int, step: int) -> Mark | None:
        row = self._connection.execute(statement(f"mark_{which}"), (meter, at, step)).fetchone()
        if row is None:
            return None
        told_at, import_wh, export_wh, position, epoch, is_measured = row
        return Mark(told_at, import_wh, export_wh, position, epoch, bool(is_measured))

    async def measured(
        self, community: str, meter: str, starts: Sequence[int], decided_by: int
    ) -> dict[int, tuple[int, int]]:
        rows = self._connection.execute(statement("measured"), (meter, _json(starts), decided_by))
        return {start: (import_wh, export_wh) for start, import_wh, export_wh in rows}


def _json(values: Sequence[Any]) -> str:
    return encode(values).decode()


def _seconds(instant: datetime | None) -> int | None:
    return None if instant is None else seconds(instant)
