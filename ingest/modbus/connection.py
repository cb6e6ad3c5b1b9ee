"""One TCP connection to a converter or a Modbus TCP device: one request, one reply."""

import asyncio
from typing import cast

from ingest.modbus.frames import Framing, Malformed, ReadRequest, Refusal

Answer = tuple[int, ...] | Refusal


class Connection(asyncio.Protocol):
    """Bytes that arrive without a request outstanding make the connection unusable.

    They are somebody else's or somebody's late answer, and the next request must not meet them.
    """

    _transport: asyncio.Transport  # from `connection_made`, before anybody holds the connection

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._buffer = b""
        self._request: ReadRequest | None = None
        self._transaction = 0
        self._answer: asyncio.Future[Answer] | None = None
        self._stirred = asyncio.Event()
        self.lost = False

    @property
    def strays(self) -> int:
        """How many bytes arrived that nobody asked for."""
        return len(self._buffer)

    async def exchange(self, request: ReadRequest, transaction: int, timeout_s: float) -> Answer:
        """Send `request` and wait for its answer.

        Raises:
            TimeoutError, ConnectionError.
            Malformed: something else came.

        After any of them the connection must not be used any more.
        """
        if self.lost:
            raise ConnectionResetError("the connection was closed")
        self._request, self._transaction = request, transaction
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._framing.encode(request, transaction))
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answer
        finally:
            self._answer = None

    async def silence(self, quiet_s: float, limit_s: float) -> int:
        """Throw away what arrives until nothing has for `quiet_s`; the number of bytes thrown away.

        Raises:
            Malformed: the line did not fall silent within `limit_s`.
            ConnectionError.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        thrown_away = 0
        while True:
            thrown_away += len(self._buffer)
            self._buffer = b""
            self._stirred.clear()
            try:
                async with asyncio.timeout(quiet_s):
                    await self._stirred.wait()
            except TimeoutError:
                return thrown_away
            if self.lost:
                raise ConnectionResetError("the connection was closed")
            if loop.time() > deadline:
                raise Malformed("the line does not fall silent")

    def close(self) -> None:
        """Hang up; what is still under way is nobody's."""
        self.lost = True
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._stirred.set()
        waiting = self._answer
        if waiting is None or waiting.done() or self._request is None:
            return
        try:
            answer = self._framing.parse(self._buffer, self._request, self._transaction)
        except Malformed as error:
            waiting.set_exception(error)
            return
        if answer is not None:
            self._buffer = b""
            waiting.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._stirred.set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the connection was closed"))
