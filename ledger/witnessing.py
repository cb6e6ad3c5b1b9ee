"""The service that has the log witnessed: it brings witnesses the newest checkpoint and keeps what they sign.

    nothing new since its last cosignature      it is not asked
    200                                         the cosignature is verified, then kept
    409                                         it goes on from the size that the witness tells
    anything else, or nobody there              logged by its code, asked again ever less often

All who are due are brought the same checkpoint, however fast the log grows: a quorum is one under one size. A
newer one is brought only to who has cosigned more than that.

Of all processes that would do so one does (`ledger.postgres.witnesses.leading`). Each witness stands alone:
one that is slow or out of order keeps no other waiting for longer than a request may take. What was cosigned
and not kept, because a process died in between, is asked for again: a witness cosigns the same checkpoint as
often as it is asked.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from http import HTTPStatus
from random import Random
from typing import Protocol

import structlog

from ledger.add_checkpoint import (
    ANSWER_BYTES_MAX,
    PATH,
    Inconsistent,
    Offer,
    Recorded,
    WitnessAhead,
    WitnessFailed,
    refusal,
    size_told,
    taken,
)
from ledger.clock import Clock, monotonic_seconds
from ledger.cosignature import Cosignature
from ledger.errors import LedgerError, Unavailable
from ledger.note import Verifier
from ledger.outgoing.door import Outgoing
from ledger.postgres.errors import StoreRefused, StoreUnavailable
from ledger.witness_settings import WitnessSettings

log = structlog.get_logger(__name__)

POLL_SECONDS = 30.0
DELAY_SECONDS_MAX = 1_800
DOUBLINGS_MAX = 8
SIZES_MAX = 4
"""So often it is asked in a row, each time from the size that it told."""
HEADERS = {"Content-Type": "text/plain; charset=utf-8"}


class CosignatureStore(Protocol):
    """Where cosignatures are kept, and what there is to cosign."""

    async def standing(self, witness: str) -> int:
        """The newest size that a witness has cosigned, 0 before the first."""

    async def newest(self) -> Recorded | None:
        """The newest checkpoint; none of a log without entries."""

    async def offer(self, recorded: Recorded, old: int) -> Offer | None:
        """A checkpoint with the proof from the log of `old` on; none where it is not that long."""

    async def keep(self, offer: Offer, witness: str, made: Cosignature, now: datetime) -> None:
        """Keep a cosignature with the checkpoint that it stands under."""


Lead = Callable[[], AbstractAsyncContextManager[CosignatureStore | None]]
"""The store, for as long as this process is the one that asks; none while another one is."""


class Witness:
    """One witness, and how it stands with it."""

    def __init__(self, settings: WitnessSettings) -> None:
        self.key: Verifier = settings.key
        self.vkey = settings.vkey
        self.url = f"{settings.url}{PATH}"
        self.due_seconds = monotonic_seconds()  # before which it is left alone
        self.failures = 0
        self.told = ""  # what was logged last: the same is not logged again


class Witnessing:
    """One process's part."""

    def __init__(
        self,
        lead: Lead,
        witnesses: Sequence[WitnessSettings],
        outgoing: Outgoing,
        clock: Clock,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._lead = lead
        self._witnesses = [Witness(each) for each in witnesses]
        self._outgoing = outgoing
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._random = Random()
        self._told = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Have the log witnessed until `stop` is set; who is being asked then is not waited for."""
        if not self._witnesses:
            await stop.wait()
            return
        work = asyncio.ensure_future(self._keep_leading())
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, stopped):
                task.cancel()
            await asyncio.wait({work, stopped})
        if not work.cancelled():
            work.result()

    async def _keep_leading(self) -> None:
        while True:
            try:
                async with self._lead() as store:
                    while store is not None:
                        await self._round(store)
                        self._told = ""
                        await asyncio.sleep(self._poll_seconds)
            except (StoreUnavailable, StoreRefused) as error:
                if str(error) != self._told:
                    self._told = str(error)
                    log.warning("witnesses wait", code=error.code, what=error.what)
            await asyncio.sleep(self._poll_seconds)

    async def _round(self, store: CosignatureStore) -> None:
        """Ask everybody who is due, at once. Raises what the store does."""
        now = monotonic_seconds()
        due = [each for each in self._witnesses if each.due_seconds <= now]
        newest = await store.newest()
        if newest is None:
            return
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(self._ask(each, store, newest)) for each in due]
        for task in asked:
            if (error := task.result()) is not None:
                raise error

    async def _ask(self, witness: Witness, store: CosignatureStore, newest: Recorded) -> LedgerError | None:
        """Ask one, and note how that went; what is wrong with the store, which is nobody's own."""
        try:
            await self._have_cosigned(witness, store, newest)
        except (StoreUnavailable, StoreRefused) as error:
            return error
        except LedgerError as error:
            self._failed(witness, error)
        except Exception as error:  # a failure of our own must not keep other witnesses from being asked
            log.error("a witness was not asked", witness=witness.key.name, exc_info=error)
            self._failed(witness, Unavailable("the ledger failed to ask it", where=witness.key.name))
        else:
            witness.failures, witness.told = 0, ""
        return None

    def _failed(self, witness: Witness, error: LedgerError) -> None:
        delay = self._poll_seconds * 2 ** min(witness.failures, DOUBLINGS_MAX)
        bounded = min(delay, DELAY_SECONDS_MAX)
        witness.due_seconds = monotonic_seconds() + self._random.uniform(bounded, 2 * bounded)
        witness.failures += 1
        if str(error) != witness.told:
            witness.told = str(error)
            log.warning(
                "a witness does not cosign", witness=witness.key.name, code=error.code, what=error.what,
                hint=error.hint,
            )  # fmt: skip

    async def _have_cosigned(self, witness: Witness, store: CosignatureStore, newest: Recorded) -> None:
        """Bring a witness what is new. Raises `WitnessFailed`, `NoteError`, and as `Outgoing.post`."""
        old = await store.standing(witness.vkey)
        if newest.size == old:
            return
        for _ in range(SIZES_MAX):
            if old > newest.size:
                newest = await store.newest() or newest
            offer = await store.offer(newest, old)
            if offer is None:
                raise WitnessAhead(
                    f"it has cosigned {old} entries, and the log has fewer",
                    where=witness.key.name,
                    hint="was the book restored from an older copy? then what came after it is missing here",
                )
            reply = await self._outgoing.post(witness.url, offer.body(), HEADERS, ANSWER_BYTES_MAX)
            if reply.status == HTTPStatus.OK:
                now = self._clock.now()
                made = taken(offer, reply.whole(), witness.key, now)
                await store.keep(offer, witness.vkey, made, now)
                log.info("checkpoint cosigned", witness=witness.key.name, size=offer.size)
                return
            if reply.status != HTTPStatus.CONFLICT:
                raise refusal(reply.status, witness.key)
            told = size_told(reply.headers, reply.whole(), witness.key)
            if told == old == offer.size:
                raise Inconsistent(
                    f"it has cosigned another tree of {old} entries under this log's name",
                    where=witness.key.name,
                    hint="does another book bear its name, or was this one restored and written on?",
                )
            old = told
        raise WitnessFailed("it does not go on from the size that it tells", where=witness.key.name)
