"""The demo as a script runs it."""

import json
import subprocess
import sys

KEYS = {"events", "buildings", "tree_size", "root", "verified", "tamper_found_at"}


def test_two_days_of_the_demo_equal_the_data_and_prove_it() -> None:
    command = [sys.executable, "-m", "api", "demo", "--days", "2", "--json"]
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
