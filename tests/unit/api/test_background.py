"""Services beside a block: they end when it does, whatever they are doing."""

import asyncio

import pytest
from structlog.testing import capture_logs

from api import installation
from api.installation import background


async def test_a_service_that_ends_when_it_is_asked_to_is_waited_for() -> None:
    ended = False

    async def service(stop: asyncio.Event) -> None:
        nonlocal ended
        await stop.wait()
        await asyncio.sleep(0.01)
        ended = True

    with capture_logs() as logs:
        async with background(service):
            pass
    assert ended
    assert logs == []


async def test_a_service_that_does_not_end_is_cancelled_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "STOP_SECONDS", 0.05)
    let_go = False

    async def busy(stop: asyncio.Event) -> None:
        nonlocal let_go
        try:
            await asyncio.sleep(60)
        finally:
            let_go = True

    with capture_logs() as logs:
        async with asyncio.timeout(5), background(busy):
            await asyncio.sleep(0)
    assert let_go
    (told,) = logs
    assert told["event"] == "a service does not end by itself, it is cancelled"
    assert "busy" in told["service"]


async def test_a_service_that_fails_ends_the_block_with_its_error() -> None:
    async def service(stop: asyncio.Event) -> None:
        raise LookupError("none")

    with pytest.raises(LookupError):
        async with background(service):
            await asyncio.sleep(60)
