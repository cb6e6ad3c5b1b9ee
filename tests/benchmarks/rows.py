"""A row of the benchmark's table, and how long things take."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One measured figure; `reference` is measured in the same run, `ratio` is value / reference."""

    name: str
    value: float
    unit: str
    reference: float | None = None
    ratio: float | None = None
    target: str = ""
    what: str = ""  # the reference, in words
    load: float = 0.0  # the machine's load average when it was measured


def row(
    name: str, value: float, unit: str, reference: float | None = None, *, target: str = "", what: str = ""
) -> Row:
    """A row with its ratio worked out."""
    ratio = round(value / reference, 3) if reference else None
    rounded = round(reference, 1 if reference >= 1 else 3) if reference else None
    return Row(name, round(value, 3), unit, rounded, ratio, target, what, round(os.getloadavg()[0], 2))


@dataclass(slots=True)
class Stopwatch:
    """Seconds that a block took; `lapped` up to the lap, for blocks that have to tidy up after it."""

    begin: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0
    lapped: float = 0.0

    def lap(self) -> None:
        """What is measured ends here."""
        self.lapped = time.perf_counter() - self.begin


@contextmanager
def server_folder(prefix: str) -> Iterator[Path]:
    """A folder for embedded servers, which run as another account when root starts them."""
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        Path(name).chmod(0o711)
        yield Path(name)


@contextmanager
def timed() -> Iterator[Stopwatch]:
    """Time a block."""
    watch = Stopwatch()
    try:
        yield watch
    finally:
        watch.seconds = time.perf_counter() - watch.begin
