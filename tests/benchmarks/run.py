"""`make bench`: measures the rows, prints a table and writes build/bench.json."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from tests.benchmarks import api, ingest, live, ready, replay, settlement, stored_settlement, verify_rows
from tests.benchmarks.rows import Row

RESULT = Path("build/bench.json")

GROUPS: dict[str, Callable[[], Awaitable[list[Row]]]] = {
    "ready": ready.rows,
    "ingest": ingest.rows,
    "verify": verify_rows.rows,
    "settlement": settlement.rows,
    "stored_settlement": stored_settlement.rows,
    "replay": replay.rows,
    "api": api.rows,
    "live": live.rows,
}


async def measure(names: list[str]) -> list[Row]:
    """The rows of the groups named, or of all."""
    found: list[Row] = []
    for name, group in GROUPS.items():
        if not names or name in names:
            Console(stderr=True).print(f"measuring {name} ..")
            found += await group()
    return found


def main() -> None:
    """Measure, print, write."""
    rows = uvloop.run(measure(sys.argv[1:]))
    table = Table(title="Speed")
    for column in ("row", "value", "unit", "reference", "ratio", "target", "load"):
        table.add_column(column, justify="right" if column in ("value", "reference", "ratio") else "left")
    for each in rows:
        reference = f"{_figure(each.reference)} ({each.what})" if each.reference else each.what
        ratio = f"{each.ratio:.2f}" if each.ratio is not None else ""
        table.add_row(
            each.name, _figure(each.value), each.unit, reference, ratio, each.target, str(each.load)
        )
    Console(width=160).print(table)
    RESULT.parent.mkdir(exist_ok=True)
    measured = {each.name for each in rows}
    kept = [each for each in _before() if each.name not in measured]
    RESULT.write_bytes(msgspec.json.format(msgspec.json.encode({"rows": [*kept, *rows]})))


def _before() -> list[Row]:
    """The rows of earlier runs, which a run of some groups leaves as they are."""
    if not RESULT.exists():
        return []
    return msgspec.json.decode(RESULT.read_bytes(), type=dict[str, list[Row]])["rows"]


def _figure(value: float) -> str:
    """With as many decimals as a small one needs."""
    return f"{value:,.1f}" if value >= 10 else f"{value:.3f}"


if __name__ == "__main__":
    main()
