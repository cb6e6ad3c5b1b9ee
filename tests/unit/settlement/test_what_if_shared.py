"""A what-if of many rows is settled by two processes, and nobody can tell."""

import multiprocessing
from pathlib import Path

import pytest

import settlement.plain
from ledger.errors import LedgerError
from ledger.workers import WorkerLost
from settlement.plain import what_if
from settlement.plain.what_if import Result
from tests.support.plain_files import ENERGIES, PlainFiles

EXAMPLES = Path(settlement.plain.__file__).parent / "examples"
NINE, QUARTER = "2026-06-01T09:00:00+07:00", "2026-06-01T09:15:00+07:00"


@pytest.fixture
def files(tmp_path: Path) -> PlainFiles:
    return PlainFiles(tmp_path)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("settlement.batch.WORTH_A_PROCESS", 1)


def settled(files: PlainFiles) -> tuple[Result, dict[str, bytes]]:
    return files.settle(), files.results()


@pytest.mark.parametrize("mechanism", ["sharing_key", "uniform_price"])
def test_two_processes_write_the_same_bytes_as_one(
    files: PlainFiles, mechanism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(
        *((EXAMPLES / name).read_text() for name in ("energies.csv", f"{mechanism}.toml", "orders.csv"))
    )
    alone = settled(files)
    assert alone[0].intervals == 12
    monkeypatch.setattr("settlement.batch.WORTH_A_PROCESS", 1)
    assert settled(files) == alone
    assert len(list(files.out.iterdir())) == 4, "nothing else is left behind"


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(("more", "line"), [([QUARTER], 8), ([QUARTER, NINE], 9)])
def test_of_what_is_wrong_the_earlier_is_told_whoever_finds_it(
    files: PlainFiles, more: list[str], line: int
) -> None:
    files.write(ENERGIES + "".join(f"{start},a,1,0\n" for start in more))
    with pytest.raises(LedgerError) as caught:
        files.settle()
    assert (caught.value.code, caught.value.where) == (
        "duplicate-row",
        f"{files.energies}: line {line}, building",
    )
    assert not files.out.exists()
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(("building", "place"), [("c", "interval_start"), ("nobody", "building")])
def test_an_order_without_energy_is_told_alike_whoever_finds_it(
    files: PlainFiles, building: str, place: str
) -> None:
    header = "interval_start,building,side,energy_wh,limit_micro_per_kwh"
    files.write(ENERGIES + f"{NINE},c,1,0\n", orders=f"{header}\n{QUARTER},{building},buy,,3000000\n")
    with pytest.raises(LedgerError) as caught:
        files.settle()
    assert (caught.value.code, caught.value.where) == ("unknown-building", f"{files.orders}: line 2, {place}")


@pytest.mark.usefixtures("shared")
def test_a_process_that_is_lost_is_told_and_leaves_nothing(
    files: PlainFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = what_if._settled

    def and_kill(*given: object) -> object:
        (other,) = multiprocessing.active_children()
        other.kill()
        return alone(*given)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr("settlement.plain.what_if._settled", and_kill)
    files.write()
    with pytest.raises(WorkerLost):
        files.settle()
    assert not files.out.exists()
