"""A simulation as a file."""

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest.meter_model import MeterModelUnknown, load_models
from ingest.simulator import load_simulation
from ingest.simulator.meter import CommandUnknown
from ingest.simulator.plan import EXAMPLE, SimulationInvalid
from ingest.simulator.source import Profiles, ProfileSource, starts_at
from ledger.clock import VirtualClock
from ledger.errors import BadInput

CLOCK = VirtualClock(datetime(2026, 6, 1, tzinfo=UTC))
PLAN = """
zone = "Asia/Bangkok"
profiles = "profiles.csv"
starts_at = "2026-05-31T23:00:00Z"

[[lines]]
port = 0
framer = "rtu"

[[lines.meters]]
unit = 1
model = "sdm630"
serial = "20260001"
load = "G1-A"
peak_w = 120_000

[[lines.meters]]
unit = 2
model = "acrel-adl3000"
factors = { ct = 40, pt = 1 }
registers = "registers.csv"
fault = "late 400"

[[lines]]
port = 0

[[lines.meters]]
unit = 1
model = "sunspec-int"
pv = "PV1"
pv_w = 5000
"""


def test_the_examples_main_meter_shows_what_its_building_does_and_a_small_loss() -> None:
    tables = tomllib.loads(EXAMPLE.read_text())
    school, main = tables["lines"][0]["meters"]
    profiles = Profiles.read(EXAMPLE.with_name(tables["profiles"]))
    starts = starts_at(profiles, UTC)
    of_school, of_main = (
        ProfileSource(
            profiles, starts=starts,
            **{name: meter[name] for name in ("load", "peak_w", "pv", "pv_w")},
        )
        for meter in (school, main)
    )  # fmt: skip
    for hour in range(24):
        before, after = (starts + timedelta(hours=each) for each in (hour, hour + 1))
        flows = [
            (later.import_wh - earlier.import_wh) - (later.export_wh - earlier.export_wh)
            for earlier, later in (
                (meter.registers_at(before), meter.registers_at(after)) for meter in (of_school, of_main)
            )
        ]
        assert 0 <= flows[1] - flows[0] <= 20_000 // 50, f"at most 2 % of the building's peak at {hour}:00"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "profiles.csv").write_text(
        "local_time,G1-A,PV1\n2016-06-01T00:00,0.5,0.2\n2016-06-01T01:00,0.25,0.4\n"
    )
    (tmp_path / "registers.csv").write_text(
        "time,import_wh,export_wh\n2026-05-01T00:00:00Z,5,6\n2026-05-02T00:00:00Z,7000,6\n"
    )
    return tmp_path


def test_a_file_makes_lines_of_living_meters(folder: Path) -> None:
    (folder / "plan.toml").write_text(PLAN)
    simulator = load_simulation(folder / "plan.toml", load_models(), CLOCK)
    serial_line, tcp_line = simulator.lines
    assert (serial_line.framer, tcp_line.framer) == ("rtu", "tcp")
    assert serial_line.meters[1].registers() == (60_000, 0, 30_000)
    assert serial_line.meters[1].serial == "20260001"
    assert serial_line.meters[2].registers() == (7000, 6, 0)
    assert tcp_line.meters[1].registers() == (0, 1000, -2000)


def test_profiles_begin_at_their_local_time_unless_told_otherwise(folder: Path) -> None:
    (folder / "plan.toml").write_text(PLAN.replace("starts_at", "#"))
    clock = VirtualClock(datetime(2016, 5, 31, 18, tzinfo=UTC))  # an hour after local midnight
    simulator = load_simulation(folder / "plan.toml", load_models(), clock)
    assert simulator.lines[0].meters[1].registers().import_wh == 60_000


@pytest.mark.parametrize(
    ("found", "replacement", "error"),
    [
        ("unit = 2", "unit = 256", SimulationInvalid),
        ("unit = 2", "", SimulationInvalid),
        ('framer = "rtu"', 'framer = "ascii"', SimulationInvalid),
        ('pv = "PV1"', "", SimulationInvalid),
        ('load = "G1-A"', 'load = "G1-A"\nregisters = "registers.csv"', SimulationInvalid),
        ('profiles = "profiles.csv"', "", SimulationInvalid),
        ("23:00:00Z", "23:00:00", SimulationInvalid),
        ('starts_at = "2026-05-31T23:00:00Z"', "", None),
        ("[[lines]]", "[[line]]", SimulationInvalid),
        ('"sdm630"', '"sdm999"', MeterModelUnknown),
        ('"late 400"', '"explode"', CommandUnknown),
        ('"20260001"', '"ABC"', BadInput),
        ('"registers.csv"', '"nothing.csv"', BadInput),
    ],
)
def test_a_wrong_file_is_refused_before_a_port_is_opened(
    folder: Path, found: str, replacement: str, error: type[BadInput] | None
) -> None:
    assert found in PLAN
    (folder / "plan.toml").write_text(PLAN.replace(found, replacement, 1))
    if error is None:
        load_simulation(folder / "plan.toml", load_models(), CLOCK)
        return
    with pytest.raises(error):
        load_simulation(folder / "plan.toml", load_models(), CLOCK)


@pytest.mark.parametrize(
    ("found", "replacement", "where", "hint"),
    [
        ('framer = "rtu"', 'framer = "rtx"', "lines[0].framer", "did you mean `rtu`? allowed: rtu, tcp"),
        ("peak_w", "peek_w", "lines[0].meters[0]", "did you mean `peak_w`? allowed in [[lines.meters]]: fac"),
        ("unit = 2", 'unit = "2"', "lines[0].meters[1].unit", "without quotes"),
        ("[[lines]]", "[lines", "", "ingest/simulator/example.toml"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_place_and_what_is_allowed(
    folder: Path, found: str, replacement: str, where: str, hint: str
) -> None:
    (folder / "plan.toml").write_text(PLAN.replace(found, replacement, 1))
    with pytest.raises(SimulationInvalid) as told:
        load_simulation(folder / "plan.toml", load_models(), CLOCK)
    assert told.value.where.endswith(where)
    assert hint in told.value.hint


def test_an_example_shows_import_and_export_within_a_day() -> None:
    clock = VirtualClock(datetime(2026, 6, 1, tzinfo=UTC))
    (line,) = load_simulation(EXAMPLE, load_models(), clock).lines
    school = line.meters[1]
    before = school.registers()
    clock.advance(timedelta(days=1))
    after = school.registers()
    assert after.import_wh > before.import_wh
    assert after.export_wh > before.export_wh


def test_an_unknown_zone_is_refused(folder: Path) -> None:
    plan = PLAN.replace("Asia/Bangkok", "Asia/Nowhere").replace("starts_at", "#")
    (folder / "plan.toml").write_text(plan)
    with pytest.raises(SimulationInvalid, match="Nowhere"):
        load_simulation(folder / "plan.toml", load_models(), CLOCK)
