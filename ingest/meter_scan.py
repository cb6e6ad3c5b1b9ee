"""Who is on a line, and which model's registers make sense there.

A unit that stays silent to a request with function 4 and to one with function 3 is taken for absent.
One that answers, even with an exception, is asked for a reading by every model; a model fits when
the reading is one that a meter could show.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from ingest.meter_model import MeterModel
from ingest.meter_reading import Reading, RegisterUnusable, plan_blocks
from ingest.modbus import (
    Line,
    MeterBusy,
    MeterOffline,
    MeterOnLine,
    ModbusException,
    ModbusGarbled,
    ModbusTimeout,
    SunSpecMissing,
)
from ledger.clock import monotonic_seconds
from ledger.errors import BadInput, LedgerError

ENERGY_WH_LIKELY = 10**11  # 100 GWh: no building's meter has counted more
POWER_W_LIKELY = 5 * 10**7  # 50 MW: nor shows more
UNIT_MAX = 247  # Modbus over serial line 1.02, 2.2: 1 to 247 are individual addresses
SILENT_PROBES = 2

ANSWERED = (ModbusException, SunSpecMissing, RegisterUnusable, ModbusGarbled, MeterBusy)


class Fit(Struct, frozen=True):
    """Models whose registers make sense for a unit; several where their maps are the same."""

    models: tuple[str, ...]
    reading: Reading
    remark: str = ""


class FoundUnit(Struct, frozen=True):
    """A unit that answers."""

    unit: int
    fits: tuple[Fit, ...]


class Scan(Struct, frozen=True):
    """What is on a line. `unasked` are the units that no time was left for; `advice` is for a silent line."""

    host: str
    port: int
    framer: str
    found: tuple[FoundUnit, ...]
    silent: tuple[int, ...]
    unasked: tuple[int, ...]
    advice: str = ""


def parse_units(text: str) -> tuple[int, ...]:
    """The units in `1-32,40`, ascending.

    Raises:
        BadInput: not of that form, or outside 1 to 247.
    """
    units: set[int] = set()
    try:
        for part in text.split(","):
            low, _, high = part.partition("-")
            units.update(range(int(low), int(high or low) + 1))
    except ValueError:
        units.clear()
    if not units or min(units) < 1 or max(units) > UNIT_MAX:
        raise BadInput(f"{text!r} is no range of units", where="units", hint="write 1-32 or 1,5,40-44")
    return tuple(sorted(units))


async def scan_line(
    line: Line,
    units: Sequence[int],
    models: Mapping[str, MeterModel],
    *,
    seconds_max: float,
    on_unit: Callable[[int], None] = lambda unit: None,
) -> Scan:
    """Ask every unit; `on_unit` is told before each. Stops when `seconds_max` are over.

    Raises:
        Unreachable: there is no connection to the line.
    """
    deadline = monotonic_seconds() + seconds_max
    probes = probes_of(models.values())
    found: list[FoundUnit] = []
    silent: list[int] = []
    for unit in units:
        if monotonic_seconds() > deadline:
            break
        on_unit(unit)
        fits = await _fits(line, unit, probes)
        if fits is None:
            silent.append(unit)
        else:
            found.append(FoundUnit(unit, fits))
    settings = line.settings
    return Scan(
        settings.host,
        settings.port,
        settings.framer,
        tuple(found),
        tuple(silent),
        tuple(units[len(found) + len(silent) :]),
    )


def doubts(reading: Reading) -> tuple[str, ...]:
    """Why `reading` is hardly one of a meter of this model; empty when nothing speaks against it."""
    found = [
        f"{name} of {amount_wh} Wh is more than a building's meter ever counts"
        for name, amount_wh in (("import", reading.import_wh), ("export", reading.export_wh))
        if amount_wh > ENERGY_WH_LIKELY
    ]
    if reading.power_w is not None and abs(reading.power_w) > POWER_W_LIKELY:
        found.append(f"a power of {reading.power_w} W is more than a building's meter ever shows")
    if not reading.import_wh and not reading.export_wh and reading.raw.strip("0"):
        found.append("the registers are not zero, but the energies come out as zero")
    return tuple(found)


def probes_of(models: Iterable[MeterModel]) -> list[tuple[MeterModel, ...]]:
    """Models with the same map together; one of each function code first."""
    groups: dict[object, list[MeterModel]] = {}
    for model in models:
        map_of = (model.function, model.word_order, model.registers, model.factors, model.sunspec)
        groups.setdefault(map_of, []).append(model)
    probes = sorted((tuple(group) for group in groups.values()), key=_first_tried)
    first = {probe[0].function: probe for probe in reversed(probes)}
    return [*first.values(), *(probe for probe in probes if probe not in first.values())]


def _first_tried(probe: tuple[MeterModel, ...]) -> tuple[bool, int, int, str]:
    """Fixed addresses before a walk through a map, well-known maps and few requests before others."""
    model = probe[0]
    requests = len(plan_blocks(model))
    return bool(model.sunspec), -model.source.confidence, requests, model.id


async def _fits(line: Line, unit: int, probes: Sequence[tuple[MeterModel, ...]]) -> tuple[Fit, ...] | None:
    """The models that make sense; None when the unit is absent."""
    fits: list[Fit] = []
    answered, silences = False, 0
    for models in probes:
        meter = MeterOnLine(unit, models[0])
        try:
            reading = await line.read(meter)
        except MeterOffline:
            return None
        except ModbusTimeout:
            silences += 1
            if not answered and silences >= SILENT_PROBES:
                return None
        except ANSWERED:
            answered = True
        else:
            answered = True
            if not doubts(reading):
                fits.append(await _fit(line, meter, models, reading))
    fits.sort(key=lambda fit: fit.reading.power_w is None)  # what answers in full comes first
    return tuple(fits) if answered else None


async def _fit(line: Line, meter: MeterOnLine, models: tuple[MeterModel, ...], reading: Reading) -> Fit:
    try:
        serial = await line.read_serial(meter)
    except LedgerError:
        serial = None  # some meters of a family have no such register
    remark = ""
    if not reading.raw.strip("0"):
        remark = "all energies are zero: a new meter, or another map"
    elif reading.power_w is None:
        remark = "no power where this model has it"
    reading = msgspec.structs.replace(reading, serial=serial)
    return Fit(tuple(model.id for model in models), reading, remark)
