"""Step 6: whether the readings of each meter can follow one another. Implausible is not unverified.

Each reading is held against the newest one before it, by `ledger.plausibility`, with the rating that the
registry had for the meter there. Across a new register epoch (an operator's word, or another serial number)
registers are not compared.
"""

from datetime import datetime
from typing import NamedTuple

from ledger.entry import stream_subject
from ledger.events import MeterRead, RegisterEpochOpened
from ledger.plausibility import GLITCH_ZERO, JUMP, ROLLBACK, Registers, energy_max_wh, fault
from ledger.registry import Registry
from ledger.verify.plain import PlainRun

_WORDS = {
    ROLLBACK: "a register went back",
    GLITCH_ZERO: "both registers fell to zero",
    JUMP: "more energy than the connection can carry",
}


class _Newest(NamedTuple):
    """The newest reading of a meter, and the serial number that was told last."""

    reading: MeterRead
    serial: str | None


class Readings:
    """What is remembered of every meter: its newest reading, and where its registers start anew."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._newest: dict[str, _Newest] = {}
        self._openings: dict[str, list[datetime]] = {}

    def open_epoch(self, event: RegisterEpochOpened) -> None:
        """The meter's registers start anew with the first reading at or after an instant."""
        self._openings.setdefault(event.meter, []).append(event.since)

    @property
    def meters(self) -> int:
        """How many meters have readings."""
        return len(self._newest)

    def can_take(self, run: PlainRun) -> bool:
        """Whether the summary of a run shows that nothing is wrong with it after what came before."""
        meter = stream_subject(run.stream)
        rated_w = self._rated_w(meter)
        newest = self._newest.get(meter)
        begin = newest.reading.measured_at if newest else run.opening.measured_at
        if not rated_w or self._opens_within(meter, begin, run.closing.measured_at):
            return False
        if newest is not None:
            serial = run.opening.serial
            if newest.serial != serial and newest.serial is not None and serial is not None:
                return False
            if _fault(newest.reading, run.opening, rated_w):
                return False
        most_wh = energy_max_wh(run.gap_seconds, rated_w)
        return run.import_step_wh <= most_wh and run.export_step_wh <= most_wh

    def take_run(self, run: PlainRun) -> None:
        """Take a run of which `can_take` was true."""
        meter = stream_subject(run.stream)
        newest = self._newest.get(meter)
        serial = run.closing.serial or (newest.serial if newest else None)
        self._newest[meter] = _Newest(run.closing, serial)

    def take(self, meter: str, reading: MeterRead) -> str:
        """Take any reading; returns in words why it cannot follow the newest one, empty when it can."""
        newest = self._newest.get(meter)
        if newest is None:
            self._newest[meter] = _Newest(reading, reading.serial)
            return ""
        before, serial = newest
        if reading.measured_at < before.measured_at:
            return "measured earlier than the reading before it"
        self._newest[meter] = _Newest(reading, reading.serial or serial)
        replaced = serial is not None and reading.serial not in (None, serial)
        if replaced or self._opens_within(meter, before.measured_at, reading.measured_at):
            return ""
        return _fault(before, reading, self._rated_w(meter))

    def _rated_w(self, meter: str) -> int:
        known = self._registry.meters.get(meter)
        return known.added.rated_w if known else 0

    def _opens_within(self, meter: str, begin: datetime, end: datetime) -> bool:
        openings = self._openings.get(meter)
        return openings is not None and any(begin < since <= end for since in openings)


def _fault(before: MeterRead, after: MeterRead, rated_w: int) -> str:
    """Why `after`, which comes later in the chain and is not older, cannot follow `before`, in words."""
    if after.measured_at <= before.measured_at:
        return "measured at the same instant as the reading before it"
    code = fault(_registers(before), _registers(after), rated_w)
    return _WORDS[code] if code else ""


def _registers(reading: MeterRead) -> Registers:
    return Registers(int(reading.measured_at.timestamp()), reading.import_wh, reading.export_wh)
