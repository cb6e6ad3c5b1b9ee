"""Several processes that serve behind one socket, and the one that keeps them.

    the parent    opens the socket, once, and serves nobody itself
                  starts the workers, and replaces one that ends by itself
                  SIGHUP: puts a new one in the place of each, one after the other; the old ones finish
    a worker      accepts from that socket, whenever it is free to, with connections of its own to all else
    the end       the parent asks the workers (SIGTERM), and waits until they have answered what they took

The socket is open as long as the parent lives: what waits to be accepted is taken by whoever is there, so a
worker that dies takes nothing with it but what it had accepted. A worker whose parent is gone ends as if it
had been asked to, and soon in any case.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from multiprocessing import connection, get_context, parent_process
from threading import Event, Thread
from typing import NoReturn

import structlog
import uvloop

from ledger.command_line import configure_logs
from ledger.errors import LedgerError
from ledger.workers import WorkerLost

log = structlog.get_logger(__name__)

END_SECONDS = 40.0
"""A worker answers for 20 seconds at most, and then lets go of its connections."""
ORPHAN_SECONDS = 30.0
AGAIN_SECONDS = 1.0

Work = Callable[[socket.socket, Callable[[], None], asyncio.Event], Awaitable[None]]
"""Serves what a socket brings, until the event is set; calls the function when it is ready to."""
Gone = Callable[[int], None]
"""Is told the process id of a worker that is no more."""


class _Worker:
    """One process. It says nothing when it is ready, or why it cannot be."""

    def __init__(self, work: Work, listening: socket.socket) -> None:
        context = get_context("spawn")
        self._said, says = context.Pipe(duplex=False)
        self.process = context.Process(target=_serve, args=(says, work, listening))
        self.process.start()
        says.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid or 0

    async def ready(self) -> None:
        """Return when it serves. Raises the `LedgerError` that keeps it from it, and `WorkerLost`."""
        await _readable(self._said.fileno())
        try:
            error = self._said.recv()
        except (EOFError, OSError):
            error = WorkerLost("a process that was to serve ended by itself", hint="is there memory enough?")
        if error is not None:
            raise error

    async def ended(self) -> None:
        """Return when it is no more."""
        await _readable(self.process.sentinel)
        self.process.join()
        self._said.close()

    def ask_to_end(self) -> None:
        """Let it answer what it took, and then end."""
        self.process.terminate()


class Workers:
    """So many processes that do the same work behind one socket."""

    def __init__(self, count: int, work: Work, listening: socket.socket, gone: Gone) -> None:
        self._work = work
        self._listening = listening
        self._gone = gone
        self._count = count
        self._workers: dict[int, _Worker] = {}  # who serves, by place
        self._all: set[_Worker] = set()  # these, and who comes or goes
        self._again = asyncio.Event()
        self._turn = asyncio.Lock()  # whoever puts somebody in a place
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def processes(self) -> list[int]:
        """Who serves, by process id."""
        return [worker.pid for worker in self._workers.values()]

    async def open(self) -> None:
        """Have them all ready. Raises `LedgerError`s that keep one of them from it."""
        for place, worker in enumerate([self._start() for _ in range(self._count)]):
            await self._put(place, worker)
        self._tasks = [asyncio.ensure_future(self._keep(place)) for place in range(self._count)]
        self._tasks.append(asyncio.ensure_future(self._renew()))

    def renew(self) -> None:
        """Put a new one in the place of each, one after the other."""
        self._again.set()

    async def close(self) -> None:
        """Ask them to end, and wait for what they took to be answered. Whoever takes too long is killed, and
        everybody if this is cancelled."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listening.close()
        for worker in self._all:
            worker.ask_to_end()
        try:
            async with asyncio.timeout(END_SECONDS):
                await asyncio.gather(*(worker.ended() for worker in self._all))
        except TimeoutError:
            log.error("workers do not end", seconds=END_SECONDS)
        finally:
            for worker in self._all:
                worker.process.kill()

    def _start(self) -> _Worker:
        worker = _Worker(self._work, self._listening)
        self._all.add(worker)
        return worker

    async def _put(self, place: int, worker: _Worker) -> None:
        """Put a new one in a place once it is ready."""
        try:
            await worker.ready()
        except LedgerError:
            worker.process.kill()
            await self._wait(worker)
            raise
        self._workers[place] = worker
        log.info("worker ready", worker=place, process=worker.pid)

    async def _wait(self, worker: _Worker) -> None:
        await worker.ended()
        self._all.discard(worker)
        self._gone(worker.pid)

    async def _keep(self, place: int) -> None:
        """Replace whoever ends by itself in a place."""
        while True:
            worker = self._workers[place]
            await self._wait(worker)
            async with self._turn:
                while self._workers[place] is worker:
                    log.error("worker lost", worker=place, process=worker.pid, exit=worker.process.exitcode)
                    try:
                        await self._put(place, self._start())
                    except LedgerError as error:
                        log.error("no worker in its place", worker=place, code=error.code, what=error.what)
                        await asyncio.sleep(AGAIN_SECONDS)

    async def _renew(self) -> None:
        while True:
            await self._again.wait()
            self._again.clear()
            log.info("workers are renewed", workers=self._count)
            for place in range(self._count):
                async with self._turn:
                    old = self._workers[place]
                    try:
                        await self._put(place, self._start())
                    except LedgerError as error:
                        log.error("the old worker stays", worker=place, code=error.code, what=error.what)
                    else:
                        old.ask_to_end()


@asynccontextmanager
async def kept(count: int, work: Work, listening: socket.socket, gone: Gone) -> AsyncIterator[Workers]:
    """Workers that serve for the length of the block. `work` goes to other processes, so it has a name there.

    Raises `LedgerError`s that keep one of them from serving at all.
    """
    workers = Workers(count, work, listening, gone)
    loop = asyncio.get_running_loop()
    try:
        await workers.open()
        loop.add_signal_handler(signal.SIGHUP, workers.renew)
        yield workers
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        await workers.close()


async def _readable(descriptor: int) -> None:
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(descriptor)


# --- in the worker's process ----------------------------------------------------------------------


def _serve(says: "connection.Connection", work: Work, listening: socket.socket) -> None:
    """What a worker does with its life. Ctrl-C and a closed terminal are for the process that a person
    started, and it may be asked to end more than once: by its parent, and by whoever ends all together."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    configure_logs()
    Thread(target=_end_with_parent, daemon=True).start()
    is_ready = False

    def ready() -> None:
        nonlocal is_ready
        is_ready = True
        says.send(None)

    async def until_asked() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await work(listening, ready, stop)

    try:
        uvloop.run(until_asked())
    except LedgerError as error:
        if is_ready:
            log.error("worker failed", code=error.code, what=error.what)
            raise SystemExit(1) from error
        with suppress(OSError):
            says.send(error)


def _end_with_parent() -> NoReturn:
    parent = parent_process()
    assert parent is not None  # noqa: S101 - this is its child
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    Event().wait(ORPHAN_SECONDS)
    os._exit(1)
