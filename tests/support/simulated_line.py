"""Simulated meters on a real socket, and a line to ask them on."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec

from ingest.modbus import FramerName, Line, LineSettings
from ingest.simulator import Registers, SimulatedLine, SimulatedMeter, Simulator
from ledger.clock import SystemClock, VirtualClock

START = datetime(2026, 6, 1, tzinfo=UTC)
SHOWN = Registers(1_234_500, 700, 12_300)
BOTH: tuple[FramerName, ...] = ("tcp", "rtu")


class Still:
    """A meter that shows the same for ever."""

    def __init__(self, shown: Registers = SHOWN) -> None:
        self.shown = shown

    def registers_at(self, instant: datetime) -> Registers:
        return self.shown


class Exporting:
    """A meter that has just begun to export, three kilowatt-hours a second."""

    def __init__(self, power_w: int) -> None:
        self.power_w = power_w
        self.begun = SystemClock().now()

    def registers_at(self, instant: datetime) -> Registers:
        return Registers(5000, (instant - self.begun) * 3000 // timedelta(seconds=1), self.power_w)


def line_to(simulated: SimulatedLine, **settings: int) -> Line:
    values = {"pause_ms": 0, "timeout_ms": 60, "quiet_ms": 20} | settings
    return Line(
        msgspec.convert(
            {"host": simulated.host, "port": simulated.port, "framer": simulated.framer} | values,
            LineSettings,
        ),
        VirtualClock(START),
    )


@contextlib.asynccontextmanager
async def simulated(*meters: SimulatedMeter, framer: FramerName = "tcp") -> AsyncIterator[SimulatedLine]:
    line = SimulatedLine(meters, framer=framer)
    async with Simulator([line]):
        yield line
