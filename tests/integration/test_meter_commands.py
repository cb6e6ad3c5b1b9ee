"""The installer's commands: scan, test, models and simulate, on real sockets."""

import asyncio
import json
import shutil
import signal
import sys
import tomllib
from pathlib import Path

import pytest
from cyclopts import App

from ingest.meter_commands import check, models, scan
from ingest.meter_examination import MeterDoubtful, examine
from ingest.meter_model import MODELS_FOLDER, MeterModelUnknown, load_models
from ingest.meter_scan import scan_line
from ingest.modbus import (
    FramerName,
    Line,
    LineSettings,
    MeterOffline,
    MeterOnLine,
    ModbusTimeout,
    Unreachable,
)
from ingest.settings import gateways_from
from ingest.simulator import GlitchZero, NoAnswer, Registers, SimulatedMeter
from ingest.simulator.plan import EXAMPLE
from ledger.clock import SystemClock, VirtualClock
from ledger.errors import BadInput, LedgerError
from tests.support.simulated_line import BOTH, SHOWN, START, Exporting, Still, line_to, simulated

ROOT = Path(__file__).parents[2]
MODELS = load_models()


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
        assert any("1 time-out," in finding.text for finding in once.findings)
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
        ({"host": "127.0.0.1:502"}, BadInput),
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


# --- nobody answers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("serves", "framer", "unit", "error", "hint"),
    [
        ("rtu", "tcp", 7, ModbusTimeout, "the converter answers with framer rtu: use --framer rtu"),
        ("tcp", "rtu", 7, ModbusTimeout, "the converter answers with framer tcp: use --framer tcp"),
        ("rtu", "rtu", 1, ModbusTimeout, "unit 3 answers, and unit 1 does not: use --unit 3, or check"),
        ("tcp", "tcp", 1, MeterOffline, "unit 3 answers, and unit 1 does not: use --unit 3, or check"),
        ("rtu", "tcp", 1, ModbusTimeout, "unit 1 does not: use --framer rtu --unit 3, or check"),
        ("tcp", "rtu", 99, ModbusTimeout, "unit 99 does not: use --framer tcp --unit 3, or check"),
    ],
)
async def test_a_silent_meter_is_looked_for_and_what_answers_is_named(
    serves: FramerName, framer: FramerName, unit: int, error: type[LedgerError], hint: str
) -> None:
    clock = VirtualClock(START)
    meters = [SimulatedMeter(unit, MODELS["sdm630"], Still(), clock) for unit in (3, 7)]
    async with simulated(*meters, framer=serves) as there:
        with pytest.raises(error) as told:
            await asyncio.to_thread(
                check, there.host, "sdm630", port=there.port, framer=framer, unit=unit, timeout_ms=60
            )
    assert hint in told.value.hint


@pytest.mark.parametrize(
    ("framer", "error", "hint"),
    [
        ("rtu", ModbusTimeout, "nothing answers with framer tcp or rtu"),
        ("tcp", MeterOffline, "the converter answers with framer tcp, but the meter does not"),
    ],
)
async def test_a_line_without_meters_has_the_installer_look_at_wires_and_serial_settings(
    framer: FramerName, error: type[LedgerError], hint: str
) -> None:
    async with simulated(framer=framer) as there:
        with pytest.raises(error) as told:
            await asyncio.to_thread(
                check, there.host, "sunspec-int", port=there.port, framer=framer, timeout_ms=60
            )
    assert hint in told.value.hint
    assert "serial settings" in told.value.hint


async def test_a_meter_that_answers_when_it_is_looked_for_is_examined_after_all() -> None:
    meter = SimulatedMeter(1, MODELS["sdm630"], Still(), VirtualClock(START))
    async with simulated(meter, framer="rtu") as there:
        meter.fault(NoAnswer(), times=3)
        with pytest.raises(MeterDoubtful, match="1 of 2 readings failed: modbus-timeout"):
            await asyncio.to_thread(
                check, there.host, "sdm630", port=there.port, framer="rtu", times=2, interval_ms=0,
                timeout_ms=60,
            )  # fmt: skip


@pytest.mark.parametrize(
    ("serves", "framer", "advice"),
    [
        ("rtu", "tcp", "the converter answers with framer rtu: use --framer rtu"),
        ("tcp", "rtu", "the converter answers with framer tcp: use --framer tcp"),
    ],
)
async def test_a_scan_with_the_wrong_framer_names_the_right_one(
    serves: FramerName, framer: FramerName, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    meter = SimulatedMeter(3, MODELS["sdm630"], Still(), VirtualClock(START))
    async with simulated(meter, framer=serves) as there:
        words = {"port": there.port, "framer": framer, "units": "1-4", "timeout_ms": 60}
        await asyncio.to_thread(scan, there.host, json=True, **words)
        assert json.loads(capsys.readouterr().out)["advice"] == advice
        await asyncio.to_thread(scan, there.host, **words)
        assert advice in " ".join(capsys.readouterr().out.split())


async def test_a_scan_of_absent_units_does_not_doubt_a_framer_that_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with simulated(framer="tcp") as there:
        await asyncio.to_thread(scan, there.host, port=there.port, units="9", timeout_ms=60)
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(
        "0 units answer, 1 is silent what to do: the converter answers with framer tcp, but"
    )


# --- simulate -------------------------------------------------------------------------------------


async def test_the_example_serves_the_meters_of_the_settings_that_init_writes(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(EXAMPLE.read_text().replace("port = 5020", "port = 0"))
    shutil.copy(EXAMPLE.with_name("example.csv"), tmp_path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api", "simulate", str(tmp_path / "plan.toml"), "--json"), cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        (opened,) = json.loads(await process.stdout.readline())
        template = ROOT / "api" / "template.toml"
        (gateway,) = gateways_from(tomllib.loads(template.read_text()), template)
        (settings,) = gateway.lines
        line = Line(LineSettings("127.0.0.1", opened["port"], settings.framer, pause_ms=0), SystemClock())
        for meter in settings.meters:
            reading = await line.read(gateway.on_line(meter, gateway.known_models()))
            assert reading.import_wh > 0
            assert reading.power_w is not None
            assert abs(reading.power_w) <= meter.rated_w
        await line.close()
        process.send_signal(signal.SIGINT)
        printed, said = await process.communicate()
        assert (process.returncode, printed, said) == (0, b"", b"stopped\n")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


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
        assert complaints.endswith(b"\nstopped\n")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
