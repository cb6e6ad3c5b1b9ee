"""A simulation as a TOML file: which meters live how, behind which ports. `example.toml` is one; beyond it:

starts_at = "2026-05-31T17:00:00Z"      # instant of the profiles' first row; default: its local time

[[lines.meters]]
unit = 2
model = "acrel-adl3000"
factors = { ct = 40, pt = 1 }
registers = "registers.csv"             # time, import_wh, export_wh instead of profiles
fault = "late 400"                      # see `SimulatedMeter.command`
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct

from ingest.meter_model import MeterModel, find_model
from ingest.modbus import FramerName
from ingest.simulator.line import SimulatedLine, Simulator
from ingest.simulator.meter import SimulatedMeter
from ingest.simulator.source import Profiles, ProfileSource, RegisterSource, RegisterTable, starts_at
from ledger.clock import Clock, parse_rfc3339
from ledger.errors import BadInput
from ledger.misfit import misfit

EXAMPLE = Path(__file__).with_name("example.toml")
HINT = f"compare it with {EXAMPLE}"

Watts = Annotated[int, Meta(ge=0)]


class SimulationInvalid(BadInput):
    """The file of a simulation cannot be used. `where` names the file and the key."""

    code = "simulation-invalid"


class MeterPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """A meter and its life: profiles, or a table of registers."""

    unit: Annotated[int, Meta(ge=0, le=255)]
    model: str
    serial: str | None = None
    load: str | None = None
    peak_w: Watts = 0
    pv: str | None = None
    pv_w: Watts = 0
    registers: str | None = None
    factors: dict[str, int] = msgspec.field(default_factory=dict)
    fault: str | None = None

    def __post_init__(self) -> None:
        if (self.registers is None) == (self.load is None and self.pv is None):
            raise ValueError("a meter lives by `load` and `pv` or by `registers`")


class LinePlan(Struct, frozen=True, forbid_unknown_fields=True):
    """A port and the meters behind it."""

    port: Annotated[int, Meta(ge=0, le=0xFFFF)]
    meters: Annotated[tuple[MeterPlan, ...], Meta(min_length=1)]
    host: str = "127.0.0.1"
    framer: FramerName = "tcp"


class SimulationPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    lines: Annotated[tuple[LinePlan, ...], Meta(min_length=1)]
    zone: str = "Asia/Bangkok"
    profiles: str | None = None
    starts_at: str | None = None


def load_simulation(path: Path, models: Mapping[str, MeterModel], clock: Clock) -> Simulator:
    """The simulator described in the file at `path`, not yet started.

    Raises:
        SimulationInvalid: a key is missing, unknown or out of range.
        ProfileInvalid, MeterModelUnknown, SerialInvalid, CommandUnknown, UnitTaken.
    """
    plan = _read(path)
    lives = _Lives(plan, path)
    return Simulator(
        [
            SimulatedLine(
                [_meter(meter, lives, models, clock) for meter in line.meters],
                framer=line.framer,
                host=line.host,
                port=line.port,
            )
            for line in plan.lines
        ]
    )


def _read(path: Path) -> SimulationPlan:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=SimulationPlan)
    except msgspec.ValidationError as error:
        what, place, hint = misfit(error, SimulationPlan)
        where = f"{path}: {place}" if place else str(path)
        raise SimulationInvalid(what, where=where, hint=hint or HINT) from error
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise SimulationInvalid(f"cannot be read: {error}", where=str(path), hint=HINT) from error


def _meter(
    plan: MeterPlan, lives: "_Lives", models: Mapping[str, MeterModel], clock: Clock
) -> SimulatedMeter:
    meter = SimulatedMeter(
        plan.unit,
        find_model(models, plan.model),
        lives.of(plan),
        clock,
        serial=plan.serial,
        factors=plan.factors,
    )
    if plan.fault is not None:
        meter.command(plan.fault)
    return meter


class _Lives:
    """The sources of a plan; its profiles are read once."""

    def __init__(self, plan: SimulationPlan, path: Path) -> None:
        self._path = path
        self._profiles = None if plan.profiles is None else Profiles.read(self._file(plan.profiles))
        self._starts = self._instant(plan)

    def of(self, meter: MeterPlan) -> RegisterSource:
        if meter.registers is not None:
            return RegisterTable.read(self._file(meter.registers))
        if self._profiles is None or self._starts is None:
            raise SimulationInvalid(
                "a meter lives by a profile, and the file names none",
                where=f"{self._path}: profiles",
            )
        return ProfileSource(
            self._profiles,
            starts=self._starts,
            load=meter.load,
            peak_w=meter.peak_w,
            pv=meter.pv,
            pv_w=meter.pv_w,
        )

    def _file(self, name: str) -> Path:
        return self._path.parent / name

    def _instant(self, plan: SimulationPlan) -> datetime | None:
        try:
            if plan.starts_at is not None:
                return parse_rfc3339(plan.starts_at)
            return starts_at(self._profiles, ZoneInfo(plan.zone)) if self._profiles else None
        except (ValueError, OSError, KeyError) as error:
            raise SimulationInvalid(str(error), where=f"{self._path}: starts_at and zone") from error
