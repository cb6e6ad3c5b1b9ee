"""The demo as a script runs it."""

import json
import subprocess
import sys
from pathlib import Path

KEYS = {"events", "buildings", "tree_size", "root", "verified", "tamper_found_at"}


def test_two_days_of_the_demo_equal_the_data_and_prove_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "api", "demo", "--days", "2", "--json", "--keep", str(tmp_path / "look")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=True)
    shown = json.loads(done.stdout)
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
    kept = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"look/campus.book.jsonl", "look/invoices/preview-school.pdf", "look/invoices/lines.csv"} <= kept
