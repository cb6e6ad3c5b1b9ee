"""Everything is killed under load, alone and together, and no reading is lost, doubled or moved.

Real processes read real sockets and are ended with SIGKILL at seeded moments. Afterwards every reading that
an outbox ever took is in the book exactly once, in its order; the book proves itself; and the projections are
byte for byte what a rebuild makes of it.

The long version: `SOAK_SECONDS=600 SOAK_SEED=7 pytest -m soak tests/faults/test_kill.py -s`.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from ledger.clock import monotonic_seconds
from tests.faults.kill_support import Site, check, site

GATEWAYS = {"gw-1": ("m-1", "m-2", "m-3"), "gw-2": ("m-4", "m-5")}
REFUSED = {"sequence-gap", "chain-broken"}
"""What may stand in quarantine: envelopes that came before others that were lost."""
PARTS = (*GATEWAYS, "nats", "writer", "projector", "postgres")
SEED = int(os.environ.get("SOAK_SEED", "1"))
SOAK_SECONDS = int(os.environ.get("SOAK_SECONDS", "150"))


async def wipe_the_store(here: Site, away_seconds: float) -> None:
    """JetStream loses all that it keeps."""
    await here.kill("nats")
    here.wipe_store()
    await asyncio.sleep(away_seconds)
    await here.revive("nats")


async def set_back_the_store(here: Site, away_seconds: float) -> None:
    """JetStream loses what it was told lately, as after a power failure without sync."""
    await here.kill("nats")
    here.save_store()
    await here.revive("nats")
    await here.live(3)
    await here.kill("nats")
    here.set_back_store()
    await asyncio.sleep(away_seconds)
    await here.revive("nats")


async def write_twice(here: Site, away_seconds: float) -> None:
    """A second writer works beside the first."""
    if "writer-2" not in here.services:
        here.add("writer-2", here.services["writer"].command)
    here.services["writer-2"].start()
    await here.live(10)
    await here.kill("writer")
    await here.revive("writer")
    await asyncio.sleep(away_seconds)
    await here.kill("writer-2")


async def hang(here: Site, away_seconds: float) -> None:
    """The writer hangs while another takes over, then goes on with what it remembers."""
    if "writer-2" not in here.services:
        here.add("writer-2", here.services["writer"].command)
    here.services["writer"].send(signal.SIGSTOP)
    here.services["writer-2"].start()
    await here.live(10)
    here.services["writer"].send(signal.SIGCONT)
    await asyncio.sleep(away_seconds)
    await here.kill("writer-2")


@asynccontextmanager
async def running(folder: Path, *, relaxed: bool, **plan: Any) -> AsyncIterator[Site]:
    """A site whose gateways read and send."""
    async with site(folder, GATEWAYS, relaxed=relaxed) as here:
        for name, meters in GATEWAYS.items():
            here.add_gateway(name, meters, **plan).start()
        await here.live(5)
        yield here


TRICKS: tuple[Callable[[Site, float], Awaitable[None]], ...] = (
    wipe_the_store,
    set_back_the_store,
    write_twice,
    hang,
)


async def test_what_was_kept_is_recorded_once_whatever_is_killed(server_folder: Path) -> None:
    chance = random.Random(7)
    async with running(server_folder, relaxed=False) as here:
        for part in PARTS:
            await asyncio.sleep(chance.uniform(0.05, 0.3))
            await here.strike([part], chance.uniform(0, 0.2))
        await here.live(5)
        await check(here, REFUSED)


async def test_what_was_kept_is_recorded_once_whatever_is_killed_together(server_folder: Path) -> None:
    chance = random.Random(8)
    async with running(server_folder, relaxed=True) as here:
        for parts in (("writer", "postgres"), ("nats", "gw-1", "writer")):
            await asyncio.sleep(chance.uniform(0.05, 0.3))
            await here.strike(parts, chance.uniform(0, 0.2))
        await here.live(3)
        for trick in (wipe_the_store, hang):
            await trick(here, 0.1)
        await here.live(3)
        await check(here, REFUSED)


@pytest.mark.soak
@pytest.mark.timeout(SOAK_SECONDS * 3 + 300)
@pytest.mark.parametrize("relaxed", [False, True], ids=["sync always", "sync relaxed"])
async def test_what_was_kept_is_recorded_once_through_hundreds_of_kills(
    server_folder: Path, relaxed: bool
) -> None:
    chance = random.Random(SEED)
    combined = [group for size in (1, 1, 1, 2, 2, 3, 6) for group in combinations(PARTS, size)]
    async with running(server_folder, relaxed=relaxed, faults_percent=5, seed=SEED) as here:
        end = monotonic_seconds() + SOAK_SECONDS
        while monotonic_seconds() < end:
            await here.live(chance.choice((0, 1, 20)))
            await asyncio.sleep(chance.uniform(0, 0.7))
            if chance.random() < 0.2:
                await chance.choice(TRICKS)(here, chance.uniform(0, 0.5))
            else:
                await here.strike(chance.choice(combined), chance.choice((0, 0.1, 0.5, 2)))
        await here.live(5)
        print(f"\nseed {SEED}, {sum(here.kills.values())} kills: {dict(here.kills)}")
        evidence = await check(here, REFUSED)
        print(f"{len(evidence.book.events)} events, quarantine {dict(evidence.codes())}")
        print({Path(name).stem: seen.told() for name, seen in evidence.accounts().items()})
        print({name: service.endings for name, service in here.services.items()})
