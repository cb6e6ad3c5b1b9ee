"""Validation at the edge: marks readings that cannot be true and raises alarms; edits and drops nothing.

Which readings count is decided in the book, by the same rules (`ledger.plausibility`). Here they serve to
tell people on site at once, and to have the serial number read while it can still explain what happened.

A meter's registers are compared with the last plausible ones. They are taken for the new measure when the
serial number has changed, or when several readings in a row agree with one another, so that a
replaced meter without a serial number does not stay suspect for ever; a meter that shows nothing but
zeros never gets there.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
import structlog

from ingest.alarms import METER_OFFLINE, METER_ONLINE, NOT_A_NUMBER, SERIAL_CHANGED, Alarms
from ingest.meter_reading import Reading, RegisterUnusable
from ingest.observation import Observation
from ingest.outbox import Outgoing
from ledger.canonical import INTEGER_MAX, encode
from ledger.event import Quality, new_salt
from ledger.events import MeterRead
from ledger.plausibility import GLITCH_ZERO, JUMP, ROLLBACK, Registers, fault

log = structlog.get_logger(__name__)

AGREEING_MIN = 4
"""An hour of quarters: so many doubted readings that follow from one another are believed."""

UNKNOWN_STEP_SECONDS = 86_400
"""What is taken for the time between two readings when the clock was set back between them."""

SERIAL_MAX = 40
"""Characters of a serial number that an event keeps."""

ALARMS_MEMORY = "alarms"
_METER_MEMORY = "meter/"


class Known(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of a meter: its last plausible registers, its serial number, and what is doubted."""

    registers: Registers
    serial: str | None = None
    doubted: Registers | None = None
    doubts: int = 0


class Verdict(NamedTuple):
    """What is thought of a reading: `fault` is the alarm it gives cause to, empty for none."""

    quality: Quality
    fault: str
    known: Known


def judge(known: Known | None, registers: Registers, serial: str | None, rated_w: int) -> Verdict:
    """Hold a meter's registers against what is known of it; `serial` only if the meter was asked for it."""
    if known is None:
        return Verdict("measured", "", Known(registers, serial))
    believed = Known(registers, serial or known.serial)
    if serial and known.serial and serial != known.serial:
        return Verdict("measured", SERIAL_CHANGED, believed)
    found = _fault(known.registers, registers, rated_w)
    if not found:
        return Verdict("measured", "", believed)
    agrees = (
        found != GLITCH_ZERO and known.doubted is not None and not _fault(known.doubted, registers, rated_w)
    )
    doubts = known.doubts + 1 if agrees else 1
    if doubts >= AGREEING_MIN:
        return Verdict("measured", "", believed)
    return Verdict("suspect", found, Known(known.registers, believed.serial, registers, doubts))


def _fault(before: Registers, after: Registers, rated_w: int) -> str:
    if after.at <= before.at:  # the clock was set back: nobody knows how much time went by
        before = before._replace(at=after.at - UNKNOWN_STEP_SECONDS)
    return fault(before, after, rated_w)


class Validation:
    """Judges the readings of one gateway's meters. `rated_w` tells each meter's rating."""

    def __init__(self, rated_w: Mapping[str, int], alarms: Alarms, memory: Mapping[str, bytes]) -> None:
        self._rated_w = rated_w
        self._alarms = alarms
        self._known = {meter: known for meter in rated_w if (known := _recalled(meter, memory))}

    def is_suspicious(self, observation: Observation) -> bool:
        """Whether the reading calls for a look at the serial number."""
        reading = observation.reading
        if reading is None:
            return False
        known = self._known.get(observation.meter)
        registers = _registers(observation, reading)
        return bool(judge(known, registers, None, self._rated_w[observation.meter]).fault)

    def take(self, observations: Iterable[Observation]) -> tuple[list[Outgoing], dict[str, bytes]]:
        """The bodies to send for what was seen, in order, and what to remember along with them."""
        outgoing: list[Outgoing] = []
        memory: dict[str, bytes] = {}
        for observation in observations:
            if observation.reading is None:
                outgoing += self._missed(observation)
            else:
                outgoing += self._read(observation, observation.reading)
                memory[_METER_MEMORY + observation.meter] = encode(self._known[observation.meter])
        memory[ALARMS_MEMORY] = self._alarms.remembered()
        return outgoing, memory

    def _missed(self, observation: Observation) -> list[Outgoing]:
        error, meter, at = observation.error, observation.meter, observation.at
        detail = str(error)
        if isinstance(error, RegisterUnusable):
            back = self._back_online(observation)
            return [*back, *self._alarms.raise_once(NOT_A_NUMBER, at, detail, meter)]
        return self._alarms.raise_once(METER_OFFLINE, at, detail, meter)

    def _read(self, observation: Observation, reading: Reading) -> list[Outgoing]:
        meter, before = observation.meter, self._known.get(observation.meter)
        registers = _registers(observation, reading)
        verdict = judge(before, registers, observation.serial, self._rated_w[meter])
        self._known[meter] = verdict.known
        return [
            *self._back_online(observation),
            *self._fault_alarms(observation, verdict, before, registers),
            Outgoing(f"meter/{meter}", _body(observation, reading, verdict.quality)),
        ]

    def _back_online(self, observation: Observation) -> list[Outgoing]:
        if not self._alarms.settle(METER_OFFLINE, observation.meter):
            return []
        return self._alarms.announce(
            METER_ONLINE, observation.at, "the meter answers again", observation.meter
        )

    def _fault_alarms(
        self, observation: Observation, verdict: Verdict, before: Known | None, after: Registers
    ) -> list[Outgoing]:
        meter, at = observation.meter, observation.at
        self._alarms.settle(NOT_A_NUMBER, meter)
        if verdict.quality == "measured":
            for alarm in (ROLLBACK, GLITCH_ZERO, JUMP):
                self._alarms.settle(alarm, meter)
        if not verdict.fault or before is None:
            return []
        if verdict.fault == SERIAL_CHANGED:
            return self._alarms.announce(
                SERIAL_CHANGED, at, f"serial number {before.serial}, now {observation.serial}", meter
            )
        was = before.registers
        detail = (
            f"import {was.import_wh} Wh, now {after.import_wh}; export {was.export_wh}, now {after.export_wh}"
        )
        return self._alarms.raise_once(verdict.fault, at, detail, meter)


def _registers(observation: Observation, reading: Reading) -> Registers:
    return Registers(int(observation.at.timestamp()), reading.import_wh, reading.export_wh)


def _body(observation: Observation, reading: Reading, quality: Quality) -> bytes:
    """The event. What only accompanies the energies is left out where the book has no room for it."""
    serial, power_w = observation.serial, reading.power_w
    return encode(
        MeterRead(
            import_wh=reading.import_wh,
            export_wh=reading.export_wh,
            measured_at=observation.at,
            quality=quality,
            salt=new_salt(),
            power_w=power_w if power_w is not None and abs(power_w) <= INTEGER_MAX else None,
            raw=reading.raw,
            serial=serial[:SERIAL_MAX] if serial else None,
        )
    )


def _recalled(meter: str, memory: Mapping[str, bytes]) -> Known | None:
    """What was remembered of a meter; None also when another version wrote it in another form."""
    state = memory.get(_METER_MEMORY + meter)
    if state is None:
        return None
    try:
        return msgspec.json.decode(state, type=Known)
    except msgspec.DecodeError:
        log.warning("memory of a meter cannot be read", meter=meter)
        return None
