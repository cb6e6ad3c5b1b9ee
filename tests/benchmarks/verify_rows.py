"""`verify`, `verify_cores`, `verify_memory`: an exported book against the bare hashing of what is in it.

The file is generated, since filling a store with ten million events says nothing about verification: the
lines are those of an export, signed, chained, sealed into blocks and checkpointed. The reference hashes the
same bodies and, built from their parts, the same entries, and does nothing else: no reading of a file, no
tree, no JSON, no signature. Both are measured by turns, and the best of each counts.

Environment: ENERGY_LEDGER_BENCH_VERIFY_EVENTS (default 10,000,000) for the memory row.
"""

import asyncio
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import msgspec

from ledger.block import NO_BLOCK, block_hash
from ledger.book_file import (
    FORMAT,
    CheckpointLine,
    EnvelopeLine,
    Header,
    HeaderLine,
    KeyLine,
    block_line,
    new_book,
)
from ledger.canonical import encode
from ledger.entry import EMPTY, Head, chain
from ledger.envelope import NewRun, read_envelope, seal_envelope
from ledger.events import BlockSealed, CommunityOpened
from ledger.key_history import KeyHistory
from ledger.keys import SigningKey
from ledger.merkle import Frontier
from ledger.note import Checkpoint, Verifier
from ledger.registry import OPERATOR, SERVICE
from ledger.verify import verify_file
from tests.benchmarks import campus
from tests.benchmarks.rows import Row, row, timed

SPEED_EVENTS = 960_000
MEMORY_EVENTS = 10_000_000
METERS = 20  # with long histories: the state of a verification does not depend on how long they are
RUN_EVENTS = 96
BLOCK_EVENTS = 100_000
FOLDER = Path("build/bench-verify")
ROUNDS = 3
ORIGIN = "ledger.example/bench"


class Maker:
    """Writes a book line by line, as the ledger would have exported it."""

    def __init__(self, write: Callable[[object], None]) -> None:
        self.tree = Frontier()
        self.heads: dict[str, Head] = {}
        self.keys = {name: SigningKey.generate() for name in (SERVICE, OPERATOR, campus.GATEWAY)}
        self.log_key = SigningKey.generate()
        self._write = write
        self._block: BlockSealed | None = None

    def opening(self) -> CommunityOpened:
        """The first event."""
        return CommunityOpened(
            community=campus.COMMUNITY,
            name="Bench",
            zone="Asia/Bangkok",
            interval_minutes=15,
            currency="THB",
            log_key=str(Verifier(ORIGIN, self.log_key.public)),
            service_key=self.keys[SERVICE].public.bytes.hex(),
            operator_key=self.keys[OPERATOR].public.bytes.hex(),
        )

    def begin(self, size: int, meters: int) -> None:
        """Header, keys, and the envelopes that open the book and enrol the meters."""
        opening = self.opening()
        registry = campus.registry_events(self.keys[campus.GATEWAY], meters)
        history = KeyHistory()
        for position, event in enumerate([opening, *registry]):
            history.take(position, event)
        self._write(
            HeaderLine(
                Header(
                    community=campus.COMMUNITY,
                    format=FORMAT,
                    log_key=opening.log_key,
                    scope="community",
                    size=size,
                )
            )
        )
        for key in history.keys:
            self._write(KeyLine(key))
        self.envelope(SERVICE, "registry", [encode(opening)])
        self.envelope(OPERATOR, "registry", [encode(event) for event in registry])

    def envelope(self, device: str, stream: str, bodies: list[bytes]) -> None:
        """One envelope of one run."""
        head = self.heads.get(stream, EMPTY)
        data, after = seal_envelope(
            campus.COMMUNITY, device, self.keys[device], [NewRun(stream, head, bodies)]
        )
        links = chain(campus.COMMUNITY, stream, head, bodies)
        hashes = "".join(link.entry_hash.hex() for link in links)
        self._write(EnvelopeLine(envelope=read_envelope(data), hashes=hashes, position=self.tree.size))
        self.tree.extend([link.entry_hash for link in links])
        self.heads.update(after)

    def block(self) -> None:
        """Seal what there is."""
        last = self._block
        self._block = BlockSealed(
            number=last.number + 1 if last else 1,
            previous=block_hash(campus.COMMUNITY, last) if last else NO_BLOCK,
            root=self.tree.root().hex(),
            sealed_at=campus.BEGIN + timedelta(minutes=last.number if last else 0),
            size=self.tree.size,
        )
        self._write(block_line(campus.COMMUNITY, self.tree.size, self._block))
        self.envelope(SERVICE, f"device/{SERVICE}", [encode(self._block)])

    def end(self) -> None:
        """The checkpoint."""
        checkpoint = Checkpoint(ORIGIN, self.tree.size, self.tree.root())
        self._write(CheckpointLine(checkpoint.sign(self.log_key)))


def runs(events: int, meters: int = METERS) -> Iterator[tuple[str, list[bytes]]]:
    """Readings of meters in turn, `RUN_EVENTS` at a time: stream and bodies."""
    taken = [0] * meters
    for number in range(events // RUN_EVENTS):
        meter = number % meters
        begin = taken[meter] + 1
        taken[meter] += RUN_EVENTS
        bodies = [
            (
                f'{{"export_wh":{at * 56},"import_wh":{at * 1234},"measured_at":"{_instant(at)}",'
                f'"quality":"measured","raw":"0000000000f42400000000000000e710","salt":"{at:016d}",'
                '"type":"meter-read/1"}'
            ).encode()
            for at in range(begin, begin + RUN_EVENTS)
        ]
        yield f"meter/m-{meter}", bodies


def _instant(at: int) -> str:
    return (campus.BEGIN + at * campus.QUARTER).strftime("%Y-%m-%dT%H:%M:%SZ")


def generate(path: Path, events: int) -> None:
    """Write a book of about `events` readings to `path`."""
    registry = len(campus.registry_events(SigningKey.generate(), METERS))
    readings = events // RUN_EVENTS * RUN_EVENTS
    blocks = readings // BLOCK_EVENTS
    with new_book(path) as write:
        maker = Maker(write)
        maker.begin(1 + registry + readings + blocks, METERS)
        sealed = 0
        for done, (stream, bodies) in enumerate(runs(readings), 1):
            maker.envelope(campus.GATEWAY, stream, bodies)
            if done * RUN_EVENTS // BLOCK_EVENTS > sealed:
                maker.block()
                sealed += 1
        maker.end()


def hash_barely(batches: list[tuple[str, list[bytes]]]) -> None:
    """The reference: hash every body and every entry, one after another."""
    heads: dict[str, tuple[int, str]] = {}
    for stream, bodies in batches:
        sequence, previous = heads.get(stream, (0, "0" * 64))
        for body in bodies:
            sequence += 1
            entry = (
                f"\0energy-ledger/v1\n{campus.COMMUNITY}\n{stream}\n{sequence}\n{previous}\n"
                f"{sha256(body).hexdigest()}\n"
            )
            previous = sha256(entry.encode()).hexdigest()
        heads[stream] = (sequence, previous)


def measure_speed(path: Path, events: int) -> list[Row]:
    """`verify` with one process, `verify_cores` with as many as are worth it."""
    generate(path, events)
    batches = list(runs(events))
    hashed = sum(len(bodies) for _, bodies in batches)
    bare_seconds: list[float] = []
    one_seconds: list[float] = []
    all_seconds: list[float] = []
    cores = os.cpu_count() or 1
    for _ in range(ROUNDS):
        with timed() as watch:
            hash_barely(batches)
        bare_seconds.append(watch.seconds)
        for workers, found in ((1, one_seconds), (cores, all_seconds)):
            with timed() as watch:
                report = verify_file(path, workers=workers)
            if not report.verified:
                raise RuntimeError(report.verdicts)
            found.append(watch.seconds)
    bare = hashed / min(bare_seconds)
    what = "bodies and entries hashed in a bare loop, one process"
    return [
        row(
            "verify",
            report.events / min(one_seconds),
            "events/s a core",
            bare,
            target=">= 250,000",
            what=what,
        ),
        row(
            "verify_cores", report.events / min(all_seconds), f"events/s, {cores} processes", bare, what=what
        ),
    ]


def measure_memory(path: Path, events: int) -> list[Row]:
    """The largest resident set of a process that verifies `events`, alone and together with its workers."""
    generate(path, events)
    found = []
    for name, workers in (("verify_memory", 1), ("verify_memory_cores", os.cpu_count() or 1)):
        ran = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.verify_rows", str(path), str(workers)],
            check=True,
            capture_output=True,
        )
        peak = msgspec.json.decode(ran.stdout)
        what = f"{peak['events']:,} events in {peak['seconds']:.0f} s, {workers} processes"
        found.append(row(name, peak["megabytes"], "MB", target="< 200", what=what))
    return found


async def rows() -> list[Row]:
    """All rows."""
    return await asyncio.to_thread(measure)


def measure() -> list[Row]:
    """All rows; what was generated is removed again."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    events = int(os.environ.get("ENERGY_LEDGER_BENCH_VERIFY_EVENTS", MEMORY_EVENTS))
    speed, memory = FOLDER / "speed.jsonl", FOLDER / "memory.jsonl"
    try:
        return measure_speed(speed, SPEED_EVENTS) + measure_memory(memory, events)
    finally:
        speed.unlink(missing_ok=True)
        memory.unlink(missing_ok=True)


def main() -> None:
    """Verify a file and print the peak of memory: this process's own, plus the largest worker's for each."""
    path, workers = Path(sys.argv[1]), int(sys.argv[2])
    with timed() as watch:
        report = verify_file(path, workers=workers)
    if not report.verified:
        raise SystemExit(f"not verified: {report.verdicts}")
    # Not `ru_maxrss`, which begins at what the process had that started this one.
    (own,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # KiB; 0 without workers
    megabytes = (int(own) + workers * worker) / 1024
    found = {"events": report.events, "megabytes": round(megabytes, 1), "seconds": watch.seconds}
    sys.stdout.write(msgspec.json.encode(found).decode())


if __name__ == "__main__":
    main()
