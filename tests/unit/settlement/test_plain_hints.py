"""What is wrong with a plain file comes with what to do about it, and that is of the file at hand."""

from pathlib import Path
from unicodedata import normalize

import pytest

from ledger.errors import BadInput
from ledger.grid import Grid
from settlement.plain.reading import read_load
from settlement.tariff import load_tariff
from settlement.utility_bill import utility_bills
from tests.support.plain_files import ENERGIES, PlainFiles, rules

NINE = "2026-06-01T09:00:00+07:00"
ORDERS = "interval_start,building,side,energy_wh,limit_micro_per_kwh\n"
VIETNAM = load_tariff("vn-evn-residential")


@pytest.fixture
def files(tmp_path: Path) -> PlainFiles:
    return PlainFiles(tmp_path)


def refused(files: PlainFiles) -> BadInput:
    with pytest.raises(BadInput) as caught:
        files.settle()
    return caught.value


def billed(path: Path, text: str, minutes: int = 15) -> None:
    path.write_text(text)
    load = read_load(path, Grid(minutes, VIETNAM.file.zone), VIETNAM.terms)
    list(utility_bills(VIETNAM, load, minutes))


def refused_load(path: Path, text: str, minutes: int = 15) -> BadInput:
    with pytest.raises(BadInput) as caught:
        billed(path, text, minutes)
    return caught.value


# --- below zero ---------------------------------------------------------------------------------------


def test_what_is_below_zero_is_told_by_its_column(files: PlainFiles, tmp_path: Path) -> None:
    assert (
        "import and export are two columns" in refused(files.write(ENERGIES.replace("2000,0", "-2,0"))).hint
    )
    assert "side says" in refused(files.write(orders=f"{ORDERS}{NINE},a,buy,-1,1\n")).hint
    reactive = f"interval_start,import_wh,reactive_varh\n{NINE},1,-5\n"
    assert "reactive energy" in refused_load(tmp_path / "load.csv", reactive).hint


# --- rows ---------------------------------------------------------------------------------------------


def test_a_row_too_many_and_a_cell_too_few_come_with_what_to_do(files: PlainFiles, tmp_path: Path) -> None:
    assert "take one out" in refused(files.write(f"{ENERGIES}{NINE},a,1,0\n")).hint
    assert "in quotes" in refused(files.write(ENERGIES.replace("sun,0,6000", "sun,0"))).hint
    twice = f"interval_start,import_wh\n{NINE},1\n{NINE},1\n"
    assert "take one of the two out" in refused_load(tmp_path / "load.csv", twice).hint


# --- names --------------------------------------------------------------------------------------------


def test_a_name_that_only_looks_like_another_is_refused(files: PlainFiles) -> None:
    composed = normalize("NFC", "café")
    assert files.write(ENERGIES.replace("sun", composed)).settle().buildings[-1].building == composed
    error = refused(files.write(ENERGIES.replace("sun", normalize("NFD", "café"))))
    assert (error.code, "line 2, building" in error.where) == ("bad-cell", True)
    assert "write it as 'caf\\xe9'" in error.hint


# --- intervals ----------------------------------------------------------------------------------------


def hours(count: int, step: int = 1) -> str:
    rows = [f"2026-06-01T{hour * step:02d}:00:00+07:00,100" for hour in range(count)]
    return "\n".join(["interval_start,import_kwh", *rows, ""])


def test_a_load_of_hours_is_not_billed_as_one_of_quarters(tmp_path: Path) -> None:
    error = refused_load(tmp_path / "load.csv", hours(24))
    assert (error.code, error.where) == ("intervals-apart", f"{tmp_path / 'load.csv'}: interval_start")
    assert "--interval-minutes 60" in error.hint
    billed(tmp_path / "load.csv", hours(24), 60)


def test_a_load_with_gaps_is_billed(tmp_path: Path) -> None:
    gap = hours(24) + "2026-06-01T05:15:00+07:00,25\n"
    billed(tmp_path / "load.csv", gap)
    billed(tmp_path / "load.csv", hours(3))


def test_an_hour_by_clocks_that_were_set_anew_since_is_told_as_such(files: PlainFiles) -> None:
    pyongyang = rules(zone='"Asia/Pyongyang"', interval_minutes=60)  # UTC+8:30 from 2015 to 2018, then +9
    header = ENERGIES.splitlines()[0]
    then = files.write(f"{header}\n2016-06-01T09:00:00,sun,0,0\n", pyongyang)
    assert "the clocks of Asia/Pyongyang had another offset then" in refused(then).hint
    now = files.write(f"{header}\n2026-06-01T09:30:00,sun,0,0\n", pyongyang)
    assert refused(now).hint == "is interval_minutes as the file has it?"


# --- tariffs ------------------------------------------------------------------------------------------


def test_surplus_that_a_tariff_does_not_speak_of_is_told_with_the_tariff_and_the_column(
    tmp_path: Path,
) -> None:
    error = refused_load(tmp_path / "load.csv", f"interval_start,import_wh,export_wh\n{NINE},1,1\n")
    assert (error.code, error.where) == ("tariff-hole", "vn-evn-residential, the version from 2025-06-01")
    assert "leave the column export_wh out" in error.hint
