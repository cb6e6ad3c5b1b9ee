"""The sender: carries what is in the outbox to the ledger, and lets go of it for a signed receipt only.

Answers are told apart by their code:

    recorded, duplicate                             everything is in the book: release it
    malformed, not-canonical, not-permitted,        one body is refused for good: lay it aside, cut the
    clock-skew, contradiction                       rest anew
    sequence-gap, chain-broken, fork                the book goes on elsewhere: cut anew from its heads
    unknown-device, key-revoked, bad-signature,     the gateway itself is refused: keep everything, slow
    and what is not known here                      down, and say what a person has to do

A receipt that is forged, for another envelope or late changes nothing. Neither does one that never comes: the
same bytes are sent again, once the ledger shows that it is there.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from ingest.alarms import CLOCK_DRIFT, FORK
from ingest.courier import AlarmBell, Courier, Identity, SenderSettings, backoff
from ingest.cut import Cut
from ingest.outbox import Outbox
from ingest.outbox_file import OutboxUnavailable
from ledger.admission import BadSignature, ChainBroken, ClockSkew, Fork, SequenceGap
from ledger.canonical import Malformed, NotCanonical
from ledger.clock import Clock, monotonic_seconds
from ledger.envelope import EVENTS_MAX, seal_envelope
from ledger.errors import BadInput, Contradiction, Unavailable
from ledger.receipt import DUPLICATE, HEADS, RECORDED, Answer, read_receipt
from ledger.registry import KeyIsRevoked, NotPermitted, UnknownDevice

log = structlog.get_logger(__name__)

DRIFT_MAX = timedelta(seconds=60)
FORK_ALARM_SECONDS = 3_600.0


class LedgerNotTrusted(Unavailable):
    """Somebody answered who is not the ledger whose key the settings name."""

    code = "ledger-not-trusted"


class NotEnrolled(Unavailable):
    """The ledger does not know this gateway."""

    code = "not-enrolled"


@dataclass(slots=True)
class Flight:
    """An envelope in flight; `due` is when to send it (again), in monotonic seconds."""

    cut: Cut
    due: float = 0.0
    sends: int = 0
    sent_at: datetime | None = None
    is_doubted: bool = False  # refused for a gap once, although all before it was recorded


@dataclass(slots=True)
class SendCounters:
    """What happened since the sender was made."""

    recorded: int = 0
    resent: int = 0
    forks: int = 0
    ignored: int = 0  # receipts that were forged, late or for another envelope
    last_receipt_at: datetime | None = None


def drift(sent_at: datetime, recorded_at: datetime, received_at: datetime) -> timedelta:
    """How far the ledger's instant lies outside the time in which it must have been."""
    return max(sent_at - recorded_at, recorded_at - received_at, timedelta())


class Sender:
    """Sends one outbox over one connection, for as long as `run` is not cancelled."""

    def __init__(
        self,
        outbox: Outbox,
        bus: Courier,
        identity: Identity,
        clock: Clock,
        bell: AlarmBell,
        settings: SenderSettings | None = None,
        counters: SendCounters | None = None,
    ) -> None:
        self.counters = counters or SendCounters()
        self._outbox = outbox
        self._bus = bus
        self._identity = identity
        self._clock = clock
        self._bell = bell
        self._settings = settings or SenderSettings()
        self._seal = partial(seal_envelope, identity.community, identity.device, identity.key)
        self._flights: dict[str, Flight] = {}
        self._inbox: deque[tuple[Answer, datetime]] = deque()
        self._wake = asyncio.Event()
        self._narrow: dict[str, int] = {}  # streams of which short runs are sent, to find a refused body
        self._stale = True  # what is in flight must be read from the outbox
        self._told = False  # the ledger has told its heads since the start
        self._untold: frozenset[str] = frozenset()
        self._ask_at = 0.0
        self._held_until = 0.0
        self._holds = 0
        self._fork_alarm_at = 0.0

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled. Raises `OutboxDamaged`; nothing else ends it."""
        failures, listening = 0, False
        while True:
            try:
                if not listening:
                    await self._listen()
                    listening = True
                seconds = await self._round()
                failures = 0
            except (Unavailable, TimeoutError) as error:
                self._stale = self._stale or isinstance(error, OutboxUnavailable)
                seconds = backoff(self._settings.retry_seconds, failures, self._settings.wait_seconds_max)
                failures += 1
                hint = getattr(error, "hint", "")
                log.warning(
                    "sending failed", detail=str(error), hint=hint, again_in_seconds=round(seconds, 1)
                )
            await self._sleep(seconds)

    # --- one round -------------------------------------------------------------------------

    async def _listen(self) -> None:
        await self._bus.on_receipts(self._identity.community, self._identity.device, self._hear)

    async def _hear(self, receipt: bytes) -> None:
        try:
            answer = read_receipt(receipt, self._identity.community, self._identity.service)
        except BadInput as error:
            self.counters.ignored += 1
            log.warning("receipt ignored", code=error.code, detail=error.what)
            return
        self._inbox.append((answer, self._clock.now()))
        self.wake()

    async def _round(self) -> float:
        """Do all that can be done now; how many seconds until there is more."""
        if self._stale:
            await self._reload()
        while self._inbox:
            await self._settle(*self._inbox.popleft())
        now = monotonic_seconds()
        if now < self._held_until:
            return self._held_until - now
        await self._ask_where_needed(now)
        await self._send_due(now)
        await self._cut_more()
        wakes = [flight.due for flight in self._flights.values()]
        wakes += [self._ask_at] if self._untold else []
        if self._inbox:
            return 0.0
        return max(0.0, min(wakes, default=now + self._settings.wait_seconds_max) - monotonic_seconds())

    async def _reload(self) -> None:
        cuts = await asyncio.to_thread(self._outbox.cuts)
        self._flights = {cut.digest: self._flights.get(cut.digest) or Flight(cut) for cut in cuts}
        self._stale = False

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    # --- asking ----------------------------------------------------------------------------

    async def _ask_where_needed(self, now: float) -> None:
        """Learn where chains go on: at the start, and for streams that the ledger did not know yet."""
        standing = await asyncio.to_thread(self._outbox.standing)
        if self._told and (not standing.untold or (standing.untold == self._untold and now < self._ask_at)):
            self._untold = standing.untold
            return
        await self._ask()
        self._untold = (await asyncio.to_thread(self._outbox.standing)).untold
        self._ask_at = now + self._settings.wait_seconds_max
        if self._untold:
            log.error(
                "the ledger does not let this gateway write some streams",
                streams=sorted(self._untold),
                hint="let an operator assign these meters to the gateway; their readings are kept until then",
            )

    async def _ask(self) -> None:
        """Ask for the heads. Raises `BusUnavailable`, `LedgerNotTrusted`, `NotEnrolled`."""
        who = self._identity
        asked_at = self._clock.now()
        reply = await self._bus.ask_heads(who.community, who.device)
        try:
            answer = read_receipt(reply, who.community, who.service)
        except BadInput as error:
            raise LedgerNotTrusted(
                f"the answer does not carry the ledger's signature: {error.what}",
                where=who.community,
                hint="compare the service key in the settings with the ledger's",
            ) from error
        if answer.code != HEADS or answer.device != who.device:
            raise LedgerNotTrusted("the answer is to another question", where=answer.device)
        await self._check_clock(asked_at, answer, self._clock.now())
        if not any(head.stream == f"device/{who.device}" for head in answer.heads):
            raise NotEnrolled(
                "the ledger does not know this gateway; everything is kept",
                where=who.device,
                hint=f"let an operator enrol its public key {who.key.public.bytes.hex()}",
            )
        await asyncio.to_thread(self._outbox.tell, answer.heads, anew=not self._told)
        self._told = True

    async def _check_clock(self, sent_at: datetime, answer: Answer, received_at: datetime) -> None:
        off = drift(sent_at, answer.recorded_at, received_at)
        if off > DRIFT_MAX:
            detail = f"this clock and the ledger's are {int(off.total_seconds())} s apart"
            await self._bell.raise_once(CLOCK_DRIFT, detail)
        else:
            await self._bell.settle(CLOCK_DRIFT)

    # --- sending ---------------------------------------------------------------------------

    async def _send_due(self, now: float) -> None:
        due = [flight for flight in self._flights.values() if flight.due <= now]
        if any(flight.sends for flight in due):
            # JetStream keeps what it has: nothing is sent again to a ledger that does not answer.
            await self._ask()
        for flight in due:
            await self._send(flight)

    async def _send(self, flight: Flight) -> None:
        who, settings = self._identity, self._settings
        flight.sent_at = flight.sent_at or self._clock.now()
        self.counters.resent += bool(flight.sends)
        await self._bus.publish_envelope(who.community, who.device, flight.cut.envelope)
        wait = backoff(settings.receipt_seconds, flight.sends, settings.wait_seconds_max)
        flight.due = monotonic_seconds() + wait
        flight.sends += 1

    async def _cut_more(self) -> None:
        """Keep as many envelopes in flight as there may be; each continues where the one before ends."""
        while self._told and len(self._flights) < self._settings.in_flight and not self._inbox:
            try:
                cut = await asyncio.to_thread(
                    self._outbox.cut, self._identity.key.public.id, self._seal, dict(self._narrow)
                )
            except OutboxUnavailable:
                self._stale = True
                raise
            if cut is None:
                return
            flight = self._flights[cut.digest] = Flight(cut)
            await self._send(flight)

    # --- being answered --------------------------------------------------------------------

    async def _settle(self, answer: Answer, received_at: datetime) -> None:
        flight = self._flights.get(answer.envelope)
        if flight is None:
            self.counters.ignored += 1
            return
        self.counters.last_receipt_at = received_at
        if answer.code == RECORDED and flight.sent_at is not None:
            await self._check_clock(flight.sent_at, answer, received_at)
        await _DEEDS.get(answer.code, Sender._hold)(self, flight, answer)

    async def _release(self, flight: Flight, answer: Answer) -> None:
        """Everything is in the book."""
        await asyncio.to_thread(self._outbox.release, flight.cut, answer.heads)
        del self._flights[flight.cut.digest]
        self.counters.recorded += flight.cut.events
        self._holds = 0
        for run in flight.cut.runs:
            if run.stream in self._narrow:
                self._narrow[run.stream] *= 2
                if self._narrow[run.stream] >= EVENTS_MAX:
                    del self._narrow[run.stream]

    async def _refuse(self, flight: Flight, answer: Answer) -> None:
        """One body is refused for good."""
        cut, refusal = flight.cut, answer.refusal
        run = next((run for run in cut.runs if refusal and run.stream == refusal.stream), None)
        if run is None or refusal is None or refusal.sequence is None:
            await self._hold(flight, answer)
            return
        if answer.code == NotPermitted.code and run.last > run.first:
            # The ledger names the first event of the run, whichever it minds: halve until there is but one.
            self._narrow[run.stream] = (run.last - run.first + 1) // 2
            await asyncio.to_thread(self._outbox.withdraw, cut)
        else:
            log.error(
                "the ledger refused an event for good; it is kept aside",
                code=answer.code,
                stream=run.stream,
                sequence=refusal.sequence,
                detail=refusal.what,
                hint=refusal.hint,
            )
            place = (run.stream, refusal.sequence, answer.code, refusal.what)
            await asyncio.to_thread(self._outbox.refuse, cut, *place)
        self._forget_from(cut)

    async def _rechain(self, flight: Flight, answer: Answer) -> None:
        """The book's chain does not end where this envelope begins."""
        cut = flight.cut
        earlier = [
            other
            for other in self._flights.values()
            if other.cut.number < cut.number and other.cut.shares_streams(cut)
        ]
        if earlier:
            # What is missing may be in an earlier one whose answer was lost: that must be known first.
            for other in earlier:
                other.due = 0.0
            return
        if answer.code == SequenceGap.code and not flight.is_doubted:
            flight.is_doubted, flight.due = True, 0.0  # another writer may have recorded what this one misses
            return
        ours = await asyncio.to_thread(self._outbox.rechain, cut, answer.heads)
        self._forget_from(cut)
        what = answer.refusal.what if answer.refusal else ""
        log.warning("going on from the ledger's heads", code=answer.code, detail=what, known=ours)
        if answer.code == Fork.code and not ours:
            self.counters.forks += 1
            await self._tell_fork(answer)

    async def _tell_fork(self, answer: Answer) -> None:
        """Two gateways that fork each other would fill the book with alarms: one an hour will do."""
        now = monotonic_seconds()
        if now >= self._fork_alarm_at:
            self._fork_alarm_at = now + FORK_ALARM_SECONDS
            stream = answer.refusal.stream if answer.refusal else ""
            await self._bell.announce(FORK, f"somebody else signs events of {stream}")

    async def _hold(self, flight: Flight, answer: Answer) -> None:
        """The gateway itself is refused, or in a way that is not known here."""
        who, refusal = self._identity, answer.refusal
        if flight.cut.key != who.key.public.id and answer.code in _HINTS:
            # Signed before the key was changed. Should it be in the book, its heads will show.
            await asyncio.to_thread(self._outbox.withdraw, flight.cut)
            self._forget_from(flight.cut)
            self._told = False
            return
        wait = backoff(self._settings.hold_seconds, self._holds, self._settings.wait_seconds_max)
        self._holds += 1
        self._held_until = flight.due = monotonic_seconds() + wait
        log.error(
            "the ledger refuses this gateway; everything is kept",
            code=answer.code,
            detail=refusal.what if refusal else "",
            public_key=who.key.public.bytes.hex(),
            hint=_HINTS.get(answer.code) or (refusal.hint if refusal else ""),
            again_in_seconds=round(wait),
        )

    def _forget_from(self, cut: Cut) -> None:
        """`cut` and what was cut after it are no longer in flight."""
        self._flights = {
            digest: flight for digest, flight in self._flights.items() if flight.cut.number < cut.number
        }


Deed = Callable[[Sender, Flight, Answer], Awaitable[None]]

_DEEDS: Mapping[str, Deed] = {
    RECORDED: Sender._release,
    DUPLICATE: Sender._release,
    Malformed.code: Sender._refuse,
    NotCanonical.code: Sender._refuse,
    NotPermitted.code: Sender._refuse,
    ClockSkew.code: Sender._refuse,
    Contradiction.code: Sender._refuse,
    SequenceGap.code: Sender._rechain,
    ChainBroken.code: Sender._rechain,
    Fork.code: Sender._rechain,
    UnknownDevice.code: Sender._hold,
    KeyIsRevoked.code: Sender._hold,
    BadSignature.code: Sender._hold,
}

_HINTS: Mapping[str, str] = {
    UnknownDevice.code: "let an operator enrol this gateway's public key",
    KeyIsRevoked.code: "make a new key file for this gateway and let an operator enrol its public key",
    BadSignature.code: "put back the key file whose public key was enrolled, or enrol the new one",
}
