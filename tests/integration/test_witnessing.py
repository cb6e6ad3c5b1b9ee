"""The log is witnessed: on a real store, by witnesses over HTTP that know C2SP's text and nothing of ours."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from ledger.clock import SystemClock, monotonic_seconds
from ledger.cosignature import cosignature_of, witness_key
from ledger.export import NothingToExport, export_community
from ledger.extract import export_meter
from ledger.note import open_checkpoint
from ledger.outgoing.addresses import networks
from ledger.outgoing.door import Outgoing
from ledger.postgres import PostgresSettings
from ledger.postgres.connection import APP, connect
from ledger.postgres.exporter import open_snapshot
from ledger.postgres.log import LogStore
from ledger.postgres.pool import Pool
from ledger.postgres.witnesses import WitnessStanding, WitnessStore, leading, read_witnesses
from ledger.verify import verify_file
from ledger.witness_settings import LogSettings, WitnessSettings
from ledger.witnessing import Lead, Witnessing
from tests.support.campus import GATEWAY, Campus, record
from tests.support.receiver import Received, answer
from tests.support.witness import Witness, witnessing

WAIT_SECONDS = 20
ORIGIN = "ledger.example/campus"


class Site:
    """A book that grows, and who reads of it what others are given."""

    def __init__(self, store: PostgresSettings, campus: Campus, writer: Any, pool: Pool) -> None:
        self.store = store
        self.campus = campus
        self.pool = pool
        self._writer = writer
        self._quarter = 0

    async def grow(self, count: int = 3) -> int:
        """Record so many readings; the log's size after them."""
        data = self.campus.read(self._quarter, self._quarter + count)
        self._quarter += count
        assert await record(self._writer, GATEWAY, data) == ["recorded"]
        return open_checkpoint(await self.checkpoint(), self.campus.verifier).size

    def log(self, *witnesses: Witness, quorum: int = 0) -> LogStore:
        return LogStore(self.pool, "campus", settings(*witnesses, quorum=quorum))

    async def checkpoint(self, *witnesses: Witness, quorum: int = 0) -> str:
        return await self.log(*witnesses, quorum=quorum).checkpoint() or ""

    async def standing(self, witness: Witness) -> WitnessStanding:
        (found,) = await read_witnesses(self.pool, "campus", [witness.vkey])
        return found

    async def until_at(self, witness: Witness, size: int) -> None:
        async def is_there() -> bool:
            return (await self.standing(witness)).size == size

        await until(is_there)

    @asynccontextmanager
    async def service(self, *witnesses: Witness, lead: Lead | None = None) -> AsyncIterator[None]:
        """The service of one process."""
        stop = asyncio.Event()
        found = Witnessing(
            lead or (lambda: leading(self.store, "campus")), settings(*witnesses).witnesses,
            Outgoing(networks(["127.0.0.0/8"])), SystemClock(), poll_seconds=0.05,
        )  # fmt: skip
        task = asyncio.ensure_future(found.run(stop))
        try:
            yield
        finally:
            stop.set()
            await task


def settings(*witnesses: Witness, quorum: int = 0) -> LogSettings:
    return LogSettings(tuple(WitnessSettings(each.vkey, each.url) for each in witnesses), quorum)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    end = monotonic_seconds() + WAIT_SECONDS
    while not await is_so():
        assert monotonic_seconds() < end
        await asyncio.sleep(0.02)


def olds(witness: Witness) -> list[int]:
    """The sizes that it was asked to go on from."""
    return [int(each.body.split(b"\n")[0].removeprefix(b"old ")) for each in witness.receiver.received]


@pytest.fixture
async def site(database: str) -> AsyncIterator[Site]:
    store, campus = PostgresSettings(url=database), Campus("campus")
    writer = await campus.opened(store)
    pool = await Pool.open(store, 4)
    yield Site(store, campus, writer, pool)
    await pool.close()
    await campus.close()


@pytest.fixture
async def witness(site: Site) -> AsyncIterator[Witness]:
    async with witnessing(Witness()) as found:
        found.logs[ORIGIN] = site.campus.log_key.public.bytes
        yield found


async def test_what_a_witness_cosigned_is_served_under_the_checkpoint(site: Site, witness: Witness) -> None:
    async with site.service(witness):
        for _ in range(3):
            size = await site.grow()
            await site.until_at(witness, size)
            note = await site.checkpoint(witness, quorum=1)
            assert open_checkpoint(note, site.campus.verifier).size == size
            assert cosignature_of(note, witness_key(witness.vkey)) is not None
    assert olds(witness) == sorted(set(olds(witness))), "each time from what it had cosigned before"


async def test_with_a_quorum_others_are_given_what_has_it_and_proofs_lead_there(
    site: Site, witness: Witness
) -> None:
    async with witnessing(Witness("witness.example/w2")) as other:
        other.logs[ORIGIN] = site.campus.log_key.public.bytes
        assert await site.checkpoint(witness, other, quorum=2) == ""
        first = await site.grow()
        async with site.service(witness, other):
            await site.until_at(witness, first)
            await site.until_at(other, first)
        second = await site.grow()
        async with site.service(witness):
            await site.until_at(witness, second)
        log = site.log(witness, other, quorum=2)
        note = await log.checkpoint() or ""
        assert open_checkpoint(note, site.campus.verifier).size == first
        assert note.count("\n— witness.example/") == 2
        newest = await site.checkpoint(witness, other, quorum=1)
        assert open_checkpoint(newest, site.campus.verifier).size == second
        old, new = await log.inclusion("meter/m-0", 1), await log.inclusion("meter/m-0", 4)
        assert old is not None
        assert (old.checkpoint, new) == (note, None), "what is newer is not published yet"
        found = await log.consistency(2)
        assert found is not None
        assert (found[0], found[2]) == (first, note)
        assert "witness" not in await site.checkpoint(quorum=0), "who is not in the settings does not count"


async def test_a_quorum_is_reached_however_fast_the_log_grows(site: Site, witness: Witness) -> None:
    turn = asyncio.Lock()

    @asynccontextmanager
    async def growing() -> AsyncIterator[WitnessStore | None]:
        """The store, where a batch is committed before each witness is brought something."""
        async with leading(site.store, "campus") as store:
            assert store is not None
            standing = store.standing

            async def grown(key: str) -> int:
                async with turn:
                    await site.grow(1)
                return await standing(key)

            store.standing = grown  # type: ignore[method-assign, assignment]  # it is behind this
            yield store

    async with witnessing(Witness("witness.example/w2")) as other:
        other.logs[ORIGIN] = site.campus.log_key.public.bytes

        async def is_reached() -> bool:
            return await site.checkpoint(witness, other, quorum=2) != ""

        await site.grow()
        async with site.service(witness, other, lead=growing):
            await until(is_reached)
        assert witness.cosigned.keys() == other.cosigned.keys() == {ORIGIN}


async def test_an_export_with_a_quorum_ends_at_what_the_witness_has_seen_and_proves_it_offline(
    site: Site, witness: Witness, tmp_path: Path
) -> None:
    log = settings(witness, quorum=1)
    async with open_snapshot(site.store) as snapshot:
        with pytest.raises(NothingToExport, match="cosigned by 1"):
            await export_community(snapshot, "campus", tmp_path / "none.jsonl", log=log)
    size = await site.grow()
    async with site.service(witness):
        await site.until_at(witness, size)
    await site.grow(20)
    book, extract, later = tmp_path / "book.jsonl", tmp_path / "meter.jsonl", tmp_path / "later.jsonl"
    async with open_snapshot(site.store) as snapshot:
        assert (await export_community(snapshot, "campus", book, log=log)).size == size
        assert (await export_meter(snapshot, "campus", "m-0", extract, log=log)).size == size
        assert (await export_community(snapshot, "campus", later)).size == size + 20
    key = str(site.campus.verifier)
    for path, holds in ((book, True), (extract, True), (later, False)):
        assert verify_file(path, key, witnesses=[witness.vkey]).verified is holds, path
        assert verify_file(path, key).verified


async def test_a_witness_that_lost_its_memory_or_knows_more_tells_where_to_go_on(
    site: Site, witness: Witness
) -> None:
    size = await site.grow()
    async with site.service(witness):
        await site.until_at(witness, size)
        witness.cosigned.clear()
        size = await site.grow()
        await site.until_at(witness, size)
        assert olds(witness)[-1] == 0
    async with connection_of(site, owner=True) as store:  # as if a process had died before it kept the answer
        await store.execute("ALTER TABLE book.cosignatures DISABLE TRIGGER append_only")
        await store.execute("DELETE FROM book.cosignatures WHERE size = $1", size)
    async with site.service(witness):
        await site.until_at(witness, size)
        assert olds(witness)[-1] == size, "the same checkpoint is cosigned again"


async def test_a_witness_that_saw_another_book_is_told_of_and_nothing_is_kept(
    site: Site, witness: Witness
) -> None:
    size = await site.grow()
    root = bytes(32)
    ahead, other, same_size = (size + 5, root), (size - 1, root), (size, root)
    for code, seen in (
        ("witness-ahead", ahead), ("witness-inconsistent", other), ("witness-inconsistent", same_size),
    ):  # fmt: skip
        witness.cosigned[ORIGIN] = seen
        with capture_logs() as told:
            async with site.service(witness):
                await until(partial(said, told, code))
        assert (await site.standing(witness)).size == 0


async def said(told: Sequence[Any], code: str) -> bool:
    return any(each.get("code") == code for each in told)


async def test_what_a_witness_answers_wrongly_is_coded_and_never_kept(site: Site, witness: Witness) -> None:
    await site.grow()
    stranger = Witness("witness.example/stranger")
    lines = stranger.cosign((await site.checkpoint()).partition("\n\n")[0] + "\n").encode()
    size_type = "Content-Type: text/x.tlog.size"
    answers = [
        ("witness-refuses", answer(400)),
        ("witness-key-unknown", answer(403)),
        ("witness-log-unknown", answer(404)),
        ("witness-failed", answer(503)),
        ("witness-failed", answer(409, b"12", "Content-Type: text/plain")),
        ("witness-failed", answer(409, b"012\n", size_type)),
        ("witness-failed", answer(409, b"0\n", size_type)),
        ("witness-failed", answer(302, b"", "Location: http://127.0.0.1:1/")),
        ("cosignature-invalid", answer(200, lines)),
        ("cosignature-invalid", answer(200)),
        ("cosignature-invalid", answer(200, b"x\n\n" + lines)),
        ("cosignature-invalid", answer(200, b"\xff")),
        ("note-invalid", answer(200, b"thank you\n")),
        ("outgoing-too-long", answer(200, lines * 1_000)),
    ]
    for code, answering in answers:
        witness.receiver.answering = answering
        with capture_logs() as told:
            async with site.service(witness):
                await until(partial(said, told, code))
        assert (await site.standing(witness)).size == 0, code


@pytest.mark.parametrize(("forges", "ahead"), [(True, 0), (False, 3_600), (False, -(10**9))])
async def test_a_cosignature_that_is_forged_or_of_another_time_is_not_kept(
    site: Site, witness: Witness, forges: bool, ahead: int
) -> None:
    await site.grow()
    witness.forges, witness.clock_seconds = forges, ahead
    with capture_logs() as told:
        async with site.service(witness):
            await until(partial(said, told, "cosignature-invalid"))
    assert (await site.standing(witness)).size == 0


async def test_one_that_hangs_keeps_nobody_else_waiting_and_no_stop(site: Site, witness: Witness) -> None:
    async def hang(_: Received, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(WAIT_SECONDS)

    async with witnessing(Witness("witness.example/slow")) as slow:
        slow.receiver.answering = hang
        size = await site.grow()
        async with site.service(slow, witness):
            await site.until_at(witness, size)
            begin = monotonic_seconds()
        assert monotonic_seconds() - begin < 5


async def test_of_two_processes_one_asks_and_the_other_takes_over(site: Site, witness: Witness) -> None:
    size = await site.grow()
    async with site.service(witness):
        await site.until_at(witness, size)
        async with leading(site.store, "campus") as store:
            assert store is None, "another process leads"
        async with site.service(witness):
            for _ in range(3):
                size = await site.grow()
                await site.until_at(witness, size)
            assert olds(witness) == sorted(set(olds(witness))), "each size was brought once"
            async with connection_of(site, owner=True) as store_owner:  # the one that leads is cut off
                await store_owner.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'energy-ledger witnesses'"
                )
            size = await site.grow()
            await site.until_at(witness, size)


async def test_a_cosignature_cannot_be_changed(site: Site, witness: Witness) -> None:
    size = await site.grow()
    async with site.service(witness):
        await site.until_at(witness, size)
    for table in ("witnessed", "cosignatures"):
        for change in (
            f"DELETE FROM book.{table}",  # noqa: S608 - of the line above
            f"UPDATE book.{table} SET size = 1",  # noqa: S608 - of the line above
            f"TRUNCATE book.{table}",
        ):
            async with connection_of(site) as service:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await service.execute(change)
            async with connection_of(site, owner=True) as store:
                with pytest.raises(
                    (asyncpg.IntegrityConstraintViolationError, asyncpg.FeatureNotSupportedError)
                ):
                    await store.execute(change)


@asynccontextmanager
async def connection_of(site: Site, *, owner: bool = False) -> AsyncIterator[Any]:
    connection = await connect(site.store, name="test", role="" if owner else APP)
    try:
        yield connection
    finally:
        await connection.close()
