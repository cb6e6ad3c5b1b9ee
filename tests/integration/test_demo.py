"""The demo as a script runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

KEYS = {"events", "buildings", "tree_size", "root", "verified", "tamper_found_at"}


def command(*words: str, folder: Path) -> str:
    """What the command line prints in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "api", *words], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=110, check=True,
    )  # fmt: skip
    return done.stdout


def test_two_days_of_the_demo_equal_the_data_and_prove_it(server_folder: Path) -> None:
    folder = server_folder.with_name("demo")
    folder.mkdir(mode=0o711)
    shown = json.loads(command("demo", "--days", "2", "--json", "--keep", "look", folder=folder))
    assert set(shown) >= KEYS
    assert set(shown["buildings"]) == {"mall", "school", "residence", "clinic", "plant-factory"}
    for building in (*shown["buildings"].values(), shown["main"]):
        for way in ("import_wh", "export_wh"):
            assert abs(building[way] - building[f"data_{way}"]) <= building["resolution_wh"]
        assert building["estimated_intervals"] == 0
    # 6 meters read at 2 x 96 + 1 instants, and what the registry and the blocks need.
    assert shown["events"] > 6 * 193
    assert shown["tree_size"] == shown["events"]
    assert shown["verified"] is True
    assert shown["tamper_found_at"].startswith("meter/m-")
    look = folder / "look"
    kept = {path.relative_to(look).as_posix() for path in look.rglob("*") if path.is_file()}
    assert {"campus.book.jsonl", "invoices/preview-school.pdf", "invoices/lines.csv"} <= kept
    with pytest.raises(subprocess.CalledProcessError) as refused:
        command("demo", "--days", "1", "--keep", "look", folder=folder)
    assert "cannot-write: an installation is here already" in refused.value.stderr
    look_around(look, shown)


def look_around(look: Path, shown: dict[str, Any]) -> None:
    """What was kept goes on where the demo ended."""
    settings = look / "energy-ledger.toml"
    settings.write_text(settings.read_text().replace("[api]", ""))  # its port may be another's in a test
    up = [sys.executable, "-m", "api", "up"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(up, cwd=look, env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            assert any("ready in" in line for line in running.stdout)
            status = command("status", folder=look).replace(",", "")
            assert int(status.removeprefix("campus: ").split()[0]) >= shown["events"]
            assert "2016-06-02" in command("statement", "mall", "2016-06", folder=look)
            assert "preview" in command("invoices", "2016-06", folder=look)
        finally:
            running.terminate()
