"""Who shares a socket gets about as many connections as the others; who is busy holds nobody up."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from threading import Thread
from time import monotonic, sleep
from typing import Any

import pytest

from api.http import accepting
from api.http.accepting import Acceptor


class Process:
    """A loop in a thread of its own, which keeps every connection that it is given."""

    def __init__(self, listening: socket.socket) -> None:
        self.has: list[socket.socket] = []
        self._listening = listening
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.call(self._begin())

    async def _begin(self) -> None:
        async def take(accepted: socket.socket) -> None:
            self.has.append(accepted)

        self.acceptor = Acceptor(self._listening, take, lambda: len(self.has), is_shared=True)

    def call(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    def be_busy(self, seconds: float) -> None:
        self._loop.call_soon_threadsafe(sleep, seconds)

    def end(self) -> None:
        self.call(self.acceptor.end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
        for each in self.has:
            each.close()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as found:
        yield found


@pytest.fixture
def processes(listening: socket.socket) -> Iterator[list[Process]]:
    found = [Process(listening) for _ in range(2)]
    yield found
    for each in found:
        each.end()


def come(listening: socket.socket, count: int, pause: float = 0.0) -> list[socket.socket]:
    """So many clients, who stay."""
    clients = []
    for _ in range(count):
        clients.append(socket.create_connection(listening.getsockname()))
        sleep(pause)
    return clients


def until_all_are_taken(processes: list[Process], count: int) -> None:
    end = monotonic() + 5
    while sum(len(each.has) for each in processes) < count:
        assert monotonic() < end, [len(each.has) for each in processes]
        sleep(0.005)


@pytest.mark.parametrize("pause", [0.0, 0.003])
def test_connections_lie_evenly(processes: list[Process], listening: socket.socket, pause: float) -> None:
    clients = come(listening, 60, pause)
    until_all_are_taken(processes, 60)
    assert all(len(each.has) >= 20 for each in processes), [len(each.has) for each in processes]
    for each in clients:
        each.close()


def test_who_is_busy_holds_nobody_up(processes: list[Process], listening: socket.socket) -> None:
    processes[0].be_busy(2.0)
    begin = monotonic()
    clients = come(listening, 60)
    until_all_are_taken(processes, 60)
    assert monotonic() - begin < 1.5
    assert len(processes[1].has) == 60
    for each in clients:
        each.close()


@pytest.fixture
async def taken() -> AsyncIterator[list[socket.socket]]:
    found: list[socket.socket] = []
    yield found
    for each in found:
        each.close()


async def test_who_shares_with_nobody_takes_all(listening: socket.socket, taken: list[socket.socket]) -> None:
    async def take(accepted: socket.socket) -> None:
        taken.append(accepted)

    clients = come(listening, 30)
    acceptor = Acceptor(listening, take, lambda: len(taken), is_shared=False)
    await asyncio.sleep(0.05)
    assert len(taken) == 30
    clients += come(listening, 5)
    await acceptor.end()
    assert len(taken) == 35, "who waits when it ends is taken too"
    for each in clients:
        each.close()


class Full:
    """A socket of a process that has as many files open as it may."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self.is_full = True
        self.tried = 0

    def fileno(self) -> int:
        return self._listening.fileno()

    def setblocking(self, is_blocking: bool) -> None:
        self._listening.setblocking(is_blocking)

    def accept(self) -> Any:
        self.tried += 1
        if self.is_full:
            raise OSError(errno.EMFILE, "Too many open files")
        return self._listening.accept()


async def test_who_has_no_file_left_goes_on_later(
    listening: socket.socket, taken: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "FULL_SECONDS", 0.1)

    async def take(accepted: socket.socket) -> None:
        taken.append(accepted)

    full: Any = Full(listening)
    acceptor = Acceptor(full, take, lambda: len(taken), is_shared=False)
    clients = come(listening, 3)
    await asyncio.sleep(0.35)
    assert (len(taken), 3 <= full.tried <= 5) == (0, True), "it asks now and then, and does not spin"
    full.is_full = False
    await asyncio.sleep(0.2)
    assert len(taken) == 3
    await acceptor.end()
    for each in clients:
        each.close()
