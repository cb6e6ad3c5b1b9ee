"""Profiles and tables as the life of a meter."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.simulator.source import (
    ProfileInvalid,
    Profiles,
    ProfileSource,
    Registers,
    RegisterTable,
    starts_at,
)

START = datetime(2026, 6, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
PROFILE = (
    "local_time,load,sun\n2016-06-01T00:00,0.2639,0\n2016-06-01T00:15,0.1,0.5\n2016-06-01T00:30,0.000001,1\n"
)
TABLE = (
    "time,import_wh,export_wh\n"
    "2026-06-01T00:00:00Z,1000,5\n2026-06-01T00:15:00Z,1100,5\n2026-06-01T01:00:00Z,1100,12\n"
)


@pytest.fixture
def profiles(tmp_path: Path) -> Profiles:
    path = tmp_path / "profiles.csv"
    path.write_text(PROFILE)
    return Profiles.read(path)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file.csv"
    path.write_text(text)
    return path


def test_a_building_is_its_load_less_its_sun(profiles: Profiles) -> None:
    building = ProfileSource(profiles, starts=START, load="load", peak_w=10_000, pv="sun", pv_w=4000)
    assert building.registers_at(START) == Registers(0, 0, 2639)
    assert building.registers_at(START + QUARTER) == Registers(659, 0, -1000)  # 659.75 Wh
    assert building.registers_at(START + 2 * QUARTER) == Registers(659, 250, -4000)
    assert building.registers_at(START + 3 * QUARTER) == Registers(659, 1249, 2639)


def test_profiles_repeat_without_losing_a_fraction(profiles: Profiles) -> None:
    building = ProfileSource(profiles, starts=START, load="load", peak_w=10_000)
    per_round_microwh = (2639_000000 + 1000_000000 + 10000) // 4
    for rounds in (1, 2, 1000):
        shown = building.registers_at(START + rounds * 3 * QUARTER)
        assert shown.import_wh == rounds * per_round_microwh // 10**6


def test_before_its_start_a_building_has_counted_nothing(profiles: Profiles) -> None:
    building = ProfileSource(profiles, starts=START, load="load", peak_w=10_000)
    assert building.registers_at(START - timedelta(days=1)) == Registers(0, 0, 0)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=20))
def test_registers_never_fall_and_do_not_depend_on_when_they_were_read(moments_s: list[int]) -> None:
    columns = {"load": [0, 300_000, 1_000_000, 7], "sun": [500_000, 0, 333_333, 0]}
    profiles = Profiles(Path("profiles.csv"), datetime(2016, 6, 1), 900, columns)
    building = ProfileSource(profiles, starts=START, load="load", peak_w=777, pv="sun", pv_w=1001)
    shown = [building.registers_at(START + timedelta(seconds=s)) for s in sorted(moments_s)]
    assert [row.import_wh for row in shown] == sorted(row.import_wh for row in shown)
    assert [row.export_wh for row in shown] == sorted(row.export_wh for row in shown)


def test_the_first_row_begins_at_the_local_time_of_the_zone(profiles: Profiles) -> None:
    begun = starts_at(profiles, ZoneInfo("Asia/Bangkok"))
    assert begun.astimezone(UTC) == datetime(2016, 5, 31, 17, tzinfo=UTC)


def test_an_unknown_profile_is_answered_with_the_known_ones(profiles: Profiles) -> None:
    with pytest.raises(ProfileInvalid) as unknown:
        ProfileSource(profiles, starts=START, load="G9-Z", peak_w=1)
    assert unknown.value.hint == "profiles: load, sun"


@pytest.mark.parametrize(
    ("found", "replacement", "where"),
    [
        ("00:30", "00:31", "local_time"),
        ("2016-06-01T00:15", "2016-06-01T00:15Z", "line 3"),
        ("2016-06-01T00:15", "noon", "line 3"),
        ("0.2639", "0.26390001", "line 2"),
        ("0.2639", "1e-3", "line 2"),
        ("0.2639", "", "line 2"),
        ("local_time", "time", "line 1"),
        ("0.1,0.5", "0.1", "line 3"),
        ("0.1,0.5", "0.1,0.5,3", "line 3"),
    ],
)
def test_a_wrong_profile_is_refused_with_its_line(
    tmp_path: Path, found: str, replacement: str, where: str
) -> None:
    path = written(tmp_path, PROFILE.replace(found, replacement, 1))
    with pytest.raises(ProfileInvalid) as refused:
        Profiles.read(path)
    assert refused.value.where == f"{path}: {where}"


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileInvalid, match="cannot be read"):
        Profiles.read(tmp_path / "nothing.csv")
    with pytest.raises(ProfileInvalid, match="fewer than two rows"):
        Profiles.read(written(tmp_path, PROFILE.splitlines()[0]))


def test_a_table_lets_energy_flow_evenly_between_its_rows(tmp_path: Path) -> None:
    table = RegisterTable.read(written(tmp_path, TABLE))
    assert table.registers_at(START - QUARTER) == Registers(1000, 5, 0)
    assert table.registers_at(START) == Registers(1000, 5, 400)
    assert table.registers_at(START + timedelta(minutes=3)) == Registers(1020, 5, 400)
    assert table.registers_at(START + QUARTER) == Registers(1100, 5, -10)
    assert table.registers_at(START + timedelta(hours=2)) == Registers(1100, 12, 0)


@pytest.mark.parametrize(
    ("found", "replacement", "line"),
    [
        ("1100,5", "999,5", 3),
        ("1100,12", "1100,4", 4),
        ("01:00:00Z", "00:15:00Z", 4),
        ("1000,5", "1000.5,5", 2),
        ("00:15:00Z", "00:15:00", 3),
    ],
)
def test_a_table_that_does_not_go_forward_is_refused(
    tmp_path: Path, found: str, replacement: str, line: int
) -> None:
    path = written(tmp_path, TABLE.replace(found, replacement, 1))
    with pytest.raises(ProfileInvalid) as refused:
        RegisterTable.read(path)
    assert refused.value.where == f"{path}: line {line}"
