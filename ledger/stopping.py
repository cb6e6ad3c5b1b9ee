"""How work ends when a service is asked to stop: soon, and as a whole or not at all."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

GRACE_SECONDS = 1.0
"""What is nearly done may be done."""


class BrokenOff(Exception):
    """Work was left, since its service is to stop."""


async def unless_stopped(
    work: Coroutine[Any, Any, T], stop: asyncio.Event, grace_seconds: float = GRACE_SECONDS
) -> T:
    """What `work` comes to. Once `stop` is set it has `grace_seconds` left, and then is cancelled, which its
    transaction does not outlive. Raises what it raises, and `BrokenOff`.
    """
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([task], timeout=grace_seconds)
        if not task.done():
            raise BrokenOff
        return task.result()
    finally:
        stopping.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
