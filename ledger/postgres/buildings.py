"""What is known of single buildings, as each may ask: energy, trades, documents, its meters' chains."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ledger.building_energy import Energy, Metered, together
from ledger.entry import NO_HASH
from ledger.events import read_recorded
from ledger.market_events import InvoiceIssued
from ledger.postgres.connection import statement
from ledger.postgres.errors import translated
from ledger.postgres.pool import Pool
from ledger.postgres.settlement import SettlementStore


class BuildingRow(NamedTuple):
    """A building as the registry has it."""

    building: str
    name: str
    feeder: str


class IntervalRow(NamedTuple):
    """What a building took and gave in an interval; `quality` is measured, estimated or incomplete."""

    start: datetime
    import_wh: int
    export_wh: int
    quality: str


class TradeRow(NamedTuple):
    """A trade that counts; `number` is its place in its interval."""

    start: datetime
    number: int
    seller: str
    buyer: str
    energy_milliwh: int
    price_micro_per_kwh: int
    amount_micro: int
    wheeling_micro: int
    loss_milliwh: int
    loss_micro: int
    operator_micro: int


class DocumentRow(NamedTuple):
    """A document, and where its event stands in the log."""

    position: int
    event: InvoiceIssued


class MeterRow(NamedTuple):
    """A meter and the newest link of its chain: sequence and hash are none before its first reading."""

    meter: str
    role: str
    model: str
    rated_w: int
    since: datetime
    until: datetime | None
    sequence: int | None
    hash: bytes | None


class LinkRow(NamedTuple):
    """An event of a stream with what its entry is made of."""

    sequence: int
    position: int
    previous: bytes
    body_hash: bytes
    entry_hash: bytes
    body: bytes


class SettledRow(NamedTuple):
    """What an interval brought an account: of a kind, in a direction."""

    start: datetime
    kind: str
    took: bool
    energy_milliwh: int
    amount_micro: int


class BuildingStore:
    """One community's buildings. All methods raise `StoreUnavailable`."""

    def __init__(self, pool: Pool, community: str) -> None:
        self._pool = pool
        self._community = community

    async def buildings(self, after: Sequence[str], limit: int) -> list[BuildingRow]:
        """Buildings behind a name, in order of names."""
        return [BuildingRow(*row) for row in await self._rows("building_list", after[0], limit)]

    async def knows(self, building: str) -> bool:
        """Whether there is such a building."""
        return bool(await self._rows("building_known", building))

    async def intervals(self, building: str, begin: datetime, until: datetime, limit: int) -> Energy:
        """Its intervals that start in [begin, until)."""
        rows = await self._rows("building_intervals", building, begin, until, limit)
        return together([Metered(since, ended, Energy(*columns)) for since, ended, *columns in rows], limit)

    async def trades(
        self, building: str, until: datetime, after: tuple[datetime, int], limit: int
    ) -> list[TradeRow]:
        """Its trades behind an interval and number and before `until`, in their order."""
        rows = await self._rows("building_trades", building, until, *after, limit)
        return [TradeRow(*row) for row in rows]

    # --- documents -----------------------------------------------------------------------------

    async def documents(self, building: str, after: Sequence[int], limit: int) -> list[DocumentRow]:
        """Its documents behind a position, in order of issue."""
        rows = await self._rows("building_documents", building, after[0], limit)
        events = read_recorded([row["body"] for row in rows])
        return [
            DocumentRow(row["position"], event)
            for row, event in zip(rows, events, strict=True)
            if isinstance(event, InvoiceIssued)
        ]

    async def document(self, building: str, number: str) -> InvoiceIssued | None:
        """Its document of a number; none where it has none."""
        rows = await self._rows("building_document", building, number)
        events = read_recorded([row["body"] for row in rows])
        return next((event for event in events if isinstance(event, InvoiceIssued)), None)

    async def document_link(self, building: str, number: str) -> tuple[str, LinkRow] | None:
        """The stream and the event that holds its document of a number; none where it has none."""
        rows = await self._rows("building_document", building, number)
        if not rows:
            return None
        stream, sequence, position, body_hash, entry_hash, body = rows[0]
        async with self._pool.whole.connection() as connection:  # of the event before, its hash and no more
            before = await connection.fetchval(statement("link_hash"), self._community, stream, sequence - 1)
        return stream, LinkRow(sequence, position, before or NO_HASH, body_hash, entry_hash, body)

    # --- meters --------------------------------------------------------------------------------

    async def meters(self, building: str, after: Sequence[str], limit: int) -> list[MeterRow]:
        """Its meters behind a name, in order of names."""
        rows = await self._rows("building_meters", building, after[0], limit)
        return [MeterRow(*row) for row in rows]

    async def meter(self, building: str, meter: str) -> MeterRow | None:
        """Its meter of a name; none where it has none."""
        rows = await self._rows("building_meter", building, meter)
        return MeterRow(*rows[0]) if rows else None

    async def chain(self, meter: str, after: int, last: int, limit: int) -> list[LinkRow]:
        """The links of a meter's chain behind sequence `after`, up to `last`, in their order."""
        rows = await self._rows("building_chain", f"meter/{meter}", after, last, limit)
        return [
            LinkRow(sequence, position, previous or NO_HASH, *rest)
            for sequence, position, previous, *rest in rows
        ]

    async def _rows(self, name: str, *values: Any) -> list[Any]:
        async with self._pool.connection() as connection:
            return await connection.fetch(statement(name), self._community, *values)


async def settled_rows(
    store: SettlementStore, community: str, account: str, begin: datetime, until: datetime
) -> list[SettledRow]:
    """What the intervals that start in [begin, until) brought an account, in order of time.

    Raises `StoreUnavailable`.
    """
    with translated():
        rows = await store.connection.fetch(statement("building_settled"), community, account, begin, until)
    return [SettledRow(*row) for row in rows]
