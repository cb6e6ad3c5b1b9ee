"""Whether requests can be sent to this process: what each part that it needs says of itself.

Anybody may ask, as often as they like: so the parts are looked at once a second at most, by one at a time.
"""

import asyncio
from collections.abc import Awaitable, Mapping

from ledger.bus import Bus
from ledger.clock import monotonic_seconds
from ledger.errors import LedgerError
from ledger.postgres.health import pending_migrations, read_health
from ledger.postgres.pool import Pool
from ledger.words import counted

LAG_EVENTS_MAX = 10_000
REMEMBERED_SECONDS = 1.0
ANSWER_SECONDS = 6
"""A little longer than the parts need to say themselves that they have none."""
WELL = "ok"
JETSTREAM = "jetstream"


class Parts:
    """The parts of one community's API."""

    def __init__(self, pool: Pool, bus: Bus, community: str) -> None:
        self._pool = pool
        self._bus = bus
        self._community = community
        self._looking = asyncio.Lock()
        self._said: tuple[float, Mapping[str, str]] | None = None

    async def said(self) -> Mapping[str, str]:
        """What each part says of itself: `ok`, or what is wrong with it; as of a second ago at the most."""
        async with self._looking:
            if self._said is None or monotonic_seconds() - self._said[0] >= REMEMBERED_SECONDS:
                words = await asyncio.gather(
                    _word(self._migrations()), _word(self._projections()), _word(self._jetstream())
                )
                parts = dict(zip(("migrations", "projections", JETSTREAM), words, strict=True))
                self._said = monotonic_seconds(), parts
            return self._said[1]

    async def _migrations(self) -> str:
        waiting = await pending_migrations(self._pool)
        return f"{counted(len(waiting), 'migration')} to be run" if waiting else WELL

    async def _projections(self) -> str:
        health = await read_health(self._pool, self._community)
        if not health.size:
            return "the book was not opened yet"
        return WELL if health.lag <= LAG_EVENTS_MAX else f"{health.lag:,} events behind"

    async def _jetstream(self) -> str:
        await self._bus.check_sync()
        await self._bus.check_stores()
        return WELL


async def _word(part: Awaitable[str]) -> str:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await part
    except TimeoutError:
        return f"no answer within {ANSWER_SECONDS} seconds"
    except LedgerError as error:
        return f"{error.code}: {error.what}" + (f"; {error.hint}" if error.hint else "")
