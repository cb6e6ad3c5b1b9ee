"""Meters on real sockets, read by the line, found by the scan, judged by the check."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from cyclopts import App

from ingest.meter_commands import check, models, scan
from ingest.meter_examination import MeterDoubtful, examine
from ingest.meter_model import MODELS_FOLDER, MeterModelUnknown, load_models
from ingest.meter_reading import Reading
from ingest.meter_scan import scan_line
from ingest.modbus import (
    FramerName,
    Line,
    LineSettings,
    MeterOnLine,
    ModbusServer,
    ModbusTimeout,
    Unreachable,
)
from ingest.modbus.server import PortUnavailable
from ingest.simulator import (
    GlitchZero,
    NoAnswer,
    Profiles,
    ProfileSource,
    Registers,
    SimulatedLine,
    SimulatedMeter,
    Simulator,
)
from ledger.clock import SystemClock, VirtualClock
from ledger.errors import BadInput

MODELS = load_models()
START = datetime(2026, 6, 1, tzinfo=UTC)
SHOWN = Registers(1_234_500, 700, 12_300)
QUARTER = timedelta(minutes=15)
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


# --- the installer's commands ---------------------------------------------------------------------


@pytest.mark.parametrize("framer", BOTH)
async def test_a_scan_finds_who_answers_and_which_models_fit(framer: FramerName) -> None:
    clock = VirtualClock(START)
    meters = [
        SimulatedMeter(2, MODELS["sdm630"], Still(), clock, serial="20260001"),
        SimulatedMeter(3, MODELS["abb-b23"], Still(), clock, serial="77"),
        SimulatedMeter(5, MODELS["sunspec-int"], Still(), clock, serial="SN-5"),
        SimulatedMeter(6, MODELS["schneider-pm5xxx"], Still(Registers(0, 0, 0)), clock),
    ]
    async with simulated(*meters, framer=framer) as there:
        line = line_to(there, attempts=1)
        told: list[int] = []
        result = await scan_line(line, range(1, 8), MODELS, seconds_max=60, on_unit=told.append)
        await line.close()
    assert told == list(range(1, 8))
    assert (result.silent, result.unasked) == ((1, 4, 7), ())
    found = {unit.unit: unit.fits for unit in result.found}
    assert set(found) == {2, 3, 5, 6}
    assert [fit.models for fit in found[2]] == [("sdm630", "sdm72d-m"), ("sdm120",)]
    assert found[2][0].reading.serial == "20260001"
    assert found[2][0].reading.import_wh == SHOWN.import_wh
    assert [(fit.models, fit.reading.serial) for fit in found[3]] == [(("abb-b23",), "77")]
    assert [(fit.models, fit.reading.serial) for fit in found[5]] == [(("sunspec-int",), "SN-5")]
    assert [fit.models for fit in found[6]] == [("schneider-pm5xxx",)]
    assert "zero" in found[6][0].remark


async def test_a_scan_ends_in_time_and_says_what_it_left_out() -> None:
    async with simulated(framer="rtu") as there:
        line = line_to(there, attempts=1)
        result = await scan_line(line, range(1, 248), MODELS, seconds_max=0.4)
        await line.close()
    assert result.unasked
    assert (*result.silent, *result.unasked) == tuple(range(1, 248))


async def test_a_scan_of_nothing_says_so_at_once() -> None:
    async with simulated() as there:
        port = there.port
    line = Line(LineSettings("127.0.0.1", port, attempts=1), SystemClock())
    with pytest.raises(Unreachable):
        await scan_line(line, range(1, 248), MODELS, seconds_max=60)


@pytest.mark.parametrize("framer", BOTH)
async def test_the_scan_command_prints_json(framer: FramerName, capsys: pytest.CaptureFixture[str]) -> None:
    meter = SimulatedMeter(2, MODELS["sdm630"], Still(), VirtualClock(START), serial="42")
    async with simulated(meter, framer=framer) as there:
        await asyncio.to_thread(
            scan, there.host, port=there.port, framer=framer, units="1-2", timeout_ms=60, json=True
        )
    printed = json.loads(capsys.readouterr().out)
    assert printed["silent"] == [1]
    fit = printed["found"][0]["fits"][0]
    assert fit["models"] == ["sdm630", "sdm72d-m"]
    assert fit["reading"]["import_wh"] == SHOWN.import_wh
    assert fit["reading"]["serial"] == "42"


async def test_the_commands_bind_lazily_and_speak_to_people(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    app = App(result_action="return_value")
    app.command("ingest.meter_commands:scan", name="scan")
    app.command("ingest.meter_commands:test", name="test")
    app.command("ingest.meter_commands:models", name="models")
    app.command("ingest.meter_commands:simulate", name="simulate")
    meter = SimulatedMeter(2, MODELS["sdm630"], Exporting(-3000), SystemClock(), serial="42")
    async with simulated(meter, framer="rtu") as there:
        where = [there.host, "--port", str(there.port), "--framer", "rtu"]
        await asyncio.to_thread(app, ["scan", *where, "--units", "2,9", "--timeout-ms", "60"])
        assert "sdm630 or sdm72d-m" in " ".join(capsys.readouterr().out.split())
        options = ["--unit", "2", "--times", "3", "--interval-ms", "30", "--pause-ms", "0"]
        await asyncio.to_thread(app, ["test", there.host, "sdm630", *where[1:], *options])
        printed = " ".join(capsys.readouterr().out.split())
        assert "serial number 42" in printed
        assert "the energies move as the sign of the power says: export of 3000 W" in printed
    await asyncio.to_thread(app, ["models"])
    assert "carlo-gavazzi" in capsys.readouterr().out


async def test_swapped_directions_are_a_problem_in_plain_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    meter = SimulatedMeter(1, MODELS["abb-b23"], Exporting(+3000), SystemClock(), serial="1")
    async with simulated(meter) as there:
        with pytest.raises(MeterDoubtful, match="swapped") as doubtful:
            await asyncio.to_thread(
                check, there.host, "abb-b23", port=there.port, times=3, interval_ms=30, json=True
            )
    assert doubtful.value.exit_code == 2
    printed = json.loads(capsys.readouterr().out)
    assert [sample["reading"]["raw"] != "" for sample in printed["samples"]] == [True] * 3
    assert "problem" in {finding["level"] for finding in printed["findings"]}


async def test_an_examination_tells_of_failed_and_repeated_readings() -> None:
    meter = SimulatedMeter(1, MODELS["sdm630"], Still(), VirtualClock(START), serial="1")
    async with simulated(meter) as there:
        line = line_to(there, attempts=2)
        on_line = MeterOnLine(1, MODELS["sdm630"])
        meter.fault(NoAnswer(), times=1)
        once = await examine(line, on_line, times=2, interval_s=0)
        assert once.problem is None
        assert any("1 time-outs" in finding.text for finding in once.findings)
        meter.fault(NoAnswer(), times=2)
        twice = await examine(line, on_line, times=2, interval_s=0)
        assert twice.problem is not None
        assert "1 of 2 readings failed" in twice.problem
        meter.fault(NoAnswer())
        with pytest.raises(ModbusTimeout):
            await examine(line, on_line, times=2, interval_s=0)
        await line.close()


async def test_an_examination_notices_a_register_that_went_back() -> None:
    meter = SimulatedMeter(1, MODELS["sdm630"], Still(), VirtualClock(START))
    async with simulated(meter) as there:
        line = line_to(there)
        on_line = MeterOnLine(1, MODELS["sdm630"])
        await line.read(on_line)
        meter.fault(GlitchZero(), times=4)
        examination = await examine(line, on_line, times=6, interval_s=0)
        assert examination.problem is None  # zero first, then forward again
        meter.fault(GlitchZero())
        meter.clear()
        task = asyncio.create_task(examine(line, on_line, times=3, interval_s=0.02))
        await asyncio.sleep(0.01)
        meter.reset()
        assert (await task).problem == "a cumulative register went back between two readings"
        await line.close()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"model": "sdm999"}, MeterModelUnknown),
        ({"ratio": ("ct",)}, BadInput),
        ({"ratio": ("ct=40",)}, BadInput),  # an SDM630 has no ratios
        ({"timeout_ms": 0}, BadInput),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_asked(
    arguments: dict[str, object], error: type[BadInput]
) -> None:
    with pytest.raises(error):
        check(**({"host": "127.0.0.1", "model": "sdm630"} | arguments))  # type: ignore[arg-type] - one wrong at a time


def test_the_models_command_prints_the_maps_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = (MODELS_FOLDER / "sdm630.toml").read_text().replace('"sdm630"', '"our-meter"')
    (tmp_path / "mine.toml").write_text(mine)
    models(folder=tmp_path, json=True)
    printed = {model["id"]: model for model in json.loads(capsys.readouterr().out)}
    assert set(printed) == {*MODELS, "our-meter"}
    assert printed["our-meter"]["registers"]["import"]["scale"] == [1000, 1]


async def test_the_simulate_command_serves_a_file_until_it_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "registers.csv").write_text(
        "time,import_wh,export_wh\n2026-01-01T00:00:00Z,1000,5\n2026-01-02T00:00:00Z,1234500,700\n"
    )
    (tmp_path / "plan.toml").write_text(
        '[[lines]]\nport = 0\nframer = "rtu"\n[[lines.meters]]\nunit = 4\nmodel = "sdm630"\n'
        'serial = "42"\nregisters = "registers.csv"\n'
    )
    code = (
        "import sys, pathlib; from ingest.meter_commands import simulate;"
        "simulate(pathlib.Path(sys.argv[1]), json=True)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path / "plan.toml"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        opened = json.loads(await process.stdout.readline())
        port = opened[0]["port"]
        assert opened == [{"host": "127.0.0.1", "port": port, "units": [4]}]
        line = Line(
            LineSettings("127.0.0.1", port, "rtu", pause_ms=0, timeout_ms=300, quiet_ms=20, attempts=1),
            SystemClock(),
        )
        meter = MeterOnLine(4, MODELS["sdm630"])
        reading = await line.read(meter, serial=True)
        assert (reading.import_wh, reading.export_wh, reading.serial) == (1_234_500, 700, "42")
        process.stdin.write(f"{port} 4 explode\n{port} 9 ok\n{port} 4 timeout\n".encode())
        await process.stdin.drain()
        assert b"meter-command-unknown" in await process.stderr.readline()
        with pytest.raises(ModbusTimeout):
            await line.read(meter)
        process.stdin.write(f"{port} 4 ok\n".encode())
        await process.stdin.drain()
        await asyncio.sleep(0.1)
        assert (await line.read(meter)).import_wh == 1_234_500
        await line.close()
        process.send_signal(signal.SIGTERM)
        _, complaints = await process.communicate()
        assert process.returncode == 0
        assert b"names no meter" in complaints
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


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
