"""Names take turns at a lock, however often each of them asks, and nobody who goes keeps it."""

import asyncio

import pytest

from api.http.fair_lock import FairLock
from api.http.waiting import Busy, held


async def hold(lock: FairLock, name: str, order: list[str]) -> None:
    async with held(lock.of(name), "it"):
        order.append(name)
        await asyncio.sleep(0)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_often_is_one_of_those_who_wait() -> None:
    lock, order = FairLock(), list[str]()
    await lock.acquire("first")
    many = [asyncio.ensure_future(hold(lock, "many", order)) for _ in range(5)]
    await settled()
    others = [asyncio.ensure_future(hold(lock, name, order)) for name in ("b", "a", "b")]
    await settled()
    lock.release()
    await asyncio.gather(*many, *others)
    assert order == ["many", "b", "a", "many", "b", "many", "many", "many"]


async def test_only_one_holds_it_and_who_comes_when_it_is_free_does_not_wait() -> None:
    lock = FairLock()
    for _ in range(3):
        await lock.acquire("a")
        second = asyncio.ensure_future(lock.acquire("b"))
        await settled()
        assert not second.done()
        lock.release()
        await second
        lock.release()


async def test_who_goes_while_waiting_is_passed_over_and_costs_the_name_nothing() -> None:
    lock, order = FairLock(), list[str]()
    await lock.acquire("first")
    tasks = [asyncio.ensure_future(hold(lock, name, order)) for name in ("a", "a", "b", "c")]
    await settled()
    for gone in (tasks[0], tasks[2]):
        gone.cancel()
    await settled()
    lock.release()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["a", "c"]
    await lock.acquire("free again")


async def test_who_goes_in_the_moment_of_being_served_passes_it_on() -> None:
    lock = FairLock()
    await lock.acquire("first")
    gone, next_one = (asyncio.ensure_future(lock.acquire(name)) for name in ("a", "b"))
    await settled()
    lock.release()
    gone.cancel()
    await next_one
    assert gone.cancelled()


async def test_who_waits_too_long_is_told_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.waiting.WAIT_SECONDS", 0.01)
    lock = FairLock()
    await lock.acquire("first")
    with pytest.raises(Busy):
        await hold(lock, "a", [])
    lock.release()
    async with asyncio.timeout(1):
        await lock.acquire("b")
