"""A meter that is not there: a model, a life, and its faults."""

from collections.abc import Callable, Mapping
from datetime import datetime

from ingest.meter_model import MeterModel
from ingest.modbus import ReadRequest, Reply
from ingest.simulator.fault import (
    NO_DRIFT,
    ClockDrift,
    ExceptionAnswer,
    Fault,
    GarbageAnswer,
    GlitchZero,
    LateAnswer,
    NoAnswer,
    ShortAnswer,
    Stuck,
    WrongFunction,
)
from ingest.simulator.image import moving_image, still_image
from ingest.simulator.source import Registers, RegisterSource
from ledger.clock import Clock
from ledger.errors import BadInput

ILLEGAL_DATA_ADDRESS = 2
NOTHING = Registers(0, 0, 0)


class CommandUnknown(BadInput):
    """The meter knows no such command, or its value does not fit."""

    code = "meter-command-unknown"


class SimulatedMeter:
    """Answers read requests as a meter of `model` whose registers live as `source` says.

    Time is the `clock`'s, so a meter on a virtual clock lives as fast as the clock is moved.
    `factors` are transformer ratios as set in the meter; those not given are 1.

    Raises:
        SerialInvalid: the model cannot show `serial`.
    """

    def __init__(
        self,
        unit: int,
        model: MeterModel,
        source: RegisterSource,
        clock: Clock,
        *,
        serial: str | None = None,
        factors: Mapping[str, int] | None = None,
    ) -> None:
        self.unit = unit
        self.model = model
        self.serial = serial
        self._source = source
        self._clock = clock
        self._factors = factors or {}
        self._zero = NOTHING  # what had been counted when the registers were last set to zero
        self._faults: dict[Fault, int | None] = {}  # how many answers each still spoils
        self._shown: Registers | None = None
        self._image = still_image(model, serial)

    def reply(self, request: ReadRequest) -> Reply | None:
        """The answer, as the faults leave it; None for silence."""
        self._show(self._registers(self._now()))
        span = range(request.address, request.address + request.count)
        words = [self._image.get((request.function, address)) for address in span]
        known = tuple(word for word in words if word is not None)
        reply: Reply | None = (
            Reply(registers=known) if len(known) == request.count else Reply(exception=ILLEGAL_DATA_ADDRESS)
        )
        for fault in list(self._faults):
            if reply is not None:
                reply = fault.on_wire(request, reply)
            self._count_down(fault)
        return reply

    def registers(self) -> Registers:
        """What the meter shows now."""
        return self._registers(self._now())

    def fault(self, fault: Fault, *, times: int | None = None) -> None:
        """Misbehave from now on, or for the next `times` answers."""
        self._faults[fault] = times

    def stick(self) -> None:
        """Go on showing the present registers."""
        self.fault(Stuck(self.registers()))

    def reset(self) -> None:
        """Count from zero again."""
        self._zero = self._source.registers_at(self._now())

    def replace(self, serial: str | None) -> None:
        """Be another meter of the same model: a new serial number, counting from zero."""
        self._image = still_image(self.model, serial)
        self._shown = None
        self.serial = serial
        self.reset()

    def clear(self) -> None:
        """End every fault; a reset or a replacement stays done."""
        self._faults.clear()

    def command(self, text: str) -> None:
        """Do what `text` says: a fault (`timeout`, `late 400`, ..), `stuck`, `reset`, `replace 123`
        or `ok` to end the faults.

        Raises:
            CommandUnknown, SerialInvalid.
        """
        name, _, value = text.strip().partition(" ")
        if name in FAULTS and not value:
            self.fault(FAULTS[name]())
        elif name in VALUED_FAULTS and value.lstrip("-").isdecimal():
            self.fault(VALUED_FAULTS[name](int(value)))
        elif name in DEEDS:
            DEEDS[name](self, value)
        else:
            raise CommandUnknown(
                f"a meter cannot do {text!r}", where=f"unit {self.unit}", hint=f"known: {COMMANDS}"
            )

    def _now(self) -> datetime:
        return self._clock.now() + sum((fault.on_clock() for fault in self._faults), NO_DRIFT)

    def _registers(self, instant: datetime) -> Registers:
        counted = self._source.registers_at(instant)
        shown = Registers(
            max(counted.import_wh - self._zero.import_wh, 0),
            max(counted.export_wh - self._zero.export_wh, 0),
            counted.power_w,
        )
        for fault in self._faults:
            shown = fault.on_registers(shown)
        return shown

    def _show(self, registers: Registers) -> None:
        if registers != self._shown:
            self._image.update(moving_image(self.model, registers, self._factors))
            self._shown = registers

    def _count_down(self, fault: Fault) -> None:
        left = self._faults[fault]
        if left == 1:
            del self._faults[fault]
        elif left is not None:
            self._faults[fault] = left - 1


FAULTS: Mapping[str, Callable[[], Fault]] = {
    kind.name: kind for kind in (NoAnswer, GarbageAnswer, ShortAnswer, WrongFunction, GlitchZero)
}
VALUED_FAULTS: Mapping[str, Callable[[int], Fault]] = {
    kind.name: kind for kind in (LateAnswer, ExceptionAnswer, ClockDrift)
}
DEEDS: Mapping[str, Callable[[SimulatedMeter, str], None]] = {
    "stuck": lambda meter, _: meter.stick(),
    "reset": lambda meter, _: meter.reset(),
    "replace": lambda meter, serial: meter.replace(serial or None),
    "ok": lambda meter, _: meter.clear(),
}
COMMANDS = ", ".join((*FAULTS, *(f"{name} <number>" for name in VALUED_FAULTS), *DEEDS))
