"""The service that tells: it fills the outbox, sends what is due and notes what became of it.

    2xx             delivered
    410             its receiver is gone for good: the webhook is disabled
    anything else   tried again, by `schedule`; a ping is tried once. When a delivery is given up after three
                    days and nothing was taken meanwhile, the webhook is disabled

Every process that serves does so, and they share the work: what one takes, the others leave alone for
`LEASE`. A process that dies between sending and noting leaves what it took to be sent again under its id.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from random import Random

import structlog

from api.webhooks.parts import Webhooks
from api.webhooks.schedule import SPAN, again_at, asked_for
from api.webhooks.signing import signed_headers
from ledger.clock import Clock, monotonic_seconds
from ledger.errors import LedgerError
from ledger.outgoing.door import Reply
from ledger.webhooks import PING, DisabledFor, Due

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
END_SECONDS = 5.0
FORGET_SECONDS = 3600.0
LEASE = timedelta(seconds=60)
"""Longer than a try can take."""
AT_ONCE = 32
OF_EACH = 4
"""One that answers slowly holds no more than these."""
ANSWER_BYTES = 4 * 1024
KEPT = timedelta(days=90)
FORKS_LOOKED_BACK = timedelta(days=60)
"""Shorter than `KEPT`: that a fork was told is known by its delivery."""
FAILING = SPAN - timedelta(hours=1)
"""A webhook began to fail when its first try was over, not when that began."""
NOT_TAKEN = "not-taken"
GONE: DisabledFor = "gone"
FAILED: DisabledFor = "failing"

Count = Callable[[str], None]
"""Counts a try by what became of it: delivered, retried, failed or gone."""


class Dispatcher:
    """One process's part of one community's deliveries."""

    def __init__(self, webhooks: Webhooks, clock: Clock, count: Count) -> None:
        self._webhooks = webhooks
        self._clock = clock
        self._count = count
        self._random = Random()
        self._at_work: dict[asyncio.Task[None], str] = {}
        self._filled_seconds = self._forgot_seconds = -FORGET_SECONDS
        self._stands_in_the_way = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Tell until `stop` is set; then what is being sent is waited for, but not for long."""
        wake = self._webhooks.wake
        stopped = asyncio.ensure_future(stop.wait())
        stopped.add_done_callback(lambda _: wake.set())
        try:
            while not stop.is_set():
                wake.clear()
                await self._try_step()
                try:
                    async with asyncio.timeout(POLL_SECONDS):
                        await wake.wait()
                except TimeoutError:
                    pass
        finally:
            stopped.cancel()
            await self._end()

    async def _end(self) -> None:
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=END_SECONDS)
        left = list(self._at_work)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _try_step(self) -> None:
        """A step; what stands in its way is told once, and keeps nothing else from being done."""
        wrong = ""
        for part in (self._send_due, self._fill, self._forget):
            try:
                await part()
            except LedgerError as error:
                wrong = str(error)
                if wrong != self._stands_in_the_way:
                    log.warning("webhooks wait", code=error.code, what=error.what)
            except Exception as error:
                wrong = repr(error)
                if wrong != self._stands_in_the_way:
                    log.error("webhooks wait", exc_info=error)
        self._stands_in_the_way = wrong

    async def _fill(self) -> None:
        begin, now = monotonic_seconds(), self._clock.now()
        if begin - self._filled_seconds < POLL_SECONDS:
            return
        self._filled_seconds = begin
        since = now - FORKS_LOOKED_BACK
        filled, failed = False, list[Exception]()
        for name in await self._webhooks.outbox.behind(since):
            try:
                await self._webhooks.outbox.fill(name, since, now)
                filled = True
            except Exception as error:  # one that cannot be filled keeps none behind it waiting
                failed.append(error)
        if filled:
            self._webhooks.wake.set()
        if failed:
            raise failed[0]

    async def _forget(self) -> None:
        begin = monotonic_seconds()
        if begin - self._forgot_seconds >= FORGET_SECONDS:
            self._forgot_seconds = begin
            await self._webhooks.outbox.forget(self._clock.now() - KEPT)

    async def _send_due(self) -> None:
        outbox, now = self._webhooks.outbox, self._clock.now()
        free = AT_ONCE - len(self._at_work)
        if free > 0:
            places = {name: OF_EACH - count for name, count in Counter(self._at_work.values()).items()}
            for due in await outbox.take(now, now + LEASE, places, OF_EACH, free):
                task = asyncio.ensure_future(self._send(due))
                self._at_work[task] = due.webhook
                task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        del self._at_work[task]
        self._webhooks.wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("what became of a delivery was not noted", exc_info=error)

    async def _send(self, due: Due) -> None:
        """Try once, and note what became of it. What cannot be noted is tried again, as if it had failed."""
        with structlog.contextvars.bound_contextvars(webhook=due.webhook, delivery=due.delivery):
            reply, code = None, NOT_TAKEN
            try:
                reply = await self._reply(due)
            except LedgerError as error:
                code = error.code
            except Exception as error:  # a failure of our own: it is given up in the end as any other
                code = "internal-error"
                log.error("a delivery failed", exc_info=error)
            try:
                if reply and HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
                    await self._webhooks.outbox.note_delivered(due, reply.status)
                    self._count("delivered")
                else:
                    await self._not_taken(due, reply, code)
            except LedgerError as error:
                log.warning("what became of a delivery was not noted", code=error.code)

    async def _reply(self, due: Due) -> Reply:
        now = self._clock.now()
        sealed = self._webhooks.seal.open(due.webhook, due.sealed)
        headers = signed_headers(sealed.held(now), due.delivery, int(now.timestamp()), due.body)
        return await self._webhooks.outgoing.post(sealed.url, due.body, headers, bytes_max=ANSWER_BYTES)

    async def _not_taken(self, due: Due, reply: Reply | None, code: str) -> None:
        outbox, now = self._webhooks.outbox, self._clock.now()
        status = reply.status if reply else None
        is_gone = status == HTTPStatus.GONE
        is_ping = due.topic == PING
        again = None if is_gone or is_ping else again_at(due.tries, due.begun_at, now, self._random)
        if again is not None and reply is not None:
            again = max(again, asked_for(reply.headers, now) or again)
        await outbox.note_failed(due, now, again, status, code)
        self._count("gone" if is_gone else "retried" if again else "failed")
        log.info("a webhook did not take it", code=code, status=status, tries=due.tries, again=bool(again))
        if is_gone:
            is_disabled = await outbox.disable(due.webhook, now, GONE)
        elif again is None and not is_ping:
            is_disabled = await outbox.disable(due.webhook, now, FAILED, now - FAILING)
        else:
            is_disabled = False
        if is_disabled:
            log.warning("a webhook is disabled", reason=GONE if is_gone else FAILED)
