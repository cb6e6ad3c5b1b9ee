"""A client that outlives a subject which is not UTF-8.

The library decodes every subject as it comes in and lets the error end its reading loop, so one such
message would silence the connection, and JetStream would deliver it again after every reconnect. NATS
itself takes any bytes.
"""

import nats.errors
import structlog
from nats.aio.client import Client

log = structlog.get_logger(__name__)

TERMINATE = b"+TERM"
"""JetStream's word for: never deliver this again."""


class TolerantClient(Client):
    """Passes over messages whose subject cannot be read, and has JetStream forget them."""

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        try:
            subject.decode()
        except UnicodeDecodeError:
            log.warning("message with an unreadable subject passed over", subject=repr(subject))
            await self._forget(reply)
            return
        await super()._process_msg(sid, subject, reply, data, headers)

    async def _forget(self, reply: bytes) -> None:
        if not reply.startswith(b"$JS.ACK."):
            return
        try:
            # The place to answer holds no part of the message's subject, so it can be read.
            await self.publish(reply.decode(), TERMINATE)
        except (UnicodeDecodeError, nats.errors.Error):
            log.info("unreadable message not terminated")
