"""Meters that are not there, on real sockets: for demonstrations, tests and commissioning."""

from ingest.simulator.fault import (
    ClockDrift,
    ExceptionAnswer,
    Fault,
    GarbageAnswer,
    GlitchZero,
    LateAnswer,
    NoAnswer,
    ShortAnswer,
    WrongFunction,
)
from ingest.simulator.line import SimulatedLine, Simulator
from ingest.simulator.meter import SimulatedMeter
from ingest.simulator.plan import load_simulation
from ingest.simulator.source import (
    Profiles,
    ProfileSource,
    Registers,
    RegisterSource,
    RegisterTable,
    starts_at,
)

__all__ = [
    "ClockDrift",
    "ExceptionAnswer",
    "Fault",
    "GarbageAnswer",
    "GlitchZero",
    "LateAnswer",
    "NoAnswer",
    "ProfileSource",
    "Profiles",
    "RegisterSource",
    "RegisterTable",
    "Registers",
    "ShortAnswer",
    "SimulatedLine",
    "SimulatedMeter",
    "Simulator",
    "WrongFunction",
    "load_simulation",
    "starts_at",
]
