"""The writer's side of JetStream: a durable pull consumer that survives restarts and a wiped store.

The consumer is asked for batches on the wire's own terms (JetStream's API: CONSUMER.MSG.NEXT), and what
arrives is collected by a callback. The library's own `fetch` makes a task and a random name for every
message, and can hang when the server restarts under it.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from ledger.bus import subjects
from ledger.bus.stream import words_of
from ledger.errors import Unavailable

log = structlog.get_logger(__name__)

ACK_WAIT_SECONDS = 60
ACKS_PENDING_MAX = 4_000
ANSWER_SECONDS = 5.0
GRACE_SECONDS = 1.0
"""How long after its end a request may still be answered; then it is taken for lost."""

ACKNOWLEDGE = "$JS.ACK."
_ENDED = {"404", "408"}
"""Statuses that end a request in good order: nothing is there, or its time is over."""


class IntakeUnavailable(Unavailable):
    """JetStream cannot be read from just now."""

    code = "intake-unavailable"


class Delivery(NamedTuple):
    """One envelope as it came in, and who it says it is from (its subject, not yet its signature)."""

    device: str
    data: bytes
    message: Msg

    async def done(self) -> None:
        """The envelope has been answered: JetStream may forget it."""
        try:
            await self.message.ack()
        except nats.errors.Error:
            # It will come again and be answered as a duplicate.
            log.info("ack not sent", device=self.device)


class Intake:
    """Envelopes of one community, in the order in which JetStream stored them."""

    def __init__(
        self,
        client: Client,
        jetstream: JetStreamContext,
        community: str,
        ensure_stream: Callable[[], Awaitable[None]],
    ) -> None:
        self._client = client
        self._jetstream = jetstream
        self._community = community
        self._ensure_stream = ensure_stream
        self._durable = subjects.durable(community)
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._is_prepared = False
        self._arrived: deque[Msg] = deque()
        self._something = asyncio.Event()
        self._asked = 0  # messages of the request under way that have not come yet
        self._asked_until: float = 0  # by the loop's clock

    async def take(self, most: int, wait_seconds: float) -> list[Delivery]:
        """Up to `most` envelopes; an empty list when none came in time. Raises `IntakeUnavailable`.

        The next batch is asked for at once, so that it travels while this one is worked on.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if not self._is_prepared:
                    await self._prepare()
                await self._ask(most, wait_seconds)
        except (TimeoutError, nats.errors.Error, Unavailable) as error:
            self._is_prepared = False
            said = error.what if isinstance(error, Unavailable) else words_of(error)
            raise IntakeUnavailable(f"JetStream cannot be read: {said}") from error
        if not self._arrived:
            self._something.clear()
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._something.wait()
            except TimeoutError:
                return []
        count = min(most, len(self._arrived))
        messages = [self._arrived.popleft() for _ in range(count)]
        return [Delivery(subjects.device_of(m.subject), m.data, m) for m in messages]

    async def close(self) -> None:
        """Give back what was fetched and not taken, so that the next writer has it at once."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if self._subscription is not None:
                    await self._subscription.unsubscribe()
                while self._arrived:
                    await self._arrived.popleft().nak()
        except (TimeoutError, nats.errors.Error):
            log.info("envelopes not given back", count=len(self._arrived))

    async def _prepare(self) -> None:
        """Make sure of the stream and the consumer: a wiped store has lost both."""
        await self._ensure_stream()
        config = ConsumerConfig(
            durable_name=self._durable,
            filter_subject=subjects.envelopes(self._community),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_SECONDS,
            max_ack_pending=ACKS_PENDING_MAX,
        )
        await self._jetstream.add_consumer(subjects.STREAM, config)
        if self._subscription is None:
            self._subscription = await self._client.subscribe(self._inbox, cb=self._take_in)
        self._asked = 0
        self._is_prepared = True

    async def _ask(self, most: int, wait_seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        if self._asked > 0 and now < self._asked_until:
            return
        request = {"batch": most, "expires": max(1, int(wait_seconds * 1_000)) * 1_000_000}  # in ns; 0: never
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{subjects.STREAM}.{self._durable}"
        await self._client.publish(subject, json.dumps(request).encode(), self._inbox)
        self._asked, self._asked_until = most, now + wait_seconds + GRACE_SECONDS

    async def _take_in(self, message: Msg) -> None:
        # What JetStream delivers has a place to acknowledge it; what it says of the request has none. Headers
        # alone tell nothing: whoever publishes may set them.
        if message.reply.startswith(ACKNOWLEDGE):
            self._arrived.append(message)
            self._asked -= 1
            self._something.set()
            return
        self._asked = 0
        status = message.headers.get("Status") if message.headers else None
        if status not in _ENDED:
            # No responders, consumer deleted, leadership changed: look at both again before asking.
            log.info("intake interrupted", status=status)
            self._is_prepared = False
