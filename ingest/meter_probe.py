"""A look around a line on which nobody answered: perhaps it speaks the other framer, or the unit is another.

Every place is asked once and shortly, so that an installer who waits learns within seconds what to change.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

import msgspec
from msgspec import Struct

from ingest.meter_model import MeterModel
from ingest.meter_reading import plan_blocks
from ingest.modbus import (
    FramerName,
    Line,
    LineSettings,
    MeterBusy,
    MeterOffline,
    ModbusException,
    ModbusGarbled,
    ModbusTimeout,
    Unreachable,
)
from ingest.modbus.sunspec import STARTS
from ledger.clock import Clock

TIMEOUT_MS = 300
CONNECT_TIMEOUT_MS = 1_000
QUIET_MS = 100
PAUSE_MS = 20
FIRST_UNITS = (1, 2, 3, 4, 5)  # what meters are numbered where there are few

SILENCES = (ModbusTimeout, ModbusGarbled, MeterOffline, Unreachable)
"""Errors after which it is worth to look around: no meter has said anything."""

Place = tuple[FramerName, int]
"""A framer and a unit."""


class Sighting(Struct, frozen=True):
    """Who answered. Without a unit it was the converter alone, which said that it reaches no such unit."""

    framer: FramerName
    unit: int | None


def other_framer(framer: FramerName) -> FramerName:
    """The one that is not `framer`."""
    return "rtu" if framer == "tcp" else "tcp"


def places_around(framer: FramerName, unit: int) -> tuple[Place, ...]:
    """Where else a meter may be: likeliest first, and the very place once more."""
    other = other_framer(framer)
    units = [each for each in FIRST_UNITS if each != unit]
    return (
        (framer, unit),
        (other, unit),
        *((framer, each) for each in units),
        *((other, each) for each in units),
    )


async def look_around(
    settings: LineSettings,
    places: Sequence[Place],
    models: Sequence[MeterModel],
    clock: Clock,
    on_place: Callable[[FramerName, int], None] = lambda framer, unit: None,
) -> Sighting | None:
    """Ask `places` for the energies of `models` until a meter answers, be it with a refusal.

    `settings` tell the line; `on_place` is told before each. None where nobody answered.
    """
    converter: FramerName | None = None
    closed: set[FramerName] = set()
    for framer, group in groupby(places, key=lambda place: place[0]):
        line = Line(_hasty(settings, framer), clock)
        try:
            for _, unit in group:
                if framer in closed or converter not in (None, framer):
                    break
                on_place(framer, unit)
                try:
                    if await _answers(line, unit, models):
                        return Sighting(framer, unit)
                except Unreachable:
                    closed.add(framer)
                except MeterOffline:
                    converter = framer
        finally:
            await line.close()
    return None if converter is None else Sighting(converter, None)


def advice(asked: Place, found: Sighting | None) -> str:
    """What to do after `asked` was silent and `found` was not."""
    framer, unit = asked
    if found is None:
        return (
            "nothing answers with framer tcp or rtu: check the meter's power, A and B of its RS485 line, and"
            " the converter's serial settings (baud rate, parity, stop bits)"
        )
    framing = "" if found.framer == framer else f" --framer {found.framer}"
    if found.unit is None:
        return (
            f"the converter answers with framer {found.framer}{framing and f': use{framing}'}, but the meter"
            " does not: check its unit address, its power, A and B, and the converter's serial settings"
        )
    if found.unit == unit:
        return f"the converter answers with framer {found.framer}: use{framing}"
    return (
        f"unit {found.unit} answers, and unit {unit} does not: use{framing} --unit {found.unit}, or check the"
        f" address, power and wiring of unit {unit}"
    )


def _hasty(settings: LineSettings, framer: FramerName) -> LineSettings:
    return msgspec.structs.replace(
        settings,
        framer=framer,
        attempts=1,
        pause_ms=PAUSE_MS,
        timeout_ms=min(settings.timeout_ms, TIMEOUT_MS),
        connect_timeout_ms=CONNECT_TIMEOUT_MS,
        quiet_ms=QUIET_MS,
    )


async def _answers(line: Line, unit: int, models: Sequence[MeterModel]) -> bool:
    """Whether the unit says anything. Raises `Unreachable`, `MeterOffline`."""
    for model in models:
        block = plan_blocks(model)[0]
        address = block.address + (STARTS[0] if model.sunspec else 0)
        try:
            await line.read_registers(unit, block.function, address, block.count)
        except (ModbusTimeout, ModbusGarbled):
            continue
        except (ModbusException, MeterBusy):
            return True
        return True
    return False
