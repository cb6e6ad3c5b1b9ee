"""What counts as the answer to a request: golden frames of the Modbus specification, and every near miss."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU

from ingest.modbus.frames import Malformed, ReadRequest, Refusal, RtuFraming, TcpFraming

ASKED = ReadRequest(unit=17, function=4, address=8, count=2)
BODY = bytes.fromhex("110404000a0102")  # unit, function, byte count, registers 10 and 0x0102
TRANSACTION = 0x1501
TCP, RTU = TcpFraming(), RtuFraming()


def tcp(body: bytes, transaction: int = TRANSACTION, protocol: int = 0) -> bytes:
    return struct.pack(">HHH", transaction, protocol, len(body)) + body


def rtu(body: bytes) -> bytes:
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


NEAR_MISSES = {
    "another unit": bytes.fromhex("120404000a0102"),
    "another function": bytes.fromhex("110304000a0102"),
    "one register less": bytes.fromhex("110402000a"),
    "one register more": bytes.fromhex("110406000a01020304"),
    "an odd byte count": bytes.fromhex("110405000a010203"),
    "an exception to another function": bytes.fromhex("118302"),
}


def test_requests_are_those_of_the_specification() -> None:
    # Modbus Application Protocol 1.1b3, 6.4: read input register 9, with two registers.
    assert TCP.encode(ASKED, TRANSACTION).hex() == "150100000006" + "110400080002"
    assert RTU.encode(ASKED, TRANSACTION) == rtu(bytes.fromhex("110400080002"))
    holding = ReadRequest(unit=17, function=3, address=107, count=3)
    assert RTU.encode(holding, 0).hex() == "1103006b00037687"  # the well-known example


@pytest.mark.parametrize(("framing", "frame"), [(TCP, tcp(BODY)), (RTU, rtu(BODY))])
def test_an_answer_is_taken_when_and_only_when_it_is_whole(
    framing: TcpFraming | RtuFraming, frame: bytes
) -> None:
    for end in range(len(frame)):
        assert framing.parse(frame[:end], ASKED, TRANSACTION) is None
    assert framing.parse(frame, ASKED, TRANSACTION) == (10, 0x0102)


@pytest.mark.parametrize(("framing", "wrap"), [(TCP, tcp), (RTU, rtu)])
def test_an_exception_is_the_answer_as_well(framing: TcpFraming | RtuFraming, wrap: object) -> None:
    assert callable(wrap)
    assert framing.parse(wrap(bytes.fromhex("118402")), ASKED, TRANSACTION) == Refusal(2)


@pytest.mark.parametrize("miss", NEAR_MISSES)
@pytest.mark.parametrize(("framing", "wrap"), [(TCP, tcp), (RTU, rtu)])
def test_an_answer_to_another_question_is_refused(
    framing: TcpFraming | RtuFraming, wrap: object, miss: str
) -> None:
    assert callable(wrap)
    with pytest.raises(Malformed):
        framing.parse(wrap(NEAR_MISSES[miss]), ASKED, TRANSACTION)


@pytest.mark.parametrize(("framing", "frame"), [(TCP, tcp(BODY)), (RTU, rtu(BODY))])
def test_an_answer_with_something_behind_it_is_refused(
    framing: TcpFraming | RtuFraming, frame: bytes
) -> None:
    for more in (b"\0", frame):
        with pytest.raises(Malformed, match="follow"):
            framing.parse(frame + more, ASKED, TRANSACTION)


def test_tcp_refuses_another_transaction_and_another_protocol() -> None:
    with pytest.raises(Malformed, match="transaction"):
        TCP.parse(tcp(BODY, TRANSACTION - 1), ASKED, TRANSACTION)
    with pytest.raises(Malformed, match="header"):
        TCP.parse(tcp(BODY, protocol=1), ASKED, TRANSACTION)


def test_tcp_refuses_a_header_whose_length_does_not_fit_the_byte_count() -> None:
    with pytest.raises(Malformed):
        TCP.parse(tcp(BODY + b"\0"), ASKED, TRANSACTION)
    with pytest.raises(Malformed):
        TCP.parse(tcp(bytes.fromhex("11840200")), ASKED, TRANSACTION)


@given(place=st.integers(0, len(rtu(BODY)) - 1), flip=st.integers(1, 255))
def test_rtu_never_takes_a_damaged_frame(place: int, flip: int) -> None:
    damaged = bytearray(rtu(BODY))
    damaged[place] ^= flip
    try:
        answer = RTU.parse(bytes(damaged), ASKED, 0)
    except Malformed:
        return
    assert answer is None


@given(st.binary(max_size=40))
def test_no_bytes_whatever_raise_anything_but_malformed(noise: bytes) -> None:
    for framing in (TCP, RTU):
        with suppress(Malformed):
            framing.parse(noise, ASKED, TRANSACTION)
