"""`ready`: from `energy-ledger up` on an empty folder until it says so, against starting the bare servers."""

import asyncio
import subprocess
import sys
from pathlib import Path

from ledger.embedded import EmbeddedServers
from tests.benchmarks.rows import Row, row, server_folder, timed

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
    with server_folder("ledger-ready-") as folder:
        with timed() as bare:
            async with EmbeddedServers(folder / "bare"):
                bare.lap()
        seconds = await asyncio.to_thread(_up, folder)
    return [
        row("ready", seconds, "s", bare.lapped, target="<= 5 s", what="bare Postgres and NATS, new folder")
    ]


def _up(folder: Path) -> float:
    """Seconds until `energy-ledger up` says that it is ready; it is stopped then."""
    config = folder / "energy-ledger.toml"
    config.write_text(SETTINGS)
    command = [sys.executable, "-m", "api", "up", "--config", str(config)]
    with timed() as watch, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as up:
        assert up.stdout is not None
        while line := up.stdout.readline():
            if line.startswith(b"ready"):
                watch.lap()
                break
        up.terminate()
        up.wait(30)
    return watch.lapped
