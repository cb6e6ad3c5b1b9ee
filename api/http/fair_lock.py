"""A lock for which names wait and not requests: whoever sends a hundred is one of those who wait."""

import asyncio
from collections import deque


class FairLock:
    """Held by one at a time. When it comes free, the next name has it, for the request that came first."""

    def __init__(self) -> None:
        self._is_held = False
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by name, the next one in front

    def of(self, name: str) -> "Place":
        """The lock, as it is waited for under a name."""
        return Place(self, name)

    async def acquire(self, name: str) -> None:
        """Return when it is held by who asks."""
        if not self._is_held:
            self._is_held = True
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():  # it was given the lock in the same moment
                self.release()
            raise

    def release(self) -> None:
        """Let the next name have it."""
        while self._waiting:
            name = next(iter(self._waiting))
            queue = self._waiting.pop(name)
            while queue and (first := queue.popleft()).cancelled():
                pass  # who waited has gone
            if queue:
                self._waiting[name] = queue  # behind all others
            if not first.cancelled():
                first.set_result(None)
                return
        self._is_held = False


class Place:
    """A name's place among those who wait."""

    def __init__(self, lock: FairLock, name: str) -> None:
        self._lock = lock
        self._name = name

    async def acquire(self) -> None:
        """Return when it is held by who asks."""
        await self._lock.acquire(self._name)

    def release(self) -> None:
        """Let the next name have it."""
        self._lock.release()
