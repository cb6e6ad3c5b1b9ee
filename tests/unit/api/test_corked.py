"""The transport that sends what is written in one step in one piece."""

import asyncio
from collections.abc import Iterable
from typing import Any

from api.http.corked import HELD_BYTES_MAX, Corked


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


async def test_what_is_written_in_one_step_leaves_in_one_piece() -> None:
    transport, within = corked()
    transport.write(b"head")
    transport.write(b"body")
    assert within.sent == []
    await asyncio.sleep(0)
    transport.write(b"next")
    await asyncio.sleep(0)
    assert within.sent == [b"headbody", b"next"]


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


async def test_no_more_is_held_back_than_is_allowed() -> None:
    transport, within = corked()
    piece = bytes(HELD_BYTES_MAX // 4)
    for _ in range(40):
        transport.write(piece)
    assert sum(map(len, within.sent)) >= 36 * len(piece)
    await asyncio.sleep(0)
    assert b"".join(within.sent) == 40 * piece


async def test_what_the_client_no_longer_takes_is_dropped() -> None:
    transport, within = corked()
    transport.write(b"answer")
    within.abort()
    await asyncio.sleep(0)
    assert within.sent == []
