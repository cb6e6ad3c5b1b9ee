"""`settle_store`: a city block's month settled as one run in Postgres, against a bare COPY of what it posted.

The energies are put where the projector would have put them. Reading them, clearing every interval, the
journal, the run's digest and writing it all are measured. `settle_store_memory` is the most that the settling
process took.
"""

import asyncio
import random
import resource
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import uvloop

from ledger.clock import VirtualClock
from ledger.embedded import EmbeddedPostgres
from ledger.event import Event
from ledger.events import BuildingAdded, FeederAdded, MeterAdded, MeterAssigned
from ledger.market_events import MarketRulesPublished, SettlementRun, TariffPublished
from ledger.postgres import PostgresSettings
from ledger.postgres.settlement import SettlementStore
from ledger.projector import Projector
from ledger.registry import OPERATOR
from settlement.settler import Settler
from tests.benchmarks.rows import Row, row, server_folder, timed
from tests.support.campus import GATEWAY, MORNING, QUARTER, Campus, record
from tests.support.store import migrated, owner
from tests.support.trading import FLAT

COMMUNITY = "campus"
BUILDINGS, DAYS, DAY = 1_000, 30, 96
FEEDERS = 5
BARE_ROWS = 500_000
SECONDS_MAX = 60
POSTINGS = """
SELECT community, start, run, reversal, number, kind, account, energy_milliwh, amount_micro
FROM settlement.postings
"""


def _facts(buildings: int) -> Iterator[Event]:
    """Buildings with a meter each."""
    since = MORNING - timedelta(days=30)
    for number in range(2, FEEDERS + 1):
        yield FeederAdded(feeder=f"f-{number}", name="")
    for number in range(1, buildings + 1):
        building, meter = f"b-{number}", f"m-{number}"
        if number > 1:
            yield BuildingAdded(building=building, feeder=f"f-{1 + number % FEEDERS}", name="")
        yield MeterAdded(
            meter=meter, role="connection", model="x", rated_w=69_000, since=since, building=building
        )
        yield MeterAssigned(meter=meter, device=GATEWAY, since=since)


def _energies(buildings: int, day: int) -> Iterator[tuple[Any, ...]]:
    """A day of intervals in which every third building gives and the others take."""
    draw = random.Random(day)
    for meter in range(1, buildings + 1):
        for quarter in range(day * DAY, (day + 1) * DAY):
            taken, given = (0, draw.randint(0, 9_000)) if meter % 3 == 0 else (draw.randint(0, 4_000), 0)
            start = MORNING + quarter * QUARTER
            yield COMMUNITY, f"m-{meter}", start, taken, given, 0, 0, "measured", "measured", 1, 0, 0


async def fill(store: PostgresSettings, buildings: int, days: int) -> None:
    """A book with rules and buildings, and energies as if their readings had been projected."""
    campus = Campus(COMMUNITY, meters=0)
    writer = await campus.opened(store, VirtualClock(MORNING))
    facts = list(_facts(buildings))
    rules = MarketRulesPublished(
        begin=MORNING, mechanism="mid_market_rate", tariff="flat", gate_minutes=0, final_days=60
    )
    streams: dict[str, list[Event]] = {"market": [TariffPublished(tariff="flat", document=FLAT), rules]}
    for begin in range(0, len(facts), 400):
        answers = await record(
            writer, OPERATOR, campus.envelope(OPERATOR, {"registry": facts[begin : begin + 400]})
        )
        assert answers == ["recorded"]
    assert await record(writer, OPERATOR, campus.envelope(OPERATOR, streams)) == ["recorded"]
    await campus.close()
    projector = Projector(store)
    await projector.catch_up()
    await projector.close()
    async with owner(store) as connection:
        for day in range(days):
            await connection.copy_records_to_table(
                "meter_intervals", schema_name="projection", records=_energies(buildings, day)
            )
        await connection.execute("ANALYZE projection.meter_intervals")


async def _settle(dsn: str, days: int) -> dict[str, float]:
    """Settle all that closed as one run; the seconds and the most memory that it took."""

    async def record_nowhere(run: SettlementRun) -> None:
        """What is measured ends before the book."""

    async with await SettlementStore.open(PostgresSettings(url=dsn)) as store:
        clock = VirtualClock(MORNING + days * DAY * QUARTER)
        with timed() as watch:
            (run,) = await Settler(COMMUNITY, store, record_nowhere, clock, timedelta()).step()
    assert run.settled == days * DAY
    return {"seconds": watch.seconds, "kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


async def _settle_apart(store: PostgresSettings, days: int) -> dict[str, float]:
    """The same in a process of its own, so that nothing else counts as its memory."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.stored_settlement", store.url, str(days),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told, _ = await process.communicate()
    found: dict[str, float] = msgspec.json.decode(told.splitlines()[-1])  # logs stand before it
    return found


async def _bare(store: PostgresSettings) -> float:
    """Seconds for a bare COPY of all that was posted into an equal table, from the first rows of it."""
    connection = await asyncpg.connect(store.url)
    try:
        total = await connection.fetchval("SELECT count(*) FROM settlement.postings")
        rows = [tuple(each) for each in await connection.fetch(f"{POSTINGS} LIMIT {BARE_ROWS}")]
        await connection.execute(f"CREATE TABLE bare AS {POSTINGS} WITH NO DATA")
        with timed() as watch:
            await connection.copy_records_to_table("bare", records=rows)
        await connection.execute("DROP TABLE bare")
    finally:
        await connection.close()
    return float(watch.seconds * total / len(rows))


async def measure(buildings: int, days: int) -> list[Row]:
    """The rows for so many buildings and days."""
    with server_folder("ledger-bench-") as folder:
        async with EmbeddedPostgres(folder / "postgres") as server:
            store = await migrated(server.dsn)
            await fill(store, buildings, days)
            found = await _settle_apart(store, days)
            bare = await _bare(store)
    what = f"bare COPY of its postings; {buildings:,} buildings x {days} days, one run"
    return [
        row("settle_store", found["seconds"], "s", bare, target=f"<= {SECONDS_MAX} s", what=what),
        row("settle_store_memory", found["kib"] / 1024, "MB", target="flat in days", what=f"{days} days"),
    ]


async def rows() -> list[Row]:
    """The rows of this file."""
    return [*await measure(BUILDINGS, 1), *await measure(BUILDINGS, DAYS)]


if __name__ == "__main__":
    print(msgspec.json.encode(uvloop.run(_settle(sys.argv[1], int(sys.argv[2])))).decode())
