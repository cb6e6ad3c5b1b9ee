"""A client that outlives what the library does not.

- A subject or a place to answer that is not UTF-8, and a header that is none. The library reads them as they
  come in and lets the error end its reading loop, so one such message would silence the connection, and
  JetStream would deliver it again after every reconnect. NATS itself takes any bytes.
- An error that the server tells, such as a token that it takes no longer. The library closes the connection
  for good where the server only hangs up.
- An answer to a ping for which nobody waits any longer, such as that of a flush that was cancelled. It ends
  the library's reading loop too.
- A ping that is sent ahead of what was published before it. Its answer would tell nothing of that.
- A server that breaks off during the introduction. The library forgets that connection without closing it
  when it makes the next one.

It proves to be a user with an Ed25519 key by `sign_nonce`: the library's own way wants a seed in a file, and
signs whatever the server likes.
"""

import asyncio
from functools import partial
from typing import Any

import nats.errors
import structlog
from nats.aio.client import PING_PROTO, Client, Srv
from nats.protocol.parser import PERMISSIONS_ERR

from ledger.bus.nkey import sign_nonce, user_nkey
from ledger.keys import SigningKey

log = structlog.get_logger(__name__)

TERMINATE = b"+TERM"
"""JetStream's word for: never deliver this again."""


class TolerantClient(Client):
    """Passes over what cannot be read, closes what it leaves, and comes back until it is told to stop."""

    def __init__(self, key: SigningKey | None = None) -> None:
        super().__init__()
        self._user_key = key

    def _connect_command(self) -> bytes:
        if self._user_key is not None:
            self._public_nkey = user_nkey(self._user_key.public)
            self._signature_cb = partial(sign_nonce, self._user_key)
        return super()._connect_command()

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

    async def _send_ping(self, future: "asyncio.Future[Any] | None" = None) -> None:
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(PING_PROTO)
        await self._flush_pending()

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
