"""Who waits for long is told, and leaves nothing behind."""

import asyncio

import pytest

from api.http.waiting import Busy, held


async def test_a_lock_that_is_not_given_back_in_time_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.http.waiting.WAIT_SECONDS", 0.01)
    lock = asyncio.Lock()
    async with held(lock, "exporting"):
        with pytest.raises(Busy, match="exporting"):
            async with held(lock, "exporting"):
                raise AssertionError
        assert lock.locked()
    async with held(lock, "exporting"):
        pass
    assert not lock.locked()
