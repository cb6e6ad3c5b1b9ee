"""What can be wrong with a simulated meter, beyond what its registers count.

A fault may change the answer on the wire, the registers shown, or the meter's own clock. On the
console and in files a fault is its name and, for some, a value: `late 400`, `exception 6`.
"""

from datetime import timedelta
from typing import ClassVar

import msgspec
from msgspec import Struct

from ingest.modbus import ReadRequest, Reply
from ingest.simulator.source import Registers

GARBAGE = bytes.fromhex("00ff5a17c3e20b9d41")  # neither a header nor a frame with a fitting CRC
BOTH_FUNCTIONS = 3 + 4
NO_DRIFT = timedelta()


class Fault(Struct, frozen=True):
    """Overrides one of three; as it stands, nothing is wrong."""

    name: ClassVar[str] = "none"

    def on_wire(self, request: ReadRequest, reply: Reply) -> Reply | None:
        """What is sent instead of `reply`; None for silence."""
        return reply

    def on_registers(self, registers: Registers) -> Registers:
        """What the meter shows instead of `registers`."""
        return registers

    def on_clock(self) -> timedelta:
        """How far the meter's clock is ahead."""
        return NO_DRIFT


class NoAnswer(Fault, frozen=True):
    """The meter stays silent."""

    name = "timeout"

    def on_wire(self, request: ReadRequest, reply: Reply) -> Reply | None:
        return None


class LateAnswer(Fault, frozen=True):
    """The right answer, `value` milliseconds late."""

    name = "late"
    value: int

    def on_wire(self, request: ReadRequest, reply: Reply) -> Reply | None:
        return msgspec.structs.replace(reply, delay_ms=self.value)


class ExceptionAnswer(Fault, frozen=True):
    """Modbus exception `value`."""

    name = "exception"
    value: int

    def on_wire(self, request: ReadRequest, reply: Reply) -> Reply | None:
        return Reply(exception=self.value)


class GarbageAnswer(Fault, frozen=True):
    """Bytes that are no frame."""

    name = "garbage"

    def on_wire(self, request: ReadRequest, reply: Reply) -> Reply | None:
        return Reply(noise=GARBAGE)


class ShortAnswer(Fault, frozen=True):
    """A well-formed answer with one register less than was asked for."""

    name = "wrong-length"

    def on_wire(self, request: ReadRequest, reply: Reply) -> Reply | None:
        return msgspec.structs.replace(reply, registers=reply.registers[:-1])


class WrongFunction(Fault, frozen=True):
    """A well-formed answer to the other read function."""

    name = "wrong-function"

    def on_wire(self, request: ReadRequest, reply: Reply) -> Reply | None:
        return msgspec.structs.replace(reply, function=BOTH_FUNCTIONS - request.function)


class GlitchZero(Fault, frozen=True):
    """Every register reads zero, as on some meters while they start up."""

    name = "zero"

    def on_registers(self, registers: Registers) -> Registers:
        return Registers(0, 0, 0)


class Stuck(Fault, frozen=True):
    """The meter goes on showing `shown`."""

    name = "stuck"
    shown: Registers

    def on_registers(self, registers: Registers) -> Registers:
        return self.shown


class ClockDrift(Fault, frozen=True):
    """The meter counts as if it were `value` seconds later, or earlier, than it is."""

    name = "drift"
    value: int

    def on_clock(self) -> timedelta:
        return timedelta(seconds=self.value)
