"""Waiting for one's turn, but not for ever: who comes to a long queue is told so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from ledger.errors import Unavailable

WAIT_SECONDS = 10.0


class Busy(Unavailable):
    """Others are being served and take long."""

    code = "busy"


class Lock(Protocol):
    """What is waited for, and given back."""

    async def acquire(self) -> object:
        """Return when it is held by who asks."""

    def release(self) -> None:
        """Give it back."""


@asynccontextmanager
async def held(lock: Lock, what: str) -> AsyncIterator[None]:
    """The lock, for the length of the block. Raises `Busy` when it does not come free in time."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await lock.acquire()
    except TimeoutError:
        raise Busy(f"{what} keeps others busy", hint="try again in a moment") from None
    try:
        yield
    finally:
        lock.release()
