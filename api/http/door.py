"""The door for envelopes: what nobody known has signed is answered here, and reaches neither bus nor store.

The writer would refuse the same, by the same rules, but only after JetStream has kept it, and would put it
into quarantine for somebody to look at. Whoever has no key could fill both. What a known key has signed goes
on to the writer, whatever it says: only the writer knows where the chains stand. What a key has signed that
counts no more goes on if the book holds all of it: a device that lost the receipt is given another.

The registry is followed in the book itself, not in the projections, so a key counts here as soon as its
receipt was given. What is remembered is looked at first; the book is asked when that is a second old, and
before somebody is refused whom it does not know. While the store is away, who is remembered may go on.
"""

import asyncio
from hashlib import sha256

import structlog

from ledger import admission
from ledger.clock import Clock, monotonic_seconds
from ledger.errors import BadInput, Unavailable
from ledger.events import read_recorded
from ledger.keys import PublicKey, SigningKey
from ledger.planner import refusal
from ledger.postgres.devices import DeviceStore
from ledger.receipt import Answer, sign_receipts
from ledger.registry import NotPermitted, Registry, UnknownDevice

log = structlog.get_logger(__name__)

FRESH_SECONDS = 1.0
PERHAPS_NEW = (UnknownDevice, NotPermitted)
"""Refusals that an event may undo which was recorded a moment ago."""


class Door:
    """One process's, for one community. `service` signs its refusals as it signs the writer's."""

    def __init__(self, store: DeviceStore, community: str, service: SigningKey, clock: Clock) -> None:
        self.community = community
        self._store = store
        self._service = service
        self._clock = clock
        self._registry = Registry(community)
        self._next = 0  # position in the book that is read next
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()

    @property
    def service(self) -> PublicKey:
        """Who signs the ledger's answers."""
        return self._service.public

    async def refused(self, device: str, data: bytes) -> tuple[Answer, bytes] | None:
        """Why nobody known has signed this, and the receipt that says so; none where it may go on.

        Raises `StoreUnavailable` where it cannot be known.
        """
        came_at = monotonic_seconds()
        try:
            await self._look(came_at - FRESH_SECONDS)
        except Unavailable:
            if self._looked_at is None:
                raise
        error = await self._judged(data)
        if isinstance(error, PERHAPS_NEW):
            await self._look(came_at)
            error = await self._judged(data)
        if error is None:
            return None
        log.info("refused at the door", device=device, code=error.code, what=error.what[:200])
        answer = Answer(
            code=error.code, community=self.community, device=device, envelope=sha256(data).hexdigest(),
            heads=[], recorded_at=self._clock.now().replace(microsecond=0), refusal=refusal(error),
        )  # fmt: skip
        return answer, sign_receipts(self.community, [answer], self._service)[0]

    async def _judged(self, data: bytes) -> BadInput | None:
        try:
            unverified = admission.read(data, self._registry, self._service.public)
            admission.check_genuine(unverified, unverified.is_genuine())
        except BadInput as error:
            return error
        if unverified.refused is None:
            return None
        recorded = await self._store.recorded(admission.ends(unverified))
        return None if admission.is_recorded(unverified, recorded) else unverified.refused

    async def _look(self, since: float) -> None:
        """Know all that the book had at an instant of the monotonic clock."""
        async with self._looking:
            if self._looked_at is not None and self._looked_at >= since:
                return
            now = monotonic_seconds()
            rows = await self._store.registry_after(self._next)
            for (position, _), event in zip(rows, read_recorded([body for _, body in rows]), strict=True):
                self._registry.apply(event)
                self._next = position + 1
            self._looked_at = now
