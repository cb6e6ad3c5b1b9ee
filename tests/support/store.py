"""The store as tests look at it: straight into its tables, past the code that is under test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from ledger.entry import EMPTY, Head, entry_bytes, entry_hash
from ledger.envelope import RunHead, signed_text
from ledger.keys import PublicKey
from ledger.merkle import root_hash
from ledger.note import Verifier, open_checkpoint
from ledger.planner import RunHeader
from ledger.postgres import PostgresSettings, connect, migrate
from ledger.postgres.connection import Connection, close
from ledger.tiles import WIDTH, tiles_of

TABLES = (
    "agreements", "alarms", "blocks", "buildings", "communities", "devices", "feeders", "invoices",
    "market_rules", "meter_intervals", "meter_readers", "meter_states", "meters", "orders", "positions",
    "readings_aside", "settlement_runs", "tariffs",
)  # fmt: skip
"""Every table of the projections that has a community."""
PROJECTIONS = (*TABLES, "building_intervals")
"""The same with the views."""


async def migrated(dsn: str) -> PostgresSettings:
    """Settings for a database that has just been given its tables."""
    settings = PostgresSettings(url=dsn)
    async with owner(settings) as connection:
        await migrate(connection)
    return settings


@asynccontextmanager
async def owner(settings: PostgresSettings) -> AsyncIterator[Connection]:
    """A connection as the one who owns the tables."""
    connection = await connect(settings, name="test")
    try:
        yield connection
    finally:
        await close(connection)


@dataclass
class Book:
    """All that the store holds of one community's book."""

    community: str
    events: list[Any]
    envelopes: list[Any]
    tiles: list[Any]
    heads: dict[str, Head]
    fence: Any
    quarantine: list[Any]

    def codes(self) -> list[tuple[str, int]]:
        """Code and count of what stands in quarantine."""
        return sorted((row["code"], row["times"]) for row in self.quarantine)


async def read_book(settings: PostgresSettings, community: str) -> Book:
    """What the store holds of `community`."""
    async with owner(settings) as connection:
        fetch = connection.fetch
        heads = await fetch("SELECT * FROM book.stream_heads WHERE community = $1", community)
        fences = await fetch("SELECT * FROM book.communities WHERE community = $1", community)
        return Book(
            community,
            await fetch("SELECT * FROM book.events WHERE community = $1 ORDER BY position", community),
            await fetch("SELECT * FROM book.envelopes WHERE community = $1 ORDER BY position", community),
            await fetch("SELECT * FROM book.tiles WHERE community = $1 ORDER BY level, index", community),
            {row["stream"]: Head(row["sequence"], row["hash"]) for row in heads},
            fences[0] if fences else None,
            await fetch("SELECT * FROM book.quarantine WHERE community = $1 ORDER BY first_at", community),
        )


def check_book(book: Book, verifier: Verifier, keys: list[PublicKey]) -> None:
    """Recompute the whole book from its bodies; `keys` are all that ever signed in it."""
    assert [row["position"] for row in book.events] == list(range(len(book.events))), "no gap, no overlap"
    heads: dict[str, Head] = {}
    hashes: dict[tuple[str, int], bytes] = {}
    for row in book.events:
        stream, before = row["stream"], heads.get(row["stream"], EMPTY)
        assert row["sequence"] == before.sequence + 1
        body_hash = sha256(row["body"]).digest()
        link = entry_hash(entry_bytes(book.community, stream, row["sequence"], before.hash, body_hash))
        assert (row["body_hash"], row["entry_hash"]) == (body_hash, link)
        heads[stream] = Head(row["sequence"], link)
        hashes[stream, row["sequence"]] = link
    assert book.heads == heads
    _check_log(book, [row["entry_hash"] for row in book.events], verifier)
    _check_envelopes(book, hashes, keys)


def _check_log(book: Book, leaves: list[bytes], verifier: Verifier) -> None:
    root = root_hash(leaves)
    assert (book.fence["size"], book.fence["root"]) == (len(leaves), root)
    if leaves:
        checkpoint = open_checkpoint(book.fence["checkpoint"], verifier)
        assert (checkpoint.size, checkpoint.root) == (len(leaves), root)
    full = [tile for tile in tiles_of(len(leaves)) if tile.width == WIDTH]
    assert [(row["level"], row["index"]) for row in book.tiles] == [(t.level, t.index) for t in full]
    for row in book.tiles:
        span = WIDTH ** row["level"]
        begin = row["index"] * span * WIDTH
        parts = [leaves[at : at + span] for at in range(begin, begin + span * WIDTH, span)]
        assert row["hashes"] == b"".join(root_hash(part) for part in parts)
        assert row["root"] == root_hash(leaves[begin : begin + span * WIDTH])


def _check_envelopes(book: Book, hashes: dict[tuple[str, int], bytes], keys: list[PublicKey]) -> None:
    known = {public.id: public for public in keys}
    runs_of = {}
    for row in book.envelopes:
        runs = msgspec.json.decode(row["runs"], type=list[RunHeader])
        heads = [RunHead(run.stream, run.first, run.last, hashes[run.stream, run.last]) for run in runs]
        text = signed_text(book.community, row["device"], heads)
        assert known[row["key"]].verifies(row["signature"], text), "every event's signature can be shown"
        runs_of[row["position"]] = runs
    for row in book.events:
        assert any(
            run.stream == row["stream"] and run.first <= row["sequence"] <= run.last
            for run in runs_of[row["envelope"]]
        )


async def projections(
    connection: Connection, *, schema: str = "projection", community: str | None = None
) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the projections (of one community), table by table, in one order."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    async with connection.transaction(isolation="repeatable_read"):
        for table in PROJECTIONS:
            rows = await connection.fetch(
                f"SELECT * FROM {schema}.{table} WHERE $1::text IS NULL OR community = $1",  # noqa: S608 - our own names
                community,
            )
            found[table] = sorted((tuple(row) for row in rows), key=repr)
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
        assert {row["tablename"] for row in tables} == {*TABLES, "version"}, "a table is not looked at"
    return found
