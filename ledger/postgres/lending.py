"""Connections to Postgres that are lent to whoever asks, each to one at a time.

    lend        one that lies idle, best the one that reads for this owner already; else a new one; else, when
                all there may be are lent, the next that comes back, in the order of asking
    at once     AT_ONCE, and the next when one comes back or when they turn out to be slow: then those do not
                count, and another is lent every QUICK_SECONDS. Short statements that run side by side on
                more connections than the store has cores take each other's time and caches
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
from typing import NamedTuple

from ledger.clock import monotonic_seconds
from ledger.postgres.connection import Connection, close
from ledger.postgres.errors import StoreUnavailable

AT_ONCE = 2
QUICK_SECONDS = 0.005
WAIT_SECONDS = 5.0
IDLE_SECONDS = 60.0
AGE_SECONDS = 3_600.0
CLOSE_SECONDS = 5.0
CLOSED_POLL_SECONDS = 0.01


class Lent:
    """A connection and whose rows it shows: those of `owner` and of nobody else, where it is one of these."""

    __slots__ = ("connection", "made_at", "owner", "since")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.owner: object = None
        self.made_at = self.since = monotonic_seconds()  # it is lent, or lies idle, since


class _Waiting(NamedTuple):
    """Who waits, to be given a connection, or room for a new one."""

    given: asyncio.Future[Lent | None]
    owner: object
    since: float


class Connections:
    """At most so many, made when they are needed by `made`, which raises `StoreUnavailable`."""

    def __init__(self, made: Callable[[], Awaitable[Connection]], most: int) -> None:
        self._made = made
        self._most = most
        self._count = 0  # those that are, are being made, or are not closed yet
        self._making = 0
        self._idle: list[Lent] = []  # the one that was used last is the last
        self._lent: set[Lent] = set()
        self._waiting: deque[_Waiting] = deque()
        self._closing: set[asyncio.Task[None]] = set()
        self._tick: asyncio.TimerHandle | None = None  # while somebody waits
        self._look: asyncio.TimerHandle | None = None  # while one lies idle
        self._is_closed = False

    async def lend(self, owner: object = None) -> Lent:
        """One connection, to be given back. Raises `StoreUnavailable`: also when none comes free in time."""
        if self._is_closed:
            raise _closed()
        if self._waiting or not self._may_lend():
            return await self._wait(owner) or await self._new()
        if (found := self._taken(owner)) is not None:
            return found
        return await self._new() if self._has_room() else await self._wait(owner) or await self._new()

    def give_back(self, lent: Lent, *, is_sound: bool = True) -> None:
        """Take it back; `is_sound` when nothing is under way on it."""
        self._lent.discard(lent)
        connection, now = lent.connection, monotonic_seconds()
        is_sound = is_sound and not connection.is_closed() and not connection.is_in_transaction()
        if self._is_closed or not is_sound or now - lent.made_at > AGE_SECONDS:
            self._let_go(lent)
        else:
            lent.since = now
            self._idle.append(lent)
            if self._look is None:
                self._look_again()
        self._serve()

    async def close(self) -> None:
        """Leave, when those who have borrowed are done, or soon."""
        self._is_closed = True
        for timer in (self._tick, self._look):
            if timer is not None:
                timer.cancel()
        for waiting in self._waiting:
            _refuse(waiting, _closed())
        self._waiting.clear()
        while self._idle:
            self._let_go(self._idle.pop())
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._count:
                    await asyncio.sleep(CLOSED_POLL_SECONDS)
        for lent in self._lent:
            lent.connection.terminate()

    # --- lending ------------------------------------------------------------------------------

    def _may_lend(self) -> bool:
        """Whether one more may be lent at once, beside those that were lent a moment ago."""
        if len(self._lent) + self._making < AT_ONCE:
            return True
        before = monotonic_seconds() - QUICK_SECONDS
        return sum(lent.since > before for lent in self._lent) + self._making < AT_ONCE

    def _taken(self, owner: object) -> Lent | None:
        """One that lies idle: the owner's own, or the one that was used last, which remembers most."""
        while self._idle:
            mine = (place for place in range(len(self._idle) - 1, -1, -1) if self._idle[place].owner == owner)
            found = self._idle.pop(next(mine, -1))
            if not found.connection.is_closed():
                found.since = monotonic_seconds()
                self._lent.add(found)
                return found
            self._count -= 1
        return None

    def _has_room(self) -> bool:
        """Whether there may be one more, which is made then."""
        if self._count >= self._most:
            return False
        self._count += 1
        self._making += 1
        return True

    async def _new(self) -> Lent:
        """One more, for which there is room."""
        try:
            lent = Lent(await self._made())
        except BaseException:
            self._leave_room()
            raise
        self._making -= 1
        self._lent.add(lent)
        return lent

    def _leave_room(self) -> None:
        self._making -= 1
        self._count -= 1
        self._serve()

    # --- waiting ------------------------------------------------------------------------------

    async def _wait(self, owner: object) -> Lent | None:
        """The next that comes back, or none where there is room for a new one."""
        given: asyncio.Future[Lent | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(given, owner, monotonic_seconds()))
        self._tick_again()
        try:
            return await given
        except BaseException:
            self._take_back(given)
            raise

    def _take_back(self, given: asyncio.Future[Lent | None]) -> None:
        """Who waited goes away: what was given in that moment is for somebody else."""
        if not given.done():
            given.cancel()
        elif not given.cancelled() and given.exception() is None:
            lent = given.result()
            if lent is None:
                self._leave_room()
            else:
                self.give_back(lent)

    def _serve(self) -> None:
        """Lend to who waits, in the order of asking, as long as one more may be lent at once."""
        while self._waiting and self._may_lend():
            given, owner, _ = self._waiting[0]
            if not given.done():
                lent = self._taken(owner)
                if lent is None and not self._has_room():
                    break
                given.set_result(lent)
            self._waiting.popleft()

    def _tick_again(self) -> None:
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(QUICK_SECONDS, self._look_at_waiting)

    def _look_at_waiting(self) -> None:
        """Serve who waits behind those that turned out to be slow, and refuse who has waited too long."""
        self._tick = None
        self._serve()
        before = monotonic_seconds() - WAIT_SECONDS
        while self._waiting and self._waiting[0].since < before:
            told = StoreUnavailable(
                f"all {self._most} connections to Postgres are taken", hint="is a query slow?"
            )
            _refuse(self._waiting.popleft(), told)
        if self._waiting:
            self._tick_again()

    # --- letting go ---------------------------------------------------------------------------

    def _let_go(self, lent: Lent) -> None:
        task = asyncio.ensure_future(self._end(lent))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _end(self, lent: Lent) -> None:
        """Close it; what still runs on it is cancelled at the store first."""
        try:
            await close(lent.connection)
        finally:
            self._count -= 1
            self._serve()

    def _look_again(self) -> None:
        self._look = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        self._look, before = None, monotonic_seconds() - IDLE_SECONDS
        idle, self._idle = self._idle, []
        for lent in idle:
            if lent.since <= before:
                self._let_go(lent)
            else:
                self._idle.append(lent)
        if self._idle:
            self._look_again()


def _refuse(waiting: _Waiting, error: StoreUnavailable) -> None:
    if not waiting.given.done():
        waiting.given.set_exception(error)


def _closed() -> StoreUnavailable:
    return StoreUnavailable("the connections to Postgres are closed")
