"""Runs in a file of SQLite's: what settling reads and writes of one book. Nothing waits."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from ledger.canonical import encode
from ledger.merkle import Frontier
from ledger.recorded import RecordedEvent
from ledger.settlement_rows import Energy, Posted, PostedRow, PostingRow, RunRow, SettledRows, Standing
from settlement.journal import GRID, building_account
from settlement.month import month_at
from settlement.replay.database import instant, seconds, statement
from settlement.replay.work import Work

_postings = msgspec.json.Decoder(list[PostingRow]).decode


_What = Literal["interval", "month"]
_Draft = tuple[int, Sequence[SettledRows]]
_BUILDINGS = building_account("")


class ReplayedRuns:
    """What `settlement.settling` and `settlement.billing.drafting` ask of a store, which knows the runs that
    were recomputed so far. Trades and shares are not kept: neither run nor invoice is made of them.
    """

    def __init__(self, connection: sqlite3.Connection, tree: Frontier, work: Work) -> None:
        self.zone = ZoneInfo("UTC")
        """Whose months are summed; to be set before anything is added."""
        self._connection = connection
        self._work = work
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

    async def next_energy(self, community: str, since: datetime) -> datetime | None:
        row = self._connection.execute(statement("next_energy"), (seconds(since),)).fetchone()
        return None if row is None else instant(row[0])

    async def deliveries(
        self, community: str, begin: datetime, until: datetime
    ) -> dict[datetime, tuple[int, int]]:
        rows = self._connection.execute(statement("deliveries"), (seconds(begin), seconds(until)))
        return {instant(start): (import_wh, export_wh) for start, import_wh, export_wh in rows}

    async def changed(self, community: str, size: int, begin: datetime, until: datetime) -> list[datetime]:
        rows = self._connection.execute(statement("changed"), (size, seconds(begin), seconds(until)))
        return [instant(start) for (start,) in rows]

    async def known(self, community: str, begin: datetime, until: datetime) -> list[datetime]:
        rows = self._connection.execute(statement("known"), (seconds(begin), seconds(until)))
        found = [instant(start) for (start,) in rows]
        self._work.spend(len(found))
        return found

    async def root(self, community: str, size: int) -> bytes:
        assert self._tree.size == size  # noqa: S101 - a run is settled where the log has its size
        return self._tree.root()

    # --- runs ------------------------------------------------------------------------------

    async def standing(self, community: str) -> Standing:
        number, settled, final, size = self._connection.execute(statement("read_standing")).fetchone()
        settled_until, final_until = (None if at is None else instant(at) for at in (settled, final))
        return Standing(number, settled_until, final_until, size)

    async def postings(self, community: str, start: datetime) -> list[PostingRow]:
        return self._standing("interval", start)

    async def charges(self, community: str, start: datetime) -> list[PostingRow]:
        return self._standing("month", start)

    def _standing(self, what: _What, start: datetime) -> list[PostingRow]:
        row = self._connection.execute(statement("read_postings"), (what, seconds(start))).fetchone()
        return _postings(row[0]) if row else []

    async def add_run(self, community: str, run: RunRow) -> None:
        values = (run.number, run.kind, seconds(run.begin), seconds(run.until), run.tree_size)
        self._connection.execute(statement("add_run"), values)

    @staticmethod
    def drafted(community: str, run: int, settled: Sequence[SettledRows]) -> _Draft:
        """Trades and shares are not kept, the rest is as it is."""
        return run, settled

    async def write(self, drafted: _Draft) -> None:
        run, settled = drafted
        self._put("interval", ((each.start, ()) for each in settled))  # what stood before counts no longer
        self._posted("interval", run, [posted for each in settled for posted in each.posted])

    async def charge(self, community: str, run: int, posted: Iterable[Posted]) -> None:
        self._posted("month", run, list(posted), others=(GRID,))

    def _posted(self, what: _What, run: int, posted: Sequence[Posted], others: Sequence[str] = ()) -> None:
        """Keep what counts from now on, and what was posted to buildings and to `others` as sums."""
        self._put(what, {each.start: () if each.is_reversal else each.postings for each in posted}.items())
        self._add_sums(run, posted, others)

    def _put(self, what: _What, standing: Iterable[tuple[datetime, Sequence[PostingRow]]]) -> None:
        self._connection.executemany(
            statement("put_postings"), ((what, seconds(start), encode(rows)) for start, rows in standing)
        )

    def _add_sums(self, run: int, posted: Iterable[Posted], others: Sequence[str]) -> None:
        """Sum up by month what was posted to buildings and to `others`."""
        sums: dict[tuple[int, str, str, bool], list[int]] = {}
        for start, is_reversal, postings in posted:
            month = seconds(month_at(start, self.zone).begin)
            for kind, account, energy, amount in postings:
                if account.startswith(_BUILDINGS) or account in others:
                    took = energy < 0 if is_reversal else energy > 0
                    found = sums.setdefault((month, account, kind, took), [0, 0, run])
                    found[0] += energy
                    found[1] += amount
        self._connection.executemany(statement("add_sum"), ((*key, *found) for key, found in sums.items()))

    # --- what invoices are made of -----------------------------------------------------------

    async def posted(
        self, community: str, account: str, begin: datetime, until: datetime, run: int
    ) -> list[PostedRow]:
        rows = self._connection.execute(statement("posted"), (account, seconds(begin), seconds(until)))
        return [PostedRow(kind, bool(took), *rest) for kind, took, *rest in rows]

    async def charged(self, community: str, begin: datetime, until: datetime, run: int) -> Mapping[str, int]:
        rows = await self.posted(community, GRID, begin, until, run)
        return {row.kind: row.amount_micro for row in rows}

    async def corrected(self, community: str, run: int) -> list[tuple[datetime, datetime]]:
        rows = self._connection.execute(statement("corrected"))
        return [(instant(begin), instant(until)) for begin, until in rows]
