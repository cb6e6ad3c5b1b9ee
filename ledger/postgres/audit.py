"""The book as an auditor looks into it: streams, their entries, and who signed them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ledger.entry import Head
from ledger.envelope import RunHead
from ledger.errors import Damaged
from ledger.events import read_recorded
from ledger.export import EnvelopeRow, read_run_headers
from ledger.key_history import KeyHistory
from ledger.planner import RunHeader
from ledger.postgres.connection import statement
from ledger.postgres.exporter import StoreSnapshot
from ledger.postgres.pool import Pool


class StreamRow(NamedTuple):
    """A stream and its head: the sequence and the entry hash of its newest event."""

    stream: str
    sequence: int
    hash: bytes


class AuditRow(NamedTuple):
    """An event of a stream, the position of its envelope, and its body."""

    position: int
    sequence: int
    body_hash: bytes
    entry_hash: bytes
    envelope: int
    body: bytes


class SignedEnvelope(NamedTuple):
    """An envelope without bodies, the public key (hex) that it names, and what its signature covers."""

    row: EnvelopeRow
    public_key: str
    runs: Sequence[RunHeader]
    heads: Sequence[RunHead]


class AuditStore:
    """One community's book. All methods raise `StoreUnavailable`."""

    def __init__(self, pool: Pool, community: str) -> None:
        self._pool = pool
        self._community = community

    async def streams(self, after: Sequence[str], limit: int) -> list[StreamRow]:
        """Streams behind a name, in order of names."""
        return [StreamRow(*row) for row in await self._rows("audit_streams", after[0], limit)]

    async def head(self, stream: str) -> Head | None:
        """The head of a stream; none where the book has no such stream."""
        rows = await self._rows("read_heads", [stream])
        return Head(rows[0]["sequence"], rows[0]["hash"]) if rows else None

    async def entries(self, stream: str, after: int, limit: int) -> list[AuditRow]:
        """The events of a stream behind a sequence, in their order."""
        return [AuditRow(*row) for row in await self._rows("audit_entries", stream, after, limit)]

    async def market(self, number: int = 0) -> list[AuditRow]:
        """What was published of the market, in the order of that; with a sequence, that alone."""
        return [AuditRow(*row) for row in await self._rows("market_published", number)]

    async def envelope(self, position: int) -> SignedEnvelope | None:
        """The envelope whose first new event stands at a position; none where none begins there.

        Raises `Damaged` where the book lacks what the envelope was checked by.
        """
        async with self._pool.connection() as connection:
            snapshot = StoreSnapshot(connection)  # a mere reader here: what is asked for never changes
            rows = await snapshot.envelopes_at(self._community, [position])
            if not rows:
                return None
            runs = read_run_headers(rows[0].runs)
            hashes = await snapshot.recorded(self._community, [(run.stream, run.last) for run in runs])
        if len(hashes) != len(runs):
            raise Damaged("an envelope's run is not in the book", where=f"position {position}")
        heads = [RunHead(run.stream, run.first, run.last, hashes[run.stream, run.last]) for run in runs]
        return SignedEnvelope(rows[0], await self._public_key(rows[0]), runs, heads)

    async def _public_key(self, envelope: EnvelopeRow) -> str:
        device = f'"device":"{envelope.device}"'.encode()
        rows = await self._rows("audit_keys", envelope.position, device, b'"public_key":')
        history = KeyHistory()
        for row, event in zip(rows, read_recorded([row["body"] for row in rows]), strict=True):
            history.take(row["position"], event)
        for key in history.keys:
            if (key.device, key.id) == (envelope.device, envelope.key):
                return key.public_key
        raise Damaged("the book has no such key", where=f"{envelope.device}, {envelope.key}")

    async def _rows(self, name: str, *values: Any) -> list[Any]:
        async with self._pool.connection() as connection:
            return await connection.fetch(statement(name), self._community, *values)
