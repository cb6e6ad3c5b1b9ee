"""A port that answers Modbus as a converter with meters behind it does.

pymodbus has a server, but one that always answers, at once, correctly and only to whoever asked.
Meters and converters do none of these reliably, and a client is worth what it does then. So: the
requests of a port are served one after another as on a serial line, an answer may be late, wrong or
missing, and with RTU framing an answer goes to every open connection.
"""

import asyncio
from collections import deque
from typing import Protocol, cast

from msgspec import Struct
from pymodbus.exceptions import ModbusException as DecodingFailed
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
)

from ingest.modbus.frames import FramerName, ReadRequest
from ledger.errors import Unavailable

ILLEGAL_FUNCTION = 1


class PortUnavailable(Unavailable):
    """The port cannot be opened."""

    code = "port-unavailable"


class Reply(Struct, frozen=True):
    """What to send: `noise` as it is, or else `exception`, or else `registers`.

    `function` is another than the one asked for where the meter is to misbehave so.
    """

    registers: tuple[int, ...] = ()
    exception: int | None = None
    function: int | None = None
    noise: bytes | None = None
    delay_ms: int = 0


class Responder(Protocol):
    """The meters behind a port."""

    def reply(self, request: ReadRequest) -> Reply | None:
        """The answer to `request`; None to stay silent."""


class ModbusServer:
    """Serves `responder` on a TCP port; port 0 lets the system choose one."""

    def __init__(self, host: str, port: int, framer: FramerName, responder: Responder) -> None:
        self.host = host
        self.port = port
        self._responder = responder
        self._broadcast = framer == "rtu"
        decoder = DecodePDU(True)
        self._framer = FramerRTU(decoder) if framer == "rtu" else FramerSocket(decoder)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Transport] = set()
        self._queue: deque[tuple[asyncio.Transport, ModbusPDU]] = deque()
        self._late: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Open the port.

        Raises:
            PortUnavailable: it is taken or may not be opened.
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Client(self), self.host, self.port)
        except OSError as error:
            raise PortUnavailable(
                f"the port cannot be opened: {error}",
                where=f"{self.host}:{self.port}",
                hint="choose another port, or stop what holds this one",
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Close the port and every connection."""
        if self._late is not None:
            self._late.cancel()
        if self._server is not None:
            self._server.close()
        for transport in list(self._open):
            transport.abort()
        if self._server is not None:
            await self._server.wait_closed()

    def opened(self, transport: asyncio.Transport) -> None:
        self._open.add(transport)

    def closed(self, transport: asyncio.Transport) -> None:
        self._open.discard(transport)

    def received(self, transport: asyncio.Transport, buffer: bytes) -> bytes:
        """Serve the requests in `buffer`; what is left of it."""
        while buffer:
            try:
                used, request = self._framer.handleFrame(buffer, 0, 0)
            except DecodingFailed:
                return b""  # not a request that anybody would answer
            if request is not None and not request.isError():  # an answer is no request
                self._queue.append((transport, request))
            if not used:
                break
            buffer = buffer[used:]
        self._serve()
        return buffer

    def _serve(self) -> None:
        """Answer what is queued, unless the line is busy with a late answer."""
        while self._queue and self._late is None:
            transport, request = self._queue.popleft()
            reply = self._reply(request)
            if reply is None:
                continue
            frame = self._frame(reply, request)
            if reply.delay_ms:
                self._late = asyncio.get_running_loop().call_later(
                    reply.delay_ms / 1000, self._send_late, transport, frame
                )
            else:
                self._send(transport, frame)

    def _reply(self, request: ModbusPDU) -> Reply | None:
        if not isinstance(request, ReadHoldingRegistersRequest):
            return Reply(exception=ILLEGAL_FUNCTION)
        return self._responder.reply(
            ReadRequest(request.dev_id, request.function_code, request.address, request.count)
        )

    def _frame(self, reply: Reply, request: ModbusPDU) -> bytes:
        if reply.noise is not None:
            return reply.noise
        function = reply.function or request.function_code
        response: ModbusPDU
        if reply.exception is not None:
            response = ExceptionResponse(function, reply.exception)
        else:
            response = ReadHoldingRegistersResponse(registers=reply.registers)
            response.function_code = function
        response.dev_id = request.dev_id
        response.transaction_id = request.transaction_id
        return self._framer.buildFrame(response)

    def _send(self, asker: asyncio.Transport, frame: bytes) -> None:
        for transport in self._open if self._broadcast else {asker} & self._open:
            transport.write(frame)

    def _send_late(self, asker: asyncio.Transport, frame: bytes) -> None:
        self._late = None
        self._send(asker, frame)
        self._serve()


class _Client(asyncio.Protocol):
    """A connection to the server."""

    _transport: asyncio.Transport  # from `connection_made`, which comes first

    def __init__(self, server: ModbusServer) -> None:
        self._server = server
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.opened(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._server.received(self._transport, self._buffer + data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.closed(self._transport)
