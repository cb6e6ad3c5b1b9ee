"""Work ends soon when its service is asked to stop, and says whether it was done."""

import asyncio

import pytest

from ledger.stopping import BrokenOff, unless_stopped


async def test_work_that_is_not_stopped_comes_to_what_it_comes_to() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await unless_stopped(work(), asyncio.Event()) == 7


async def test_what_is_nearly_done_is_done() -> None:
    stop = asyncio.Event()
    stop.set()
    assert await unless_stopped(asyncio.sleep(0.01, 7), stop, grace_seconds=5) == 7


async def test_what_takes_longer_is_cancelled_and_has_let_go_by_then() -> None:
    stop, let_go = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            stop.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            let_go.set()

    with pytest.raises(BrokenOff):
        await unless_stopped(work(), stop, grace_seconds=0.01)
    assert let_go.is_set()


async def test_what_work_raises_is_raised() -> None:
    async def work() -> None:
        raise LookupError("none")

    with pytest.raises(LookupError):
        await unless_stopped(work(), asyncio.Event())


async def test_who_waits_and_is_cancelled_takes_the_work_along() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    waiting = asyncio.ensure_future(unless_stopped(work(), asyncio.Event()))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
