"""The store as settlement needs it: energies in, postings out, one transaction a run.

Rows are plain tuples in the order of their tables' columns; what they mean is `settlement`'s to say.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Self

from ledger.clock import monotonic_seconds
from ledger.errors import Unavailable
from ledger.postgres.connection import (
    APP,
    Connection,
    PostgresSettings,
    close,
    connect,
    statement,
    transaction,
)
from ledger.postgres.errors import translated
from ledger.postgres.exporter import StoreSnapshot
from ledger.postgres.projection import LIVE
from ledger.postgres.settled_copy import COLUMNS, Copies, copies
from ledger.recorded import RecordedEvent
from ledger.settlement_rows import Energy, Posted, PostingRow, RunRow, Standing
from ledger.tree_reader import TreeReader

__all__ = ["Energy", "PostingRow", "RunRow", "SettlementStore", "SettlerAtWork", "Standing"]

TURN_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.1
STARTS_AT_ONCE = 2_000

_CHARGES = (
    "community", "start", "run", "reversal", "number", "kind", "account", "energy_milliwh", "amount_micro",
)  # fmt: skip


class SettlerAtWork(Unavailable):
    """Another settler works for this community."""

    code = "settler-at-work"


class StreamBusy(Unavailable):
    """Somebody else appends to the settlement's stream and does not come to an end."""

    code = "stream-busy"


class SettlementStore:
    """One connection that reads the book and its projections and writes what was settled."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @classmethod
    async def open(cls, settings: PostgresSettings) -> Self:
        """Connect. Raises `StoreUnavailable`."""
        return cls(await connect(settings, name="settlement", role=APP, search_path=LIVE))

    async def close(self) -> None:
        """Leave."""
        await close(self.connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def claim(self, community: str) -> None:
        """Be the one settler of `community` until the connection ends, however it ends.

        Raises `SettlerAtWork`, `StoreUnavailable`. Two at once would number the same run and send it to the
        book from the same place; one of them would then fail, with its rows undone, but as a surprise.
        """
        with translated():
            is_mine = await self.connection.fetchval(statement("settlement_claim"), community)
        if not is_mine:
            raise SettlerAtWork(
                "a settler is at work for this community already",
                where=community,
                hint="it settles within seconds what has closed, `energy-ledger runs` shows it; stop it first"
                " to settle by hand",
            )

    async def recorded(self, community: str) -> int:
        """The number of the newest run that the book has, projected or not. Raises `StoreUnavailable`."""
        with translated():
            return await self.connection.fetchval(statement("settlement_recorded"), community) or 0

    @asynccontextmanager
    async def turn(self, community: str) -> AsyncIterator[None]:
        """Be the only one to append to the settlement's stream, as settler or as biller: two at once would go
        on from the same head, and the book would take the second for a fork.

        Raises `StreamBusy` after `TURN_SECONDS`, `StoreUnavailable`.
        """
        deadline = monotonic_seconds() + TURN_SECONDS
        while not await self._is_mine(community):
            if monotonic_seconds() > deadline:
                raise StreamBusy(
                    "runs or invoices of this community are being recorded by another program",
                    where=community,
                    hint="try again; if it stays so, see whether a settler or an `invoices` command hangs",
                )
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        try:
            yield
        finally:
            if not self.connection.is_closed():  # else it is given back already
                with translated():
                    await self.connection.fetchval(statement("settlement_end_turn"), community)

    async def _is_mine(self, community: str) -> bool:
        with translated():
            return bool(await self.connection.fetchval(statement("settlement_take_turn"), community))

    @asynccontextmanager
    async def transaction(self, community: str) -> AsyncIterator[int]:
        """One state of the store, seen throughout; what is written within happens together or not at all.

        Gives the size of the log up to which the projections have applied it. Raises `StoreUnavailable`.
        """
        with translated():
            async with transaction(self.connection, "repeatable_read"):
                rows = await self.connection.fetch(statement("projection_positions"))
                yield next((row["position"] for row in rows if row["community"] == community), 0)

    # --- what is there ---------------------------------------------------------------------

    async def events(self, community: str, begin: int, end: int) -> list[RecordedEvent]:
        """What is no reading, of the positions [begin, end)."""
        rows = await self.connection.fetch(statement("settlement_events"), community, begin, end)
        return [RecordedEvent(*row) for row in rows]

    async def runs_after(self, community: str, number: int) -> list[RunRow]:
        """The runs with a higher number, in their order."""
        rows = await self.connection.fetch(statement("settlement_runs_after"), community, number)
        return [RunRow(*row) for row in rows]

    async def standing(self, community: str) -> Standing:
        """Where the settlement stands; all are none before the first run."""
        (row,) = await self.connection.fetch(statement("settlement_state"), community)
        return Standing(*row)

    async def root(self, community: str, size: int) -> bytes:
        """The root of the log as it was at `size`."""
        return await TreeReader(StoreSnapshot(self.connection), community, size).root()

    async def energies(
        self, community: str, begin: datetime, until: datetime
    ) -> dict[datetime, list[Energy]]:
        """What every building took and gave in the intervals that start in [begin, until), by start."""
        rows = await self.connection.fetch(statement("settlement_energies"), community, begin, until)
        by_start = groupby(rows, key=itemgetter(0))
        return {start: [(name, taken, given) for _, name, taken, given in group] for start, group in by_start}

    async def energy_span(self, community: str) -> tuple[datetime, datetime] | None:
        """The starts of the first and the newest interval of which there is energy of a building, if any."""
        (row,) = await self.connection.fetch(statement("settlement_energy_span"), community)
        return None if row["first"] is None else (row["first"], row["newest"])

    async def next_energy(self, community: str, since: datetime) -> datetime | None:
        """The start of the first interval from an instant on of which a building's energy is known."""
        query = statement("settlement_next_energy")
        start: datetime | None = await self.connection.fetchval(query, community, since)
        return start

    async def deliveries(
        self, community: str, begin: datetime, until: datetime
    ) -> dict[datetime, tuple[int, int]]:
        """What the main meters show together, import and export in Wh, by start."""
        rows = await self.connection.fetch(statement("settlement_deliveries"), community, begin, until)
        return {row["start"]: (row["import_wh"], row["export_wh"]) for row in rows}

    async def changed(self, community: str, size: int, begin: datetime, until: datetime) -> list[datetime]:
        """The intervals in [begin, until) that events from position `size` on decided anew."""
        return await self._starts("settlement_changed", community, size, begin, until)

    async def known(self, community: str, begin: datetime, until: datetime) -> list[datetime]:
        """The intervals in [begin, until) of which there are energies, or that were settled."""
        return await self._starts("settlement_known", community, begin, until)

    async def _starts(self, name: str, *values: object) -> list[datetime]:
        """Starts of intervals, which may be those of years: between some and more, others have a turn."""
        rows = self.connection.cursor(statement(name), *values, prefetch=STARTS_AT_ONCE)
        return [row["start"] async for row in rows]

    async def postings(self, community: str, start: datetime) -> list[PostingRow]:
        """The postings that count for an interval."""
        rows = await self.connection.fetch(statement("settlement_standing_postings"), community, start)
        return [tuple(row) for row in rows]

    async def charges(self, community: str, start: datetime) -> list[PostingRow]:
        """The charges that count for a month."""
        rows = await self.connection.fetch(statement("settlement_standing_charges"), community, start)
        return [tuple(row) for row in rows]

    # --- what was settled --------------------------------------------------------------------

    async def add_run(self, community: str, run: RunRow) -> None:
        """Write a run."""
        await self.connection.execute(statement("settlement_add_run"), community, *run)

    drafted = staticmethod(copies)
    """Rows of intervals as they are written; another process may make them ready."""

    async def write(self, drafted: Copies) -> None:
        """Write them."""
        for table, rows in drafted._asdict().items():
            if rows:
                await self.connection.copy_to_table(
                    table, schema_name="settlement", source=_pieces(rows), columns=COLUMNS[table],
                    format="binary",
                )  # fmt: skip

    async def charge(self, community: str, run: int, posted: Iterable[Posted]) -> None:
        """Write the charges of months."""
        rows = [
            (community, start, run, is_reversal, number, *posting)
            for start, is_reversal, postings in posted
            for number, posting in enumerate(postings)
        ]
        await self.connection.copy_records_to_table(
            "charges", schema_name="settlement", records=rows, columns=_CHARGES
        )


PIECE_BYTES = 512 * 1024


async def _pieces(rows: bytes) -> AsyncIterator[bytes]:
    """A COPY in pieces. The library wraps a file into a class of its own, and so into a cycle of references
    that keeps all of it in memory until somebody looks for cycles."""
    for begin in range(0, len(rows), PIECE_BYTES):
        yield rows[begin : begin + PIECE_BYTES]
