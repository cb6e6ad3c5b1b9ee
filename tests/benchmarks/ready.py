"""`ready`: from `energy-ledger up` on an empty folder until it says so, against starting the bare servers."""

import subprocess
import sys
import tempfile
from pathlib import Path

from ledger.embedded import EmbeddedServers
from tests.benchmarks.rows import Row, row, timed

SETTINGS = """
[community]
id = "bench"
[[feeders]]
id = "f"
[[buildings]]
id = "b"
feeder = "f"
[[gateways]]
id = "gw"
[[gateways.lines]]
host = "127.0.0.1"
port = 9
[[gateways.lines.meters]]
id = "m"
unit = 1
model = "sdm630"
building = "b"
rated_w = 100_000
"""
"""A whole installation; its meter does not answer, which must not hold up anything."""


async def rows() -> list[Row]:
    """The rows of this file."""
    with tempfile.TemporaryDirectory(prefix="ledger-ready-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with timed() as bare:
            async with EmbeddedServers(folder / "bare"):
                bare.lap()
        (folder / "energy-ledger.toml").write_text(SETTINGS)
        command = [sys.executable, "-m", "api", "up", "--config", str(folder / "energy-ledger.toml")]
        with (
            timed() as watch,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as up,
        ):
            assert up.stdout is not None
            while line := up.stdout.readline():
                if line.startswith(b"ready"):
                    watch.lap()
                    break
            up.terminate()
            up.wait(30)
    return [
        row(
            "ready",
            watch.lapped,
            "s",
            bare.lapped,
            target="<= 5 s",
            what="bare Postgres and NATS, new folder",
        )
    ]
