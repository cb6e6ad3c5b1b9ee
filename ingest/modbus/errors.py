"""Everything that can go wrong between a line and a meter.

    Unavailable
    ├── Unreachable      no connection to the converter, or it hung up
    ├── ModbusTimeout    no answer in time                                    tried again
    ├── ModbusGarbled    an answer that is not one to this request            tried again
    ├── MeterBusy        exceptions 4, 5 and 6                                tried again
    └── MeterOffline     exceptions 10 and 11: the gateway cannot reach it
    BadInput
    ├── ModbusException  exceptions 1, 2, 3 and 8: asking again will not help
    └── SunSpecMissing   no SunSpec map, or none of the wanted models in it

`where` always names host and port, unit, function, address and count.
"""

from collections.abc import Callable

from ledger.errors import BadInput, LedgerError, Unavailable


class Unreachable(Unavailable):
    """No connection to the converter, or it closed the connection in the middle of a request."""

    code = "unreachable"


class ModbusTimeout(Unavailable):
    """The meter did not answer in time."""

    code = "modbus-timeout"


class ModbusGarbled(Unavailable):
    """What came back is not a whole and only answer to this very request."""

    code = "modbus-garbled"


class MeterBusy(Unavailable):
    """The meter answered that it cannot serve the request now (exceptions 4, 5, 6)."""

    code = "meter-busy"


class MeterOffline(Unavailable):
    """The gateway answered that the meter behind it does not (exceptions 10, 11)."""

    code = "meter-offline"


class ModbusException(BadInput):
    """The meter refused the request for good (exceptions 1, 2, 3 and others)."""

    code = "modbus-exception"


class SunSpecMissing(BadInput):
    """There is no SunSpec map where one should be, or it holds none of the wanted models."""

    code = "sunspec-missing"


_LATER = "the meter is starting up or overloaded; it is asked again at the next poll"
_MODEL = "check the meter's model with `energy-ledger meter scan`"
_WIRING = "check the meter's power, its unit address, and the wiring and baud rate of its RS485 line"

# Modbus Application Protocol 1.1b3, 7: exception codes.
_EXCEPTIONS: dict[int, tuple[Callable[..., LedgerError], str, str]] = {
    1: (ModbusException, "illegal function", _MODEL),
    2: (ModbusException, "illegal data address", _MODEL),
    3: (ModbusException, "illegal data value", _MODEL),
    4: (MeterBusy, "server device failure", _LATER),
    5: (MeterBusy, "acknowledged, still working on it", _LATER),
    6: (MeterBusy, "server device busy", _LATER),
    8: (ModbusException, "memory parity error", "the meter is faulty"),
    10: (MeterOffline, "gateway path unavailable", _WIRING),
    11: (MeterOffline, "gateway target device failed to respond", _WIRING),
}


def refusal(code: int, where: str) -> LedgerError:
    """The error for a Modbus exception code."""
    kind, name, hint = _EXCEPTIONS.get(code, (ModbusException, "unknown exception", _MODEL))
    return kind(f"the meter answered exception {code}, {name}", where=where, hint=hint)
