"""Connections to Postgres that are lent to whoever asks, each to one at a time.

    lend        one that lies idle, best the one that reads for this owner already; else a new one; else, when
                all there may be are lent, the next that comes back, in the order of asking
    give back   to who waits longest, or it lies idle; after IDLE_SECONDS or at the age of AGE_SECONDS it is
                closed
    let go      one of which it cannot be known what it is doing: its borrower was interrupted, its
                transaction is open, the store has closed it

The library's pool does not know one connection from another: one that reads for a building would be handed to
the next building, which costs a round trip, while that one's own lies idle. And what it does for each loan
takes a tenth of a short request.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ledger.clock import monotonic_seconds
from ledger.postgres.connection import Connection, close
from ledger.postgres.errors import StoreUnavailable

WAIT_SECONDS = 5.0
IDLE_SECONDS = 60.0
AGE_SECONDS = 3_600.0
CLOSE_SECONDS = 5.0


class Lent:
    """A connection and whose rows it shows: those of `owner` and of nobody else, where it is one of these."""

    __slots__ = ("connection", "idle_since", "made_at", "owner")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.owner: object = None
        self.made_at = self.idle_since = monotonic_seconds()


_Waiting = asyncio.Future[Lent | None]
"""Who waits is given a connection, or room for a new one."""


class Connections:
    """At most so many, made when they are needed by `made`, which raises `StoreUnavailable`."""

    def __init__(self, made: Callable[[], Awaitable[Connection]], most: int) -> None:
        self._made = made
        self._most = most
        self._count = 0  # those that are, are being made, or are not closed yet
        self._idle: list[Lent] = []  # the one that was used last is the last
        self._lent: set[Lent] = set()
        self._waiting: deque[_Waiting] = deque()
        self._closing: set[asyncio.Task[None]] = set()
        self._look: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def lend(self, owner: object = None) -> Lent:
        """One connection, to be given back. Raises `StoreUnavailable`: also when none comes free in time."""
        if self._is_closed:
            raise _closed()
        found = self._taken(owner)
        if found is None:
            if self._count < self._most:
                self._count += 1
            else:
                found = await self._next()
            found = found or await self._new()
        self._lent.add(found)
        return found

    def give_back(self, lent: Lent, *, is_sound: bool = True) -> None:
        """Take it back; `is_sound` when nothing is under way on it."""
        self._lent.discard(lent)
        connection, now = lent.connection, monotonic_seconds()
        is_sound = is_sound and not connection.is_closed() and not connection.is_in_transaction()
        if self._is_closed or not is_sound or now - lent.made_at > AGE_SECONDS:
            self._let_go(lent)
            return
        if (waiting := self._first_waiting()) is not None:
            waiting.set_result(lent)
            return
        lent.idle_since = now
        self._idle.append(lent)
        if self._look is None:
            self._look_again()

    async def close(self) -> None:
        """Leave, when those who have borrowed are done, or soon."""
        self._is_closed = True
        if self._look is not None:
            self._look.cancel()
        while (waiting := self._first_waiting()) is not None:
            waiting.set_exception(_closed())
        while self._idle:
            self._let_go(self._idle.pop())
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._count:
                    await asyncio.sleep(0.01)
        for lent in self._lent:
            lent.connection.terminate()

    # --- lending ------------------------------------------------------------------------------

    def _taken(self, owner: object) -> Lent | None:
        """One that lies idle: the owner's own, or the one that nobody has missed for longest."""
        while self._idle:
            mine = (place for place in range(len(self._idle) - 1, -1, -1) if self._idle[place].owner == owner)
            found = self._idle.pop(next(mine, 0))
            if not found.connection.is_closed():
                return found
            self._pass_on_room()
        return None

    async def _next(self) -> Lent | None:
        """The next that comes back, or none where there is room for a new one."""
        loop = asyncio.get_running_loop()
        waiting: _Waiting = loop.create_future()
        self._waiting.append(waiting)
        too_long = loop.call_later(WAIT_SECONDS, self._tell_too_long, waiting)
        try:
            return await waiting
        except BaseException:
            self._refuse(waiting)
            raise
        finally:
            too_long.cancel()

    def _tell_too_long(self, waiting: _Waiting) -> None:
        if not waiting.done():
            waiting.set_exception(
                StoreUnavailable(
                    f"all {self._most} connections to Postgres are taken", hint="is a query slow?"
                )
            )

    def _refuse(self, waiting: _Waiting) -> None:
        """Who waited goes away: what was given in that moment is for somebody else."""
        if not waiting.done():
            waiting.cancel()
        elif not waiting.cancelled() and waiting.exception() is None:
            given = waiting.result()
            if given is None:
                self._pass_on_room()
            else:
                self.give_back(given)

    async def _new(self) -> Lent:
        try:
            return Lent(await self._made())
        except BaseException:
            self._pass_on_room()
            raise

    def _first_waiting(self) -> _Waiting | None:
        while self._waiting:
            if not (found := self._waiting.popleft()).done():
                return found
        return None

    # --- letting go ---------------------------------------------------------------------------

    def _pass_on_room(self) -> None:
        """One connection less: who waits may make another."""
        if (waiting := self._first_waiting()) is not None:
            waiting.set_result(None)
        else:
            self._count -= 1

    def _let_go(self, lent: Lent) -> None:
        task = asyncio.ensure_future(self._end(lent))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _end(self, lent: Lent) -> None:
        """Close it; what still runs on it is cancelled at the store first."""
        try:
            await close(lent.connection)
        finally:
            self._pass_on_room()

    def _look_again(self) -> None:
        self._look = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        self._look, now = None, monotonic_seconds()
        idle, self._idle = self._idle, []
        for lent in idle:
            if now - lent.idle_since >= IDLE_SECONDS:
                self._let_go(lent)
            else:
                self._idle.append(lent)
        if self._idle:
            self._look_again()


def _closed() -> StoreUnavailable:
    return StoreUnavailable("the connections to Postgres are closed")
