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


def corked() -> tuple[Corked, Recorded]:
    within = Recorded()
    return Corked(within, asyncio.get_running_loop()), within


async def test_a_head_leaves_with_its_body_and_alone_where_none_comes() -> None:
    transport, within = corked()
    transport.write(b"head")
    assert within.sent == []
    transport.write(b"body")
    assert within.sent == [b"headbody"]
    transport.write(b"event")
    await asyncio.sleep(0)
    assert within.sent == [b"headbody", b"event"]


async def test_closing_sends_the_rest_first_and_aborting_does_not() -> None:
    transport, within = corked()
    transport.write(b"last")
    transport.close()
    assert within.sent == [b"last"]
    assert transport.is_closing()
    await asyncio.sleep(0)
    assert within.sent == [b"last"]
    transport, within = corked()
    transport.write(b"never")
    transport.abort()
    await asyncio.sleep(0)
    assert within.sent == []


async def test_all_that_is_written_leaves_in_its_order() -> None:
    transport, within = corked()
    pieces = [bytes([each]) * each for each in range(1, 40)]
    for piece in pieces:
        transport.write(piece)
    assert sum(map(len, within.sent)) >= sum(map(len, pieces[:-1])), "one is held back at the most"
    await asyncio.sleep(0)
    assert b"".join(within.sent) == b"".join(pieces)


async def test_what_the_client_no_longer_takes_is_dropped() -> None:
    transport, within = corked()
    transport.write(b"answer")
    within.abort()
    await asyncio.sleep(0)
    assert within.sent == []
