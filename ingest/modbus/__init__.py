"""The only door to pymodbus: lines to read meters on, and a server to be meters with."""

from ingest.modbus.errors import (
    MeterBusy,
    MeterOffline,
    ModbusException,
    ModbusGarbled,
    ModbusTimeout,
    SunSpecMissing,
    Unreachable,
)
from ingest.modbus.frames import FramerName, ReadRequest
from ingest.modbus.line import Line, LineCounters, LineSettings, MeterOnLine
from ingest.modbus.server import ModbusServer, Reply, Responder

__all__ = [
    "FramerName",
    "Line",
    "LineCounters",
    "LineSettings",
    "MeterBusy",
    "MeterOffline",
    "MeterOnLine",
    "ModbusException",
    "ModbusGarbled",
    "ModbusServer",
    "ModbusTimeout",
    "ReadRequest",
    "Reply",
    "Responder",
    "SunSpecMissing",
    "Unreachable",
]
