"""The settler as a service: steps as long as it is asked to, and waits out what stands in its way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from ledger.bus import Bus
from ledger.clock import Clock
from ledger.errors import LedgerError
from ledger.keys import SigningKey
from ledger.market_events import SettlementRun
from ledger.postgres.settlement import SettlementStore
from ledger.services import registry_of
from ledger.settings import Settings
from ledger.stopping import BrokenOff, unless_stopped
from settlement.rules_in_force import RulesInForce
from settlement.settings import MarketSettings
from settlement.settlement_stream import SettlementStream
from settlement.settler import Settler

log = structlog.get_logger(__name__)

POLL_SECONDS = 5.0
RETRY_SECONDS = 10.0
MOST_A_RUN = 2_880
"""Intervals that one run settles for the first time, about thirty days: what takes long is kept by and by."""


@asynccontextmanager
async def settler(
    settings: Settings, market: MarketSettings, bus: Bus, key: SigningKey, clock: Clock
) -> AsyncIterator[Settler]:
    """A settler that records its runs over the bus, signed by the ledger's service whose `key` this is.

    Raises `SettlerAtWork` where there is one already: the claim comes before anything is read.
    """
    community = settings.community.id
    stream = SettlementStream(bus, community, key)
    async with await SettlementStore.open(settings.postgres) as store:

        async def record(run: SettlementRun) -> None:
            # A settler that was killed may have sent this run: the book is asked, as projections may lag
            # behind. If it is still under way, the same event from the same head is the same entry, and a
            # duplicate.
            async with store.turn(community):
                if await store.recorded(community) < run.number:
                    await stream.append([run])

        await store.claim(community)
        await stream.open()
        grace = timedelta(minutes=market.settle_after_minutes)
        yield Settler(community, store, record, clock, grace)


async def keep_settling(
    settings: Settings, market: MarketSettings, bus: Bus, key: SigningKey, clock: Clock, stop: asyncio.Event
) -> None:
    """Settle until `stop` is set. What fails is told once and tried again: nothing is posted halfway.

    What will stand in the way of the interval under way is told before it has closed. A run under way when
    `stop` is set has a second left; then it is rolled back, and made at the next start.
    """
    told: str | None = None  # what stands in the way; not known yet
    while not stop.is_set():
        try:
            async with settler(settings, market, bus, key, clock) as running:
                while not stop.is_set():
                    await unless_stopped(running.step(MOST_A_RUN), stop)
                    if running.is_behind:
                        continue
                    if told != "":
                        await _check_price(settings, clock)
                    if told:
                        log.info("settlement goes on", community=settings.community.id)
                    told = ""
                    await _wait(stop, POLL_SECONDS)
        except BrokenOff:
            log.warning("settler stopped within a run: it is rolled back, and made anew at the next start")
        except LedgerError as error:
            if str(error) != told:
                log.error(
                    "settlement waits", code=error.code, what=error.what, where=error.where, hint=error.hint
                )
            told = str(error)
            await _wait(stop, RETRY_SECONDS)


async def _check_price(settings: Settings, clock: Clock) -> None:
    """Return if the book says what the grid asks and gives now. Raises what a tariff can lack."""
    now = clock.now()
    in_force = RulesInForce(await registry_of(settings)).at(now)
    if in_force is not None:
        in_force.tariff.band(int(now.timestamp()))


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
