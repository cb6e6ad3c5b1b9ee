"""Simulated meters on real sockets, read by the line as they show themselves."""

import asyncio
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from ingest.meter_model import load_models
from ingest.meter_reading import Reading
from ingest.modbus import FramerName, Line, LineSettings, MeterOnLine, ModbusServer, ModbusTimeout
from ingest.modbus.server import PortUnavailable
from ingest.simulator import Profiles, ProfileSource, Registers, SimulatedLine, SimulatedMeter, Simulator
from ledger.clock import SystemClock, VirtualClock
from tests.support.simulated_line import BOTH, SHOWN, START, Still, line_to, simulated

MODELS = load_models()
QUARTER = timedelta(minutes=15)


@pytest.mark.parametrize("framer", BOTH)
@pytest.mark.parametrize("name", sorted(MODELS))
async def test_every_model_is_read_as_it_shows_itself(name: str, framer: FramerName) -> None:
    model = MODELS[name]
    serial = "20260001" if model.serial else None
    clock = VirtualClock(START)
    async with simulated(SimulatedMeter(7, model, Still(), clock, serial=serial), framer=framer) as there:
        line = line_to(there)
        reading = await line.read(MeterOnLine(7, model), serial=True)
        assert (reading.import_wh, reading.export_wh, reading.power_w) == SHOWN
        assert (reading.serial, reading.read_at) == (serial, START)
        await line.close()


async def test_many_meters_live_behind_many_ports(tmp_path: Path) -> None:
    clock = VirtualClock(START)
    lines = [
        SimulatedLine(
            [
                SimulatedMeter(unit, MODELS["sdm630"], Still(Registers(place, unit, 0)), clock)
                for unit in range(1, 31)
            ],
            framer=framer,
        )
        for place, framer in enumerate(BOTH)
    ]
    async with Simulator(lines):
        assert lines[0].port != lines[1].port
        for place, there in enumerate(lines):
            line = line_to(there)
            for unit in range(1, 31):
                reading = await line.read(MeterOnLine(unit, MODELS["sdm630"]))
                assert (reading.import_wh, reading.export_wh) == (place, unit)
            assert line.counters.connects == 1
            await line.close()


async def test_a_day_on_a_virtual_clock_adds_up_to_its_profile(tmp_path: Path) -> None:
    path = tmp_path / "profiles.csv"
    rows = [f"{START.replace(tzinfo=None) + q * QUARTER:%Y-%m-%dT%H:%M},0.{q:04}" for q in range(96)]
    path.write_text("\n".join(["local_time,load", *rows]))
    clock = VirtualClock(START)
    source = ProfileSource(Profiles.read(path), starts=START, load="load", peak_w=4_000_000)
    model = MODELS["schneider-iem3x55"]
    async with simulated(SimulatedMeter(1, model, source, clock)) as there:
        line = line_to(there)
        readings: list[Reading] = []
        for quarter in range(97):
            await clock.sleep_until(START + quarter * QUARTER)
            readings.append(await line.read(MeterOnLine(1, model)))
        await line.close()
    energies = [later.import_wh - earlier.import_wh for earlier, later in pairwise(readings)]
    assert energies == [100 * quarter for quarter in range(96)]


async def test_a_taken_port_opens_none_of_the_others() -> None:
    async with simulated() as there:
        free, taken = SimulatedLine([]), SimulatedLine([], port=there.port)
        with pytest.raises(PortUnavailable):
            await Simulator([free, taken]).start()
        async with Simulator([SimulatedLine([], port=free.port)]):
            pass  # the other port was given back


async def test_requests_that_are_no_reads_are_refused_and_noise_is_ignored() -> None:
    async with simulated(SimulatedMeter(1, MODELS["sdm630"], Still(), SystemClock())) as there:
        reader, writer = await asyncio.open_connection(there.host, there.port)
        writer.write(bytes.fromhex("0001000000060106000a0003"))  # write a register
        assert await reader.readexactly(9) == bytes.fromhex("000100000003018601")
        writer.write(bytes.fromhex("00020000000301ffff"))
        writer.write(bytes.fromhex("000300000006010400480002"))
        assert (await reader.readexactly(13))[:9] == bytes.fromhex("000300000007010404")
        writer.close()
        await writer.wait_closed()


async def test_a_server_can_be_given_any_responder() -> None:
    class Nobody:
        def reply(self, request: object) -> None:
            return None

    server = ModbusServer("127.0.0.1", 0, "tcp", Nobody())
    await server.start()
    line = Line(LineSettings("127.0.0.1", server.port, timeout_ms=20, quiet_ms=1, attempts=1), SystemClock())
    with pytest.raises(ModbusTimeout):
        await line.read_registers(1, 3, 0, 1)
    await line.close()
    await server.close()
