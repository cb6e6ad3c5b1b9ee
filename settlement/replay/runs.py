"""Runs in a file of SQLite's: what settling reads and writes of one book. Nothing waits."""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from ledger.canonical import encode
from ledger.merkle import Frontier
from ledger.recorded import RecordedEvent
from ledger.settlement_rows import Energy, PostingRow, RunRow, Standing
from settlement.replay.database import instant, seconds, statement

_postings = msgspec.json.Decoder(list[PostingRow]).decode


class ReplayedRuns:
    """What `settlement.settling` asks of a store. Trades and shares are not kept: no run is made of them."""

    def __init__(self, connection: sqlite3.Connection, tree: Frontier) -> None:
        self._connection = connection
        self._tree = tree  # over the events that were projected

    # --- the book and its energies ----------------------------------------------------------

    async def events(self, community: str, begin: int, end: int) -> list[RecordedEvent]:
        rows = self._connection.execute(statement("list_events"), (begin, end))
        return [RecordedEvent(*row) for row in rows]

    async def energies(
        self, community: str, begin: datetime, until: datetime
    ) -> dict[datetime, list[Energy]]:
        rows = self._connection.execute(statement("energies"), (seconds(begin), seconds(until)))
        by_start = groupby(rows, key=itemgetter(0))
        return {instant(start): [each[1:] for each in group] for start, group in by_start}

    async def deliveries(
        self, community: str, begin: datetime, until: datetime
    ) -> dict[datetime, tuple[int, int]]:
        rows = self._connection.execute(statement("deliveries"), (seconds(begin), seconds(until)))
        return {instant(start): (import_wh, export_wh) for start, import_wh, export_wh in rows}

    async def changed(self, community: str, size: int, begin: datetime, until: datetime) -> list[datetime]:
        rows = self._connection.execute(statement("changed"), (size, seconds(begin), seconds(until)))
        return [instant(start) for (start,) in rows]

    async def root(self, community: str, size: int) -> bytes:
        assert self._tree.size == size  # noqa: S101 - a run is settled where the log has its size
        return self._tree.root()

    # --- runs ------------------------------------------------------------------------------

    async def standing(self, community: str) -> Standing:
        number, settled, final, size = self._connection.execute(statement("read_standing")).fetchone()
        settled_until, final_until = (None if at is None else instant(at) for at in (settled, final))
        return Standing(number, settled_until, final_until, size)

    async def postings(self, community: str, start: datetime) -> list[PostingRow]:
        row = self._connection.execute(statement("read_postings"), (seconds(start),)).fetchone()
        return _postings(row[0]) if row else []

    async def add_run(self, community: str, run: RunRow) -> None:
        values = (run.number, run.kind, seconds(run.until), run.tree_size)
        self._connection.execute(statement("add_run"), values)

    async def add(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        if table == "intervals":  # comes first: what stood before counts no longer
            self._put((start, []) for _, start, _ in rows)
        elif table == "postings":
            told = (row for row in rows if not row[3])
            self._put(
                (start, [row[5:] for row in group]) for start, group in groupby(told, key=itemgetter(1))
            )

    def _put(self, standing: Iterable[tuple[datetime, list[Any]]]) -> None:
        self._connection.executemany(
            statement("put_postings"), ((seconds(start), encode(rows)) for start, rows in standing)
        )
