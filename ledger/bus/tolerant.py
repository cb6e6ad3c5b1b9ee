"""A client that outlives what the library does not.

- A subject or a place to answer that is not UTF-8, and a header that is none. The library reads them as they
  come in and lets the error end its reading loop, so one such message would silence the connection, and
  JetStream would deliver it again after every reconnect. NATS itself takes any bytes.
- An error that the server tells, such as a token that it takes no longer. The library closes the connection
  for good where the server only hangs up.
- An answer to a ping for which nobody waits any longer, such as that of a flush that was cancelled. It ends
  the library's reading loop too.
- A server that breaks off during the introduction. The library forgets that connection without closing it
  when it makes the next one.
"""

import asyncio

import nats.errors
import structlog
from nats.aio.client import Client, Srv
from nats.protocol.parser import PERMISSIONS_ERR

log = structlog.get_logger(__name__)

TERMINATE = b"+TERM"
"""JetStream's word for: never deliver this again."""


class TolerantClient(Client):
    """Passes over what cannot be read, closes what it leaves, and comes back until it is told to stop."""

    async def _connect_to_server(self, s: Srv) -> None:
        if self._transport:
            self._transport.close()  # type: ignore[no-untyped-call]  # the library has no type here
        await super()._connect_to_server(s)

    async def _process_err(self, err_msg: str) -> None:
        if PERMISSIONS_ERR in err_msg:  # one subject is refused, and the server stays
            await super()._process_err(err_msg)
            return
        error = nats.errors.Error(f"nats: {err_msg}")
        await self._error_cb(error)
        await self._process_op_err(error)

    async def _process_pong(self) -> None:
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()  # a place in the row, for nobody
        await super()._process_pong()

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (IndexError, UnicodeDecodeError):
            return None  # the message counts without them

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        try:
            subject.decode(), reply.decode()
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
