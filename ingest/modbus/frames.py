"""Requests and replies as bytes, for Modbus TCP and for RTU sent over TCP.

pymodbus builds the frames and computes the CRC. Whether a reply is the answer to *this* request is
decided here and nowhere else, because its client takes any reply that decodes: a late one, a shorter
one, one of another function. A reply counts only if it is whole and alone in the buffer, and its
transaction (TCP), unit, function, byte count and CRC (RTU) are all what the request calls for.
"""

import struct
from typing import Literal, Protocol

from msgspec import Struct
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
)

FramerName = Literal["tcp", "rtu"]

REQUESTS = {3: ReadHoldingRegistersRequest, 4: ReadInputRegistersRequest}
EXCEPTION_BIT = 0x80
MBAP_HEAD = struct.Struct(">HHH")  # transaction, protocol (0), length of what follows
MBAP_LENGTH_MAX = 254  # unit and a PDU of at most 253 bytes
RTU_OVERHEAD = 5  # unit, function, byte count, CRC
TRANSACTIONS = 0xFFFF


class ReadRequest(Struct, frozen=True):
    """Read `count` registers from `address` with function 3 or 4."""

    unit: int
    function: int
    address: int
    count: int


class Refusal(Struct, frozen=True):
    """The meter answered with a Modbus exception."""

    code: int


class Malformed(Exception):
    """These bytes are not the answer to this request, and never will be."""


class Framing(Protocol):
    """How requests and replies are wrapped. `transaction` is ignored where the wire has none."""

    def encode(self, request: ReadRequest, transaction: int) -> bytes:
        """The bytes to send."""

    def parse(
        self, buffer: bytes, request: ReadRequest, transaction: int
    ) -> tuple[int, ...] | Refusal | None:
        """The registers in `buffer`, the meter's refusal, or None while bytes are missing.

        Raises:
            Malformed: as soon as it is certain that the buffer cannot become the answer.
        """


class TcpFraming:
    """Modbus TCP: a header with a transaction number, no checksum."""

    def __init__(self) -> None:
        self._framer = FramerSocket(DecodePDU(False))

    def encode(self, request: ReadRequest, transaction: int) -> bytes:
        return self._framer.buildFrame(_pdu(request, transaction))

    def parse(
        self, buffer: bytes, request: ReadRequest, transaction: int
    ) -> tuple[int, ...] | Refusal | None:
        if len(buffer) < MBAP_HEAD.size:
            return None
        got, protocol, length = MBAP_HEAD.unpack_from(buffer)
        if protocol or not 3 <= length <= MBAP_LENGTH_MAX:
            raise Malformed("not a Modbus TCP header")
        if got != transaction:
            raise Malformed(f"the reply is to transaction {got}, not {transaction}")
        end = MBAP_HEAD.size + length
        if len(buffer) < end:
            return None
        if len(buffer) > end:
            raise Malformed(f"{len(buffer) - end} bytes follow the reply")
        return _answer(buffer[MBAP_HEAD.size :], request)


class RtuFraming:
    """Modbus RTU as a serial converter passes it on: no transaction number, a CRC at the end."""

    def __init__(self) -> None:
        self._framer = FramerRTU(DecodePDU(False))

    def encode(self, request: ReadRequest, transaction: int) -> bytes:
        return self._framer.buildFrame(_pdu(request, 0))

    def parse(
        self, buffer: bytes, request: ReadRequest, transaction: int
    ) -> tuple[int, ...] | Refusal | None:
        if len(buffer) < RTU_OVERHEAD:  # the shortest frame: an exception
            return None
        _check_head(buffer, request)
        end = RTU_OVERHEAD if buffer[1] & EXCEPTION_BIT else RTU_OVERHEAD + buffer[2]
        if len(buffer) < end:
            return None
        if len(buffer) > end:
            raise Malformed(f"{len(buffer) - end} bytes follow the reply")
        if not FramerRTU.check_CRC(buffer[:-2], int.from_bytes(buffer[-2:], "big")):
            raise Malformed("the CRC does not fit")
        return _answer(buffer[:-2], request)


FRAMINGS: dict[FramerName, type[TcpFraming] | type[RtuFraming]] = {
    "tcp": TcpFraming,
    "rtu": RtuFraming,
}


def _pdu(request: ReadRequest, transaction: int) -> ReadHoldingRegistersRequest:
    return REQUESTS[request.function](
        address=request.address,
        count=request.count,
        dev_id=request.unit,
        transaction_id=transaction,
    )


def _check_head(body: bytes, request: ReadRequest) -> None:
    """Unit, function and byte count: the first three bytes of an answer."""
    unit, function, size = body[0], body[1], body[2]
    if unit != request.unit:
        raise Malformed(f"unit {unit} answered, not {request.unit}")
    if function & ~EXCEPTION_BIT != request.function:
        raise Malformed(f"the reply is to function {function & ~EXCEPTION_BIT}")
    if not function & EXCEPTION_BIT and size != 2 * request.count:
        raise Malformed(f"the reply holds {size} bytes, not {2 * request.count}")


def _answer(body: bytes, request: ReadRequest) -> tuple[int, ...] | Refusal:
    """What a whole reply says; `body` is unit, function and data."""
    _check_head(body, request)
    if body[1] & EXCEPTION_BIT:
        if len(body) != 3:
            raise Malformed(f"an exception of {len(body)} bytes")
        return Refusal(body[2])
    if len(body) != 3 + body[2]:
        raise Malformed(f"{len(body) - 3} bytes of data where {body[2]} are announced")
    return struct.unpack_from(f">{request.count}H", body, 3)
