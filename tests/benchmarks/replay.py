"""`replay`: the settlement of a book recomputed from its file, against verifying the rest of that file."""

import asyncio
from pathlib import Path

from api.audit_commands import FURTHER
from ledger.verify import verify_file
from tests.benchmarks.rows import Row, row, timed
from tests.benchmarks.settled_book import METERS, write_book

DAYS = 60
FOLDER = Path("build/bench-replay")


async def rows() -> list[Row]:
    """The row."""
    return await asyncio.to_thread(measure)


def measure() -> list[Row]:
    """The row; what was generated is removed again."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "book.jsonl"
    try:
        write_book(path, DAYS)
        with timed() as proofs:
            report = verify_file(path, workers=1)
        with timed() as whole:
            found = verify_file(path, workers=1, further=FURTHER).verdicts[-1].found
        if not report.verified or found != DAYS:
            raise RuntimeError("the book or its runs were not read")
    finally:
        path.unlink(missing_ok=True)
    what = f"the other steps of {report.events:,} events; {METERS} buildings, a run a day, one process"
    rate = report.events / (whole.seconds - proofs.seconds)
    return [row("replay", rate, "events/s a core", report.events / proofs.seconds, what=what)]
