"""What listeners are told, in order of the book: readings with their energy, and what was settled.

A run's rows are committed before its event is recorded, and energies in the transaction that moves the
projections' position. So whatever stands at a position that the projections have reached is there to be read,
with all that belongs to it, and so is everything before it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ledger.access import AccessKey
from ledger.events import MeterRead, read_recorded
from ledger.market_events import SettlementRun
from ledger.postgres.buildings import TradeRow
from ledger.postgres.connection import statement
from ledger.postgres.pool import Pool


class Reached(NamedTuple):
    """How many events the book has, and how many of them the projections have applied."""

    size: int
    projected: int


class ReadingRow(NamedTuple):
    """A reading of a building's meter, and where it stands in the book."""

    position: int
    building: str
    meter: str
    role: str
    sequence: int
    entry_hash: bytes
    event: MeterRead


class RunPlace(NamedTuple):
    """A settlement run, and where it stands in the book."""

    position: int
    event: SettlementRun


class DecidedRow(NamedTuple):
    """A meter's energy of an interval, and the position of the event since which it is what it is."""

    decided_by: int
    start: datetime
    import_wh: int
    export_wh: int
    quality: str


class MeterSpan(NamedTuple):
    """A meter's time from `begin` to before `until`."""

    meter: str
    begin: datetime
    until: datetime


class SettledInterval(NamedTuple):
    """An interval that a run settled; `is_revised` where another one had settled it before."""

    start: datetime
    is_revised: bool


class PostedSum(NamedTuple):
    """What an interval brought an account by one run: of a kind, in a direction."""

    account: str
    start: datetime
    kind: str
    took: bool
    energy_milliwh: int
    amount_micro: int


class PriceRow(NamedTuple):
    """Between which prices neighbours traded in an interval, by one run."""

    start: datetime
    lowest_micro_per_kwh: int
    highest_micro_per_kwh: int


class LiveStore:
    """One community's. All methods raise `StoreUnavailable`, and `NotReady` before there are projections."""

    def __init__(self, pool: Pool, community: str) -> None:
        self._pool = pool
        self._community = community

    async def reached(self) -> Reached:
        """How far book and projections are by now; nowhere before the book is opened."""
        rows = await self._rows("live_reached")
        return Reached(*rows[0]) if rows else Reached(0, 0)

    async def events(
        self, buildings: Collection[str], begin: int, end: int, most: int
    ) -> list[ReadingRow | RunPlace]:
        """Readings of the buildings' meters and runs at positions [begin, end), in their order."""
        rows = await self._rows("live_events", begin, end, list(buildings), most)
        found: list[ReadingRow | RunPlace] = []
        for row, event in zip(rows, read_recorded([row["body"] for row in rows]), strict=True):
            match event:
                case MeterRead():
                    position, building, meter, role, sequence, entry_hash, _ = row
                    found.append(ReadingRow(position, building, meter, role, sequence, entry_hash, event))
                case SettlementRun():
                    found.append(RunPlace(row["position"], event))
        return found

    async def energies(self, spans: Sequence[MeterSpan], begin: int, end: int) -> list[DecidedRow]:
        """The intervals in these spans that events at positions [begin, end) decided, in order of time."""
        meters, begins, untils = zip(*spans, strict=True) if spans else ((), (), ())
        rows = await self._rows("live_energies", list(meters), list(begins), list(untils), begin, end)
        return [DecidedRow(*row) for row in rows]

    async def settled(self, run: int, skip: int, most: int) -> list[SettledInterval]:
        """The intervals that a run settled behind the first `skip`, in order of time."""
        return [SettledInterval(*row) for row in await self._rows("live_settled", run, skip, most)]

    async def posted(
        self, run: int, accounts: Collection[str], starts: Sequence[datetime]
    ) -> list[PostedSum]:
        """What a run brought accounts in the intervals that begin at `starts`."""
        return [PostedSum(*row) for row in await self._rows("live_posted", run, list(accounts), starts)]

    async def trades(
        self, run: int, buildings: Collection[str], starts: Sequence[datetime]
    ) -> list[TradeRow]:
        """What a run let buildings sell and buy in the intervals that begin at `starts`, in order."""
        return [TradeRow(*row) for row in await self._rows("live_trades", run, list(buildings), starts)]

    async def prices(self, run: int, starts: Sequence[datetime]) -> list[PriceRow]:
        """Between which prices a run let neighbours trade in the intervals that begin at `starts`."""
        return [PriceRow(*row) for row in await self._rows("live_prices", run, starts)]

    async def keys(self, prefixes: Collection[str]) -> list[AccessKey]:
        """The keys of these prefixes, whether they count or not."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(statement("live_keys"), list(prefixes))
        return [AccessKey(*row) for row in rows]

    async def _rows(self, name: str, *values: Any) -> list[Any]:
        async with self._pool.connection() as connection:
            return await connection.fetch(statement(name), self._community, *values)
