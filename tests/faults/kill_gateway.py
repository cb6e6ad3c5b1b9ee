"""A gateway that lives fast: a process that reads simulated meters over Modbus, one quarter after another.

    python -m tests.faults.kill_gateway '<a Plan as JSON>'

Its meters live in it, on real sockets and on its own virtual clock, so that a quarter takes as long as the
meters need to answer. All else is the product's. Beside the outbox it keeps a witness, a text file that knows
nothing of the outbox's:

    begin                   a process was started
    poll <number>           a quarter is about to be read
    intent <stream> <hash>  a body is about to be kept
    kept <stream> <hash>    the outbox said that it is on the disk
    failed <stream> <hash>  the outbox said that it is not

SIGTERM ends the reading, waits until the ledger has everything, and ends the process with 0.
"""

import asyncio
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, cast

import msgspec

import ingest.gateway
from ingest.courier import SenderSettings
from ingest.gateway import Gateway, Site
from ingest.meter_model import find_model, load_models
from ingest.outbox import Outbox, Outgoing
from ingest.outbox_file import OutboxUnavailable
from ingest.settings import GatewayLine, GatewaySettings, MeterSettings
from ingest.simulator import (
    ExceptionAnswer,
    Fault,
    GarbageAnswer,
    LateAnswer,
    NoAnswer,
    Registers,
    ShortAnswer,
    SimulatedLine,
    SimulatedMeter,
    Simulator,
    WrongFunction,
)
from ledger.clock import VirtualClock
from ledger.command_line import configure_logs
from ledger.keys import SigningKey
from ledger.opening import service_public
from ledger.settings import load_settings

START = datetime(2020, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
MODEL = "schneider-iem3x55"  # counts in Wh, without a float
RATED_W = 100_000
TIMEOUT_MS = 120
PATIENCE = SenderSettings(receipt_seconds=1.0, retry_seconds=0.2, hold_seconds=0.5, wait_seconds_max=2.0)
FAULTS: tuple[Fault, ...] = (
    LateAnswer(TIMEOUT_MS + 30),
    LateAnswer(TIMEOUT_MS * 2),
    NoAnswer(),
    GarbageAnswer(),
    ShortAnswer(),
    WrongFunction(),
    ExceptionAnswer(6),
)


class Plan(msgspec.Struct, frozen=True):
    """What the process is to be. Paths are absolute."""

    config: str
    gateway: str
    meters: tuple[str, ...]
    witness: str
    outbox: str
    pause_ms: int = 20  # between two quarters
    seed: int = 0
    faults_percent: int = 0  # of the quarters in which a meter answers late, wrongly or not
    ahead_days: int = 0  # how far the gateway's clock is ahead of the year in which all others live
    small_until: str = ""  # the outbox is full until there is this file


class Rising:
    """What a meter counts: more each quarter, differently for every meter."""

    def __init__(self, meter: str) -> None:
        self._step_wh = 100 + 10 * (int.from_bytes(sha256(meter.encode()).digest()[:2], "big") % 100)

    def registers_at(self, instant: datetime) -> Registers:
        quarters = (instant - START) // QUARTER
        return Registers(10**6 + quarters * self._step_wh, quarters * self._step_wh // 10, self._step_wh * 4)


class Witness:
    """The text file. A line that was written is there after a SIGKILL as well."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *lines: str) -> None:
        if lines:
            os.write(self._descriptor, "".join(f"{line}\n" for line in lines).encode())

    def tell(self, what: str, outgoing: Sequence[Outgoing]) -> None:
        self.write(*(f"{what} {one.stream} {sha256(one.body).hexdigest()}" for one in outgoing))


class WitnessedOutbox(Outbox):
    """The outbox, with a witness of what it said."""

    witness: ClassVar[Witness]
    factory: ClassVar[type[sqlite3.Connection]] = sqlite3.Connection

    @classmethod
    def open(cls, path: Path, **_: Any) -> "Outbox":
        return super().open(path, factory=cls.factory)

    def append(
        self, outgoing: Sequence[Outgoing], at: datetime, memory: Mapping[str, bytes] | None = None
    ) -> None:
        self.witness.tell("intent", outgoing)
        try:
            super().append(outgoing, at, memory)
        except OutboxUnavailable:
            self.witness.tell("failed", outgoing)
            raise
        self.witness.tell("kept", outgoing)


def small_file(until: Path) -> type[sqlite3.Connection]:
    """A database that has only so many pages until there is a certain file."""

    class SmallFile(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            pages = 2**30 if until.exists() else 30
            super().execute(f"PRAGMA max_page_count = {pages}")
            return super().execute(*arguments)

    return SmallFile


def polls_of(witness: Path) -> int:
    """How many quarters the witness has seen begun."""
    text = witness.read_text() if witness.exists() else ""
    return sum(line.startswith("poll ") for line in text.splitlines())


def simulated(plan: Plan, clock: VirtualClock) -> Simulator:
    """The meters, the first half behind Modbus TCP and the others behind a serial converter."""
    model = find_model(load_models(), MODEL)
    middle = (len(plan.meters) + 1) // 2
    halves = (("tcp", plan.meters[:middle]), ("rtu", plan.meters[middle:]))
    return Simulator(
        [
            SimulatedLine(
                [
                    SimulatedMeter(unit, model, Rising(meter), clock, serial=str(unit))
                    for unit, meter in enumerate(meters, 1)
                ],
                framer=cast(Any, framer),
            )
            for framer, meters in halves
            if meters
        ]
    )


def settings_of(plan: Plan, simulator: Simulator) -> GatewaySettings:
    """The gateway that reads them, without the pauses that real converters need."""
    names = iter(plan.meters)
    lines = tuple(
        GatewayLine(
            host=line.host,
            port=line.port,
            framer=line.framer,
            pause_ms=0,
            timeout_ms=TIMEOUT_MS,
            quiet_ms=40,
            meters=tuple(
                MeterSettings(id=next(names), unit=unit, model=MODEL, rated_w=RATED_W, building="b-1")
                for unit in sorted(line.meters)
            ),
        )
        for line in simulator.lines
    )
    return GatewaySettings(id=plan.gateway, lines=lines)


def site_of(plan: Plan) -> Site:
    """Where the ledger is."""
    settings = load_settings(Path(plan.config), {})
    return Site(
        community=settings.community.id,
        interval_minutes=settings.community.interval_minutes,
        service=service_public(settings.keys_folder),
        bus=settings.nats,
        key=SigningKey.load(settings.keys_folder / f"{plan.gateway}.pem"),
        outbox=Path(plan.outbox),
    )


async def live(plan: Plan) -> None:
    """Read quarter after quarter until SIGTERM, then wait for the last receipt."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    begun = polls_of(Path(plan.witness))
    witness = WitnessedOutbox.witness = Witness(Path(plan.witness))
    if plan.small_until:
        WitnessedOutbox.factory = small_file(Path(plan.small_until))
    witness.write("begin")
    random_ = random.Random(plan.seed + begun)
    start = START + timedelta(days=plan.ahead_days)
    clock = VirtualClock(start)
    async with (
        simulated(plan, clock) as simulator,
        Gateway(settings_of(plan, simulator), site_of(plan), clock, PATIENCE) as gateway,
    ):
        number = begun
        while not stop.is_set():
            if random_.randrange(100) < plan.faults_percent:
                line = random_.choice(simulator.lines)
                random_.choice([*line.meters.values()]).fault(random_.choice(FAULTS), times=1)
            witness.write(f"poll {number}")
            await clock.sleep_until(start + number * QUARTER)
            await gateway.poll_once(start + number * QUARTER)
            number += 1
            await asyncio.sleep(plan.pause_ms / 1000)
        await gateway.drained()


if __name__ == "__main__":
    configure_logs()
    # The gateway opens its outbox by this name; it is the same outbox, with a witness.
    vars(ingest.gateway)["Outbox"] = WitnessedOutbox
    asyncio.run(live(msgspec.json.decode(sys.argv[1], type=Plan)))
