"""`what-if`, `bill` and `tariffs` as a person runs them: no server, no settings, plain files."""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import settlement.plain
from settlement.mechanisms import MECHANISMS
from tests.support.plain_files import ENERGIES, RESULTS, rules

EXAMPLES = Path(settlement.plain.__file__).parent / "examples"
MEGABYTE = 1 << 20


def run(*words: object, where: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from api.cli import main; main()", *map(str, words)]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        command, cwd=where, capture_output=True, text=True, timeout=100, check=False, env=environment
    )


def what_if(
    where: Path, *more: object, energies: Path = EXAMPLES / "energies.csv", rules: Path
) -> tuple[int, str, str]:
    done = run(
        "what-if", "--energies", energies, "--rules", rules, "--out", where / "out", *more, where=where
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_example_of_every_mechanism_is_settled_and_shown(tmp_path: Path, mechanism: str) -> None:
    orders = EXAMPLES / "orders.csv"
    code, shown, told = what_if(tmp_path, "--orders", orders, rules=EXAMPLES / f"{mechanism}.toml")
    assert (code, told) == (0, "")
    table = shown[: shown.index("bought, sold:")]
    assert all(len(line) <= 80 for line in table.splitlines())
    for word in (
        "clinic",
        "plant-factory",
        "all",
        "kWh",
        "THB",
        f"{mechanism}: 12 intervals",
        "self-sufficiency",
    ):
        assert word in table
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(RESULTS)


def test_json_is_one_object_with_the_numbers_of_the_files(tmp_path: Path) -> None:
    code, shown, _ = what_if(tmp_path, "--json", rules=EXAMPLES / "mid_market_rate.toml")
    found = json.loads(shown)
    assert (code, found["intervals"], found["currency"], found["notes"]) == (0, 12, "THB", [])
    assert (
        sum(each["saving_micro"] for each in found["buildings"].values())
        == found["community"]["saving_micro"]
    )
    rows = (tmp_path / "out" / "trades.csv").read_text().splitlines()
    assert found["trades"] == len(rows) - 1


def test_a_wrong_file_is_told_with_code_place_and_cure_and_nothing_is_written(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text((EXAMPLES / "energies.csv").read_text().replace("2787", "-2787"))
    code, shown, told = what_if(tmp_path, energies=wrong, rules=EXAMPLES / "bill_sharing.toml")
    assert (code, shown) == (2, "")
    assert told == (
        "negative-energy: the energy -2787 is below zero\n"
        f"  where: {wrong}: line 5, import_wh\n"
        "  what to do: import and export are two columns, both from 0 up\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_bill_is_printed_and_told_as_json(tmp_path: Path) -> None:
    (tmp_path / "load.csv").write_text("interval_start,import_kwh\n2026-06-01T09:00:00+07:00,350\n")
    words = ("bill", "--tariff", "th-mea-1.2", "--load", "load.csv")
    done = run(*words, where=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "energy, 150 to 400 kWh" in done.stdout
    assert "1,511.96" in done.stdout
    assert "note: the load tells 1 of the month's 2,880 intervals" in done.stdout
    assert "note: the tariff th-mea-1.2 was not yet held against" in done.stdout
    (bill,) = json.loads(run(*words, "--json", where=tmp_path).stdout)
    assert (bill["month"], bill["total_micro"], bill["currency"]) == ("2026-06", 1_511_960_000, "THB")
    assert sum(line["amount_micro"] for line in bill["lines"]) == bill["total_micro"]


@pytest.mark.parametrize("kilowatts", ["-1", "nan", "1e99", "0.0001"])
def test_contracted_power_is_a_number_of_watts(tmp_path: Path, kilowatts: str) -> None:
    (tmp_path / "load.csv").write_text("interval_start,import_kwh\n2025-07-01T09:00:00+02:00,1\n")
    words = ("bill", "--tariff", "es-som-2.0td", "--load", "load.csv", f"--contracted-kw={kilowatts}")
    done = run(*words, where=tmp_path)
    assert done.returncode == 2
    assert "--contracted-kw" in done.stderr


def test_contracted_power_is_refused_where_it_would_not_count(tmp_path: Path) -> None:
    (tmp_path / "load.csv").write_text("interval_start,import_kwh\n2026-06-01T09:00:00+07:00,350\n")
    words = ("bill", "--tariff", "th-mea-1.2", "--load", "load.csv", "--contracted-kw=4.6")
    done = run(*words, where=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("wrong-options: the tariff th-mea-1.2 bills no contracted power")
    assert "where: --contracted-kw" in done.stderr


def test_tariffs_are_listed(tmp_path: Path) -> None:
    shown = run("tariffs", where=tmp_path).stdout
    assert "th-mea-4.2-12-24kv" in shown
    assert "es-som-2.0td" in shown


@pytest.mark.parametrize("command", ["what-if", "bill", "tariffs"])
def test_the_help_names_every_column_and_choice(tmp_path: Path, command: str) -> None:
    shown = run(command, "--help", where=tmp_path).stdout.replace("│", "").replace("\n", "").replace(" ", "")
    words = {
        "what-if": [
            "--mechanism",
            "Onthebookoftheinstallation:give--beginand--until",
            "interval_start,building,import_wh,export_wh",
            "limit_micro_per_kwh[,zone]",
            "--out",
            "examples",
            "withoutanoffsettheyarelocaltimesofthezonethattherulesname,orelseofthetariff's,orelseofAsia/Bangkok",
        ],
        "bill": [
            "interval_start,import_wh[,export_wh][,reactive_varh]",
            "import_kw",
            "energy-ledgertariffs",
            "withoutanoffsettheyarelocaltimesofthetariff'szone",
        ],
        "tariffs": ["tariffs"],
    }
    assert all(word in shown for word in words[command])


def write_energies(path: Path, days: int) -> None:
    """Sixty buildings in June."""
    with path.open("w") as file:
        file.write(ENERGIES.partition("\n")[0] + "\n")
        for quarter in range(days * 96):
            day, minute = divmod(quarter * 15, 24 * 60)
            start = f"2026-06-{day + 1:02d}T{minute // 60:02d}:{minute % 60:02d}:00Z"
            file.writelines(f"{start},b{each:02d},{each * 7},{each * (each % 3)}\n" for each in range(60))


def settled(
    where: Path, before: str = "", after: str = "", preexec_fn: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Settle the files of a folder in a process of its own."""
    code = (
        "from pathlib import Path; from settlement.plain.what_if import settle_files;"
        "settle_files(Path('energies.csv'), Path('rules.toml'), None, Path('out'));"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-B", "-c", before + code + after],
        cwd=where, capture_output=True, text=True, timeout=100, check=False, env=environment,
        preexec_fn=preexec_fn,
    )  # fmt: skip


def test_memory_stays_flat_however_many_days_there_are(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(rules())
    peaks = []
    for days in (4, 16):
        write_energies(tmp_path / "energies.csv", days)
        told = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        peaks.append(int(settled(tmp_path, after=told).stdout) * (1 if sys.platform == "darwin" else 1_024))
    assert peaks[1] - peaks[0] < 4 * MEGABYTE


@pytest.mark.parametrize(("days", "bytes_max", "code"), [(1, 100, "cannot-write"), (16, MEGABYTE, "no-room")])
def test_the_disk_may_be_full_and_nothing_is_left_behind(
    tmp_path: Path, days: int, bytes_max: int, code: str
) -> None:
    (tmp_path / "rules.toml").write_text(rules())
    write_energies(tmp_path / "energies.csv", days)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, bytes_max))

    ignored = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    done = settled(tmp_path, before=ignored, preexec_fn=limited)
    assert f": {code}: " in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("line", re.findall(r"^energy-ledger ((?:what-if|bill) .+)$", README, re.MULTILINE))
def test_the_commands_of_the_readme_run_as_they_stand_there(tmp_path: Path, line: str) -> None:
    words = [str(ROOT / word) if word.startswith("settlement/") else word for word in line.split()]
    done = run(*words, where=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_rules_of_the_readme_are_rules(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```\n(mechanism = .*?)^```", README, re.DOTALL | re.MULTILINE)
    (tmp_path / "rules.toml").write_text(block)
    assert what_if(tmp_path, rules=tmp_path / "rules.toml")[0] == 0


MIXED = {
    "nothing at all": (),
    "a period without rules": ("--begin", "2026-06-01", "--until", "2026-07-01"),
    "a period that ends first": (
        "--begin",
        "2026-07-01",
        "--until",
        "2026-06-01",
        "--mechanism",
        "pay_as_bid",
    ),
    "both uses at once": ("--energies", "e.csv", "--rules", "r.toml", "--out", "o", "--begin", "2026-06-01"),
    "no folder": ("--energies", "e.csv", "--rules", "r.toml"),
    "two rules for files": ("--energies", "e.csv", "--rules", "r.toml", "--rules", "s.toml", "--out", "o"),
}


@pytest.mark.parametrize("what", MIXED)
def test_options_of_a_what_if_that_do_not_go_together_are_told(tmp_path: Path, what: str) -> None:
    done = run("what-if", *MIXED[what], where=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("wrong-options: ")
    assert not (tmp_path / "o").exists()
