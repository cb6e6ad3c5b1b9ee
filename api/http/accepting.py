"""Connections are accepted from a socket that several processes may share.

The system wakes everybody who listens there, and whoever comes first could take all who wait: clients keep
their connections, so one process would serve them for hours and the others nobody. So who has connections
leaves the next one to the others for a moment, the longer the more it has, and takes it if nobody else has.
"""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice

import structlog

log = structlog.get_logger(__name__)

PAUSE_EACH = 50e-6
PAUSE_MAX = 5e-3
"""Seconds: for each connection that one has, and at the most."""
SHARE = 64
"""Who has this many takes one more at a time, so that a rush is taken as fast as it comes."""
FULL_SECONDS = 1.0
FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """Gives each connection to `taken`. Of those it has, `count` tells how many."""

    def __init__(
        self,
        listening: socket.socket,
        taken: Callable[[socket.socket], Awaitable[object]],
        count: Callable[[], int],
        *,
        is_shared: bool,
    ) -> None:
        self._listening = listening
        self._taken = taken
        self._count = count
        self._is_shared = is_shared
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._coming: set[asyncio.Future[object]] = set()
        listening.setblocking(False)
        self._loop.add_reader(listening, self._come)

    async def end(self) -> None:
        """Take who waits already, then nobody any more."""
        self._loop.remove_reader(self._listening)
        self._take(None)
        if self._pause is not None:
            self._pause.cancel()
        await asyncio.gather(*self._coming, return_exceptions=True)

    def _come(self) -> None:
        """Somebody waits."""
        if (pause := self._pause_seconds()) > 0:
            self._wait(pause)
        else:
            self._take(self._share())

    def _pause_seconds(self) -> float:
        return min(self._have() * PAUSE_EACH, PAUSE_MAX) if self._is_shared else 0.0

    def _share(self) -> int | None:
        return 1 + self._have() // SHARE if self._is_shared else None

    def _have(self) -> int:
        return self._count() + len(self._coming)

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._pause = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening, self._come)
        self._take(self._share())

    def _take(self, most: int | None) -> None:
        try:
            for accepted in islice(_waiting(self._listening), most):
                coming = asyncio.ensure_future(self._taken(accepted))
                self._coming.add(coming)
                coming.add_done_callback(self._coming.discard)
        except OSError as error:  # what waits goes on waiting
            log.error("cannot accept connections for now", why=error.strerror)
            self._wait(FULL_SECONDS)


def _waiting(listening: socket.socket) -> Iterator[socket.socket]:
    while True:
        try:
            accepted, _ = listening.accept()
        except OSError as error:
            if error.errno in FULL:
                raise
            return  # nobody waits any more, or whoever did has gone
        accepted.setblocking(False)
        yield accepted
