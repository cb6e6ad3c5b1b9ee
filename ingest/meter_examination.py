"""Reading one meter a few times and saying in plain words whether to trust it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from ingest.meter_probe import SILENCES
from ingest.meter_reading import Reading, RegisterUnusable
from ingest.meter_scan import doubts
from ingest.modbus import Line, LineCounters, MeterOnLine
from ledger.clock import monotonic_seconds
from ledger.errors import BadInput, LedgerError, Unavailable
from ledger.words import counted

Level = Literal["good", "hint", "problem"]


class MeterDoubtful(BadInput):
    """The meter answers, but its readings should not be trusted as they are."""

    code = "meter-doubtful"


class Sample(Struct, frozen=True):
    """One try: a reading or an error, and how long it took."""

    took_ms: int
    reading: Reading | None = None
    error: str | None = None


class Finding(Struct, frozen=True):
    """Something to know about the meter."""

    level: Level
    text: str


class Examination(Struct, frozen=True):
    """Every try and what follows from them."""

    samples: tuple[Sample, ...]
    findings: tuple[Finding, ...]

    @property
    def problem(self) -> str | None:
        """The first problem found."""
        return next((finding.text for finding in self.findings if finding.level == "problem"), None)


async def nothing_more(silence: LedgerError) -> None:
    """What is done about a silent meter by default."""


async def examine(
    line: Line,
    meter: MeterOnLine,
    *,
    times: int,
    interval_s: float,
    on_turn: Callable[[int], None] = lambda turn: None,
    on_silence: Callable[[LedgerError], Awaitable[None]] = nothing_more,
) -> Examination:
    """Read `meter` `times` times, `interval_s` apart, the first time with its serial number.

    `on_turn` is told before each. `on_silence` is called once, if nobody answers the first time, with the
    line closed; what it raises ends the examination.

    Raises:
        The first error when no reading succeeds at all: what the line says is then the verdict.
    """
    samples: list[Sample] = []
    failure: LedgerError | None = None
    for turn in range(times):
        if turn:
            await asyncio.sleep(interval_s)
        on_turn(turn)
        began = monotonic_seconds()
        try:
            reading = await line.read(meter, serial=turn == 0)
        except (Unavailable, BadInput) as error:
            failure = failure or error
            samples.append(Sample(_since_ms(began), error=str(error)))
            if not isinstance(error, Unavailable | RegisterUnusable):
                break  # refused for good
            if turn == 0 and isinstance(error, SILENCES):
                await line.close()
                await on_silence(error)
        else:
            samples.append(Sample(_since_ms(began), reading))
    if failure is not None and not any(sample.reading for sample in samples):
        raise failure
    return Examination(tuple(samples), findings(samples, line.counters))


def findings(samples: Sequence[Sample], counters: LineCounters) -> tuple[Finding, ...]:
    """What the samples and the line's counters tell."""
    readings = [sample.reading for sample in samples if sample.reading is not None]
    return (
        *_reliability(samples, counters),
        *_plausibility(readings),
        *_direction(readings),
        *_identity(readings),
    )


def _reliability(samples: Sequence[Sample], counters: LineCounters) -> list[Finding]:
    failed = [sample.error for sample in samples if sample.error is not None]
    found = [
        Finding("problem", f"{len(failed)} of {len(samples)} readings failed: {failed[0]}")
        if failed
        else Finding("good", f"all {counted(len(samples), 'reading')} answered")
    ]
    again = counters.timeouts + counters.garbled + counters.busy
    if again:
        found.append(
            Finding(
                "hint",
                f"tried again: {counted(counters.timeouts, 'time-out')}, {counters.garbled} garbled and"
                f" {counted(counters.busy, 'busy answer')}; look at wiring, termination and baud rate",
            )
        )
    return found


def _plausibility(readings: Sequence[Reading]) -> list[Finding]:
    found = [Finding("problem", doubt) for doubt in doubts(readings[-1])]
    for earlier, later in pairwise(readings):
        if later.import_wh < earlier.import_wh or later.export_wh < earlier.export_wh:
            found.append(Finding("problem", "a cumulative register went back between two readings"))
            break
    if not found:
        found.append(Finding("good", "import and export are plausible"))
    return found


def _direction(readings: Sequence[Reading]) -> list[Finding]:
    """Does what flows agree with the sign of the power?"""
    imported_wh = readings[-1].import_wh - readings[0].import_wh
    exported_wh = readings[-1].export_wh - readings[0].export_wh
    powers_w = [reading.power_w for reading in readings if reading.power_w is not None]
    if not powers_w:
        return [Finding("hint", "the meter tells no power, so the direction cannot be checked")]
    if not imported_wh and not exported_wh:
        return [
            Finding(
                "hint",
                "too little energy flowed to check the direction: read more often or further apart",
            )
        ]
    if imported_wh and exported_wh:
        return [Finding("hint", "both energies moved: check the direction at a steadier time")]
    if min(powers_w) < 0 < max(powers_w):
        return [Finding("hint", "the power changed its sign: check the direction at another time")]
    way = "import" if sum(powers_w) > 0 else "export"
    if (way == "import") == bool(imported_wh):
        return [
            Finding(
                "good",
                f"the energies move as the sign of the power says: {way} of {abs(powers_w[-1])} W."
                " If the building does the opposite now, its current transformers are reversed",
            )
        ]
    return [
        Finding(
            "problem",
            f"the power says {way} while the other register counts: import and export are swapped"
            " in the model, or power has the other sign",
        )
    ]


def _identity(readings: Sequence[Reading]) -> list[Finding]:
    if readings[0].serial is None:
        text = "no serial number can be read: a replaced meter shows only by its registers"
        return [Finding("hint", text)]
    return [Finding("good", f"serial number {readings[0].serial}")]


def _since_ms(began: float) -> int:
    return int((monotonic_seconds() - began) * 1000)
