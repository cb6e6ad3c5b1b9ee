"""Replaying a book takes as much memory for a long one as for a short one."""

import subprocess
import sys
from pathlib import Path

import msgspec

from tests.benchmarks.settled_book import write_book

MEGABYTES_MAX = 120
GROWTH_MEGABYTES_MAX = 10

PEAK = """
import re, sys
from pathlib import Path
import msgspec
from api.audit_commands import FURTHER
from ledger.verify import verify_file

report = verify_file(Path(sys.argv[1]), workers=1, further=FURTHER)
(peak,) = re.findall(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
drivers = [name for name in ("asyncpg", "nats", "pymodbus") if name in sys.modules]
told = {"verdicts": report.verdicts, "megabytes": int(peak) // 1024, "drivers": drivers}
sys.stdout.buffer.write(msgspec.json.encode(told))
"""


def test_a_long_book_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    peaks = []
    for days in (20, 60):
        path = tmp_path / f"{days}.jsonl"
        write_book(path, days)
        ran = subprocess.run(
            [sys.executable, "-c", PEAK, str(path)], capture_output=True, check=True, timeout=60
        )
        told = msgspec.json.decode(ran.stdout)
        assert told["drivers"] == [], "no server is asked"
        *proofs, settlement = told["verdicts"]
        assert {verdict["status"] for verdict in proofs} == {"pass"}
        assert settlement["found"] == days, "all runs were recomputed"
        assert "root" not in settlement["findings"][0]["what"]
        peaks.append(told["megabytes"])
    assert peaks[1] < MEGABYTES_MAX
    assert peaks[1] - peaks[0] < GROWTH_MEGABYTES_MAX
