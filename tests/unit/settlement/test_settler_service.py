"""The settler's log: what stands in the way is told once, and so is that it does so no longer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from ledger.clock import VirtualClock
from ledger.market_events import MarketRulesPublished, TariffPublished
from ledger.registry import Registry
from ledger.settings import CommunitySettings, Settings
from settlement import settler_service
from settlement.settings import MarketSettings
from tests.support.campus import MORNING, Campus, key
from tests.support.trading import FLAT

SETTINGS = Settings(CommunitySettings("campus"))
MARKET = MarketSettings(mechanism="uniform_price", tariff="flat.toml")


class Idle:
    """A settler for which nothing waits."""

    is_behind = False

    async def step(self, most: int | None = None) -> list[Any]:
        return []


async def told(
    monkeypatch: pytest.MonkeyPatch, registries: list[Registry], at_work: Idle | None = None
) -> list[str]:
    """What is logged while the book is as told, one state after the other."""
    stop = asyncio.Event()

    @asynccontextmanager
    async def settler(*of: Any) -> AsyncIterator[Idle]:
        yield at_work or Idle()

    async def registry_of(settings: Settings) -> Registry:
        return registries.pop(0)

    async def wait(stop: asyncio.Event, seconds: float) -> None:
        if not registries:
            stop.set()

    replaced: dict[str, Callable[..., Any]] = {"settler": settler, "registry_of": registry_of, "_wait": wait}
    for name, value in replaced.items():
        monkeypatch.setattr(settler_service, name, value)
    with capture_logs() as logs:
        bus: Any = None
        await settler_service.keep_settling(
            SETTINGS, MARKET, bus, key("service"), VirtualClock(MORNING), stop
        )
    return [each["event"] for each in logs]


def registry(tariff: str) -> Registry:
    found = Registry("campus")
    rules = MarketRulesPublished(
        begin=MORNING, mechanism="uniform_price", tariff="flat", gate_minutes=0, final_days=7
    )
    for event in (Campus("campus").opening(), TariffPublished(tariff="flat", document=tariff), rules):
        found.apply(event)
    return found


async def test_a_tariff_that_is_mended_before_anything_waits_is_told_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hole = registry(FLAT.replace("from = 2026-01-01", "from = 2026-07-01"))
    mended = registry(FLAT)
    assert await told(monkeypatch, [hole, hole, mended]) == ["settlement waits", "settlement goes on"]


async def test_where_nothing_stands_in_the_way_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await told(monkeypatch, [registry(FLAT)]) == []
    assert await told(monkeypatch, [Registry("campus")]) == []


async def test_what_is_left_of_a_long_time_is_settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy(Idle):
        steps = 0

        async def step(self, most: int | None = None) -> list[Any]:
            assert most == settler_service.MOST_A_RUN
            self.steps += 1
            self.is_behind = self.steps < 3
            return []

    busy = Busy()
    assert await told(monkeypatch, [registry(FLAT)], busy) == []
    assert busy.steps == 3, "and then it waits for what closes"


async def test_a_settler_in_a_long_run_ends_soon_when_it_is_told_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop, let_go = asyncio.Event(), asyncio.Event()

    class Long(Idle):
        async def step(self, most: int | None = None) -> list[Any]:
            try:
                stop.set()
                await asyncio.sleep(60)
            finally:
                let_go.set()
            return []

    @asynccontextmanager
    async def settler(*of: Any) -> AsyncIterator[Idle]:
        yield Long()
        raise AssertionError("it was broken off")

    monkeypatch.setattr(settler_service, "settler", settler)
    with capture_logs() as logs:
        bus: Any = None
        async with asyncio.timeout(5):
            await settler_service.keep_settling(
                SETTINGS, MARKET, bus, key("service"), VirtualClock(MORNING), stop
            )
    assert let_go.is_set()
    assert [each["event"] for each in logs] == [
        "settler stopped within a run: it is rolled back, and made anew at the next start"
    ]
