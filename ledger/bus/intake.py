"""The writer's side of JetStream: a durable pull consumer that survives restarts of the server."""

import asyncio
from typing import NamedTuple

import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from ledger.bus import subjects
from ledger.errors import Unavailable

log = structlog.get_logger(__name__)

ACK_WAIT_SECONDS = 60
ACKS_PENDING_MAX = 2_000


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

    def __init__(self, jetstream: JetStreamContext, community: str) -> None:
        self._jetstream = jetstream
        self._community = community
        self._subscription: JetStreamContext.PullSubscription | None = None

    async def take(self, most: int, wait_seconds: float) -> list[Delivery]:
        """Up to `most` envelopes; an empty list when none came in time. Raises `IntakeUnavailable`.

        A pull subscription can die with a server's restart without a word, so every wait is bounded and
        any error makes the next call subscribe anew; the durable consumer knows what was not acknowledged.
        """
        try:
            async with asyncio.timeout(wait_seconds + 5):
                if self._subscription is None:
                    self._subscription = await self._subscribe()
                messages = await self._subscription.fetch(most, timeout=wait_seconds)
        except nats.errors.TimeoutError:
            return []
        except (TimeoutError, nats.errors.Error) as error:
            self._subscription = None
            raise IntakeUnavailable(f"JetStream cannot be read: {type(error).__name__}") from error
        return [Delivery(subjects.device_of(m.subject), m.data, m) for m in messages]

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        return await self._jetstream.pull_subscribe(
            subjects.envelopes(self._community),
            durable=f"writer-{subjects.token(self._community)}",
            stream=subjects.STREAM,
            config=ConsumerConfig(
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_SECONDS,
                max_ack_pending=ACKS_PENDING_MAX,
            ),
        )
