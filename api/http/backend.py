"""What handlers work with: store, bus, the ledger's keys, the clock. Made once, by whoever serves."""

from dataclasses import dataclass, field

from api.http.door import Door
from api.http.envelopes import Envelopes
from api.http.held_files import Extracts
from api.http.limits import Limits, RateLimit
from api.http.logins import Logins
from api.http.operator_signing import Operator
from api.http.principal import Keys
from api.http.readiness import Parts
from api.http.recording import Recorder
from api.http.sessions import Sessions
from api.http.settings import ApiSettings
from api.http.what_if import WhatIf
from api.webhooks.parts import Webhooks
from ledger.bus import Bus
from ledger.clock import Clock
from ledger.opening import LedgerKeys
from ledger.outgoing.addresses import networks
from ledger.outgoing.door import Outgoing
from ledger.postgres.access import AccessStore
from ledger.postgres.devices import DeviceStore
from ledger.postgres.people import PeopleStore
from ledger.postgres.pool import Pool
from ledger.settings import Settings
from settlement.billing.settings import BillingSettings


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
    limits: Limits = field(default_factory=Limits)
    access: AccessStore = field(init=False)
    keys: Keys = field(init=False)
    door: Door = field(init=False)
    people: PeopleStore = field(init=False)
    sessions: Sessions = field(init=False)
    logins: Logins = field(init=False)
    envelopes: Envelopes = field(init=False)
    operator: Operator = field(init=False)
    limit: RateLimit = field(init=False)
    strangers: RateLimit = field(init=False)
    recorder: Recorder = field(init=False)
    what_if: WhatIf = field(init=False)
    webhooks: Webhooks = field(init=False)
    parts: Parts = field(init=False)
    extracts: Extracts = field(default_factory=Extracts)
    buildings: set[str] = field(default_factory=set)  # that were asked for and are in the book, for good

    def __post_init__(self) -> None:
        self.access = AccessStore(self.pool.whole)
        self.keys = Keys(self.access, self.clock)
        self.door = Door(
            DeviceStore(self.pool.whole, self.community), self.community, self.ledger.service, self.clock
        )
        self.envelopes = Envelopes(self.bus, self.door, self.limits)
        self.people = PeopleStore(self.pool.whole)
        self.sessions = Sessions(self.people, self.clock)
        self.logins = Logins(self.people, self.community, self.clock, limits=self.limits)
        self.operator = Operator(self.pool.whole, self.bus, self.community, self.ledger)
        self.limit = self.limits.limit("keys", self.settings.requests_a_minute, "who asks")
        self.strangers = self.limits.limit(
            "strangers", self.settings.requests_a_minute_without_key, "this address"
        )
        self.what_if = WhatIf()
        self.recorder = Recorder(self.bus, self.community, self.ledger.service)
        outgoing = Outgoing(networks(self.settings.outgoing_allow))
        self.webhooks = Webhooks.of(self.pool.whole, self.community, self.ledger.service, outgoing)
        self.parts = Parts(self.pool.whole, self.bus, self.community)

    @property
    def community(self) -> str:
        """Whose book it is."""
        return self.book.community.id
