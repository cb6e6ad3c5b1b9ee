"""The transport that sends a head and its body in one piece."""

import asyncio
from collections.abc import Iterable
from typing import Any

from api.http.corked import Corked


class Recorded(asyncio.Transport):
    """A transport that keeps what was sent, one entry for each system call."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.is_closed = False

    def writelines(self, data: Iterable[Any]) -> None:
        self.sent.append(b"".join(data))

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"
OPEN_ENDED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def corked() -> tuple[Corked, Recorded]:
    within = Recorded()
    return Corked(within), within


def test_a_head_leaves_with_its_body() -> None:
    transport, within = corked()
    transport.write(HEAD)
    assert within.sent == []
    transport.write(b"body")
    assert within.sent == [HEAD + b"body"]
    transport.write(b"more")
    assert within.sent == [HEAD + b"body", b"more"]


def test_what_tells_of_no_body_leaves_at_once() -> None:
    transport, within = corked()
    for each in (OPEN_ENDED, b"3\r\na: b\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + b"all of it"):
        transport.write(each)
        assert within.sent[-1] == each


def test_a_head_without_a_body_leaves_when_the_answer_ends() -> None:
    transport, within = corked()
    transport.write(HEAD)
    transport.write(b"")
    transport.uncork()
    transport.uncork()
    assert within.sent == [HEAD]


def test_closing_sends_the_rest_first_and_aborting_does_not() -> None:
    transport, within = corked()
    transport.write(HEAD)
    transport.close()
    assert within.sent == [HEAD]
    assert transport.is_closing()
    transport, within = corked()
    transport.write(HEAD)
    transport.abort()
    assert within.sent == []


def test_all_that_is_written_leaves_in_its_order() -> None:
    transport, within = corked()
    pieces = [HEAD if each % 3 == 0 else bytes([each]) * each for each in range(1, 40)]
    for piece in pieces:
        transport.write(piece)
    transport.uncork()
    assert b"".join(within.sent) == b"".join(pieces)


def test_what_the_client_no_longer_takes_is_dropped() -> None:
    transport, within = corked()
    transport.write(HEAD)
    within.abort()
    transport.write(b"body")
    assert within.sent == []
