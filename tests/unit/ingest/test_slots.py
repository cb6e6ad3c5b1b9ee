"""Meters are read on the boundaries of the book's own intervals, in whatever zone it was opened."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest.gateway_service import compose
from ingest.poller import next_slot
from ingest.settings import GatewayLine, GatewaySettings, MeterSettings
from ledger.bus import BusSettings
from ledger.clock import VirtualClock
from ledger.grid import Grid
from ledger.keys import SigningKey
from ledger.opening import LedgerKeys
from ledger.settings import CommunitySettings, DataSettings, Settings

ZONES = ("Asia/Bangkok", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin")
DAYS = (
    datetime(2026, 3, 29, tzinfo=UTC),
    datetime(2026, 6, 1, tzinfo=UTC),
    datetime(2026, 10, 25, tzinfo=UTC),
)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("minutes", [5, 10, 15, 30, 60])
@pytest.mark.parametrize("day", DAYS, ids=str)
def test_every_slot_is_a_boundary_and_no_boundary_is_left_out(zone: str, minutes: int, day: datetime) -> None:
    grid, interval = Grid(minutes, zone), timedelta(minutes=minutes)
    slot = next_slot(day - timedelta(hours=3), interval, None, grid.offset)
    while slot < day + timedelta(hours=30):
        assert grid.boundary(int(slot.timestamp())) == slot.timestamp()
        following = next_slot(slot, interval, slot, grid.offset)
        assert following - slot == interval
        slot = following


class WatchedClock(VirtualClock):
    """Remembers what was waited for, and says when it was often enough."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self.awaited: list[datetime] = []
        self.enough = asyncio.Event()

    async def sleep_until(self, instant: datetime) -> None:
        self.awaited.append(instant)
        if len(self.awaited) == 5:
            self.enough.set()
        await super().sleep_until(instant)


@pytest.mark.parametrize(("zone", "minutes"), [("Asia/Kolkata", 60), ("Asia/Kathmandu", 30)])
async def test_a_gateway_reads_when_the_intervals_of_its_book_begin(
    tmp_path: Path, zone: str, minutes: int
) -> None:
    settings = Settings(
        community=CommunitySettings(id="campus", zone=zone, interval_minutes=minutes),  # type: ignore[arg-type]
        data=DataSettings(folder=str(tmp_path)),
        nats=BusSettings(url="nats://127.0.0.1:1"),
    )
    LedgerKeys.load_or_create(settings.keys_folder)
    SigningKey.load_or_create(settings.keys_folder / "gw-1.pem")
    meter = MeterSettings(id="m-1", unit=1, model="sdm630", rated_w=69_000, building="b-1")
    nobody = GatewayLine(host="127.0.0.1", port=1, meters=(meter,))
    clock, grid = WatchedClock(DAYS[1]), Grid(minutes, zone)
    async with compose(GatewaySettings(id="gw-1", lines=(nobody,)), settings, clock) as gateway:
        await gateway.run(clock.enough)
    assert all(grid.boundary(int(slot.timestamp())) == slot.timestamp() for slot in clock.awaited)
