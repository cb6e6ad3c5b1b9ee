"""What handlers work with: store, bus, the ledger's keys, the clock. Made once, by whoever serves."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field

from api.http.door import Door
from api.http.envelopes import Envelopes
from api.http.limits import RateLimit
from api.http.operator_signing import Operator
from api.http.principal import Keys
from api.http.recording import Recorder
from api.http.settings import ApiSettings
from api.http.what_if import WhatIf
from ledger.bus import Bus
from ledger.clock import Clock
from ledger.errors import LedgerError
from ledger.opening import LedgerKeys
from ledger.postgres.access import AccessStore
from ledger.postgres.devices import DeviceStore
from ledger.postgres.health import pending_migrations, read_health
from ledger.postgres.pool import Pool
from ledger.settings import Settings
from ledger.words import counted
from settlement.billing.settings import BillingSettings

LAG_EVENTS_MAX = 10_000
EXTRACTS_AT_ONCE = 2


@dataclass
class Backend:
    """One community's. `ledger` are the keys by which events are signed on somebody's behalf."""

    book: Settings
    settings: ApiSettings
    pool: Pool
    bus: Bus
    ledger: LedgerKeys
    clock: Clock
    billing: BillingSettings = field(default_factory=BillingSettings)
    access: AccessStore = field(init=False)
    keys: Keys = field(init=False)
    door: Door = field(init=False)
    envelopes: Envelopes = field(init=False)
    operator: Operator = field(init=False)
    limit: RateLimit = field(init=False)
    strangers: RateLimit = field(init=False)
    recorder: Recorder = field(init=False)
    what_if: WhatIf = field(init=False)
    extracts: asyncio.Semaphore = field(init=False)  # each holds a connection for long
    buildings: set[str] = field(default_factory=set)  # that were asked for and are in the book, for good

    def __post_init__(self) -> None:
        self.access = AccessStore(self.pool)
        self.keys = Keys(self.access, self.clock)
        self.door = Door(
            DeviceStore(self.pool, self.community), self.community, self.ledger.service, self.clock
        )
        self.envelopes = Envelopes(self.bus, self.door)
        self.operator = Operator(self.pool, self.bus, self.community, self.ledger)
        self.limit = RateLimit(self.settings.requests_a_minute, "this key")
        self.strangers = RateLimit(self.settings.requests_a_minute_without_key, "this address")
        self.what_if = WhatIf()
        self.recorder = Recorder(self.bus, self.community, self.ledger.service)
        self.extracts = asyncio.Semaphore(EXTRACTS_AT_ONCE)

    @property
    def community(self) -> str:
        """Whose book it is."""
        return self.book.community.id

    async def parts(self) -> dict[str, str]:
        """What each part says of itself: `ok`, or what is wrong with it."""
        return {
            "migrations": await _said(self._migrations()),
            "projections": await _said(self._projections()),
            "jetstream": await _said(self._jetstream()),
        }

    async def _migrations(self) -> str:
        waiting = await pending_migrations(self.pool)
        return f"{counted(len(waiting), 'migration')} to be run" if waiting else "ok"

    async def _projections(self) -> str:
        health = await read_health(self.pool, self.community)
        if not health.size:
            return "the book was not opened yet"
        return "ok" if health.lag <= LAG_EVENTS_MAX else f"{health.lag:,} events behind"

    async def _jetstream(self) -> str:
        await self.bus.check_sync()
        return "ok"


async def _said(part: Awaitable[str]) -> str:
    try:
        return await part
    except LedgerError as error:
        return f"{error.code}: {error.what}"
