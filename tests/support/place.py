"""A folder in which somebody works with the command line, as people do."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ledger.clock import monotonic_seconds

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "api"]
WAIT_SECONDS = 60


def environment() -> dict[str, str]:
    """The environment of a command that is run from another folder."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


class Place:
    """A folder in which somebody works with the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "energy-ledger.toml"
        self.log = folder / "up.log"
        self._up: subprocess.Popen[bytes] | None = None

    def run(self, *words: str, code: int = 0) -> str:
        """What a command prints that must end with `code`: on standard output if all is well, else as an
        error that people can read."""
        done = subprocess.run(
            [*COMMAND, *words], cwd=self.folder, env=environment(), capture_output=True, text=True,
            timeout=WAIT_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == code, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stderr if code else done.stdout

    def ask(self, *words: str) -> Any:
        """What a command prints as JSON."""
        return json.loads(self.run(*words, "--json"))

    def start(self) -> None:
        """Start the installation."""
        with self.log.open("wb") as log:
            self._up = subprocess.Popen(
                [*COMMAND, "up"], cwd=self.folder, env=environment(), stdout=log, stderr=log
            )

    def up(self) -> None:
        """Start the installation, and wait until it is ready and its gateway has read the meters."""
        self.start()
        assert self._up is not None
        end = monotonic_seconds() + WAIT_SECONDS
        while "readings kept" not in self.log.read_text():
            assert self._up.poll() is None, self.log.read_text()
            assert monotonic_seconds() < end, self.log.read_text()

    def down(self) -> int:
        """Stop the installation; its exit code."""
        assert self._up is not None
        self._up.send_signal(signal.SIGTERM)
        return self._up.wait(WAIT_SECONDS)

    def end(self) -> None:
        """End the installation, whatever it does."""
        if self._up is not None and self._up.poll() is None:
            self._up.kill()
            self._up.wait()

    def readings(self, meter: str) -> list[dict[str, Any]]:
        """The readings of a meter, from a verified extract of the book."""
        book = self.folder / f"{meter}.jsonl"
        self.run("export", "--meter", meter, "--out", str(book))
        self.run("verify", str(book))
        entries = [json.loads(line).get("entry", {}) for line in book.read_text().splitlines()]
        return [entry["body"] for entry in entries if entry.get("stream") == f"meter/{meter}"]
