"""A client that outlives what the library does not.

- A subject that is not UTF-8. The library decodes every subject as it comes in and lets the error end its
  reading loop, so one such message would silence the connection, and JetStream would deliver it again after
  every reconnect. NATS itself takes any bytes.
- A server that breaks off during the introduction. The library forgets that connection without closing it
  when it makes the next one.
"""

import nats.errors
import structlog
from nats.aio.client import Client, Srv

log = structlog.get_logger(__name__)

TERMINATE = b"+TERM"
"""JetStream's word for: never deliver this again."""


class TolerantClient(Client):
    """Passes over messages whose subject cannot be read, and closes what it leaves."""

    async def _connect_to_server(self, s: Srv) -> None:
        if self._transport:
            self._transport.close()  # type: ignore[no-untyped-call]  # the library has no type here
        await super()._connect_to_server(s)

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
