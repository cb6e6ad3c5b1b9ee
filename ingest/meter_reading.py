"""Which registers to ask a meter for, and what they say. Pure: no I/O, no clock.

1. `plan_blocks` chooses the block reads. Import and export come out of *one* request wherever the
   map allows it, so that they belong to the same instant and no late reply can mix two of them up.
2. `decode` turns the registers into a `Reading` in whole watt-hours and watts.
3. `decode_raw` does it again from the hex kept beside the integers: whoever doubts a reading needs
   the model file and the raw registers, nothing else.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from msgspec import Struct

from ingest.meter_model import Factor, MeterModel, Register, Serial
from ingest.register_value import bits_of, exact, nearest
from ledger.errors import BadInput

ENERGY_WH_MAX = (1 << 53) - 1  # the largest integer that every JSON reader keeps
EXPONENT_LIMIT = 10  # SunSpec: a scale factor lies in -10..10
NO_FACTORS: Mapping[str, int] = {}


class RegisterUnusable(BadInput):
    """The meter answered, and the answer cannot become a reading."""

    code = "modbus-register-unusable"


class ModbusNotANumber(RegisterUnusable):
    """The meter says that it has no value: its own mark for that, a float NaN or an infinity."""

    code = "modbus-not-a-number"


class ModbusOutOfRange(RegisterUnusable):
    """A cumulative energy is negative or too large, or a factor is impossible."""

    code = "modbus-out-of-range"


class WrongMeter(RegisterUnusable):
    """The meter is not one of the configured model."""

    code = "modbus-wrong-meter"


class Reading(Struct, frozen=True):
    """One reading of a meter's cumulative registers.

    `import_wh` flows from the grid into the building, `export_wh` the other way; `power_w` is
    positive while importing and None where the meter has none to tell. `raw` is the hex of the very
    registers that both energies were read from: import, export, then the factors that scale them.
    `read_at` is the reader's clock when the registers had arrived.
    """

    import_wh: int
    export_wh: int
    power_w: int | None
    raw: str
    serial: str | None = None
    read_at: datetime | None = None


class Block(Struct, frozen=True):
    """One read request. A reading can do without an `optional` one."""

    function: int
    address: int
    count: int
    optional: bool = False


def plan_blocks(model: MeterModel, given: Collection[str] = ()) -> tuple[Block, ...]:
    """The requests for one reading. Factors in `given` are configured and need no register.

    Addresses are those of the model file: SunSpec ones count from the model's ID register.
    """
    energy = (_span(model.registers.import_), _span(model.registers.export))
    whole = _hull(*energy)
    spans = [whole] if _length(whole) <= model.max_registers else list(energy)
    for span in _energy_extras(model, given):
        _place(spans, span, model.max_registers)
    optional: list[Span] = []
    for span in _power_spans(model, given):
        if not _widen(spans, span, model.max_registers):
            _place(optional, span, model.max_registers)
    return (
        *(Block(model.function, low, high - low) for low, high in spans),
        *(Block(model.function, low, high - low, optional=True) for low, high in optional),
    )


def decode(model: MeterModel, words: Mapping[int, int], given: Mapping[str, int] = NO_FACTORS) -> Reading:
    """The reading in `words`, register values by address.

    Raises:
        ModbusNotANumber, ModbusOutOfRange: an energy cannot be used. A power that cannot is None.
        WrongMeter: a SunSpec meter no longer shows one of the model's ids where it did.
    """
    if model.sunspec and words[0] not in model.sunspec:
        raise WrongMeter(
            f"shows SunSpec model {words[0]} where one of {model.sunspec} was",
            hint="the device was replaced or its map has moved",
        )
    return Reading(
        import_wh=_energy_wh("import", model, words, given),
        export_wh=_energy_wh("export", model, words, given),
        power_w=_power_w(model, words, given),
        raw="".join(f"{words[address]:04x}" for address in _raw_addresses(model, given)),
    )


def decode_raw(model: MeterModel, raw: str, given: Mapping[str, int] = NO_FACTORS) -> tuple[int, int]:
    """Import and export in Wh from the hex of `Reading.raw`; the same errors as `decode`."""
    addresses = tuple(_raw_addresses(model, given))
    if len(raw) != 4 * len(addresses):
        raise ModbusOutOfRange(
            f"{len(raw) // 4} raw registers where the model has {len(addresses)}",
            hint="decode with the model and the factors that the meter was read with",
        )
    words = {
        address: int(raw[place : place + 4], 16)
        for address, place in zip(addresses, range(0, len(raw), 4), strict=True)
    }
    return (
        _energy_wh("import", model, words, given),
        _energy_wh("export", model, words, given),
    )


def decode_serial(serial: Serial, words: Collection[int]) -> str | None:
    """The serial number in the registers; None where the meter shows none."""
    if serial.type == "u32":
        number = bits_of(tuple(words), low_first=False)
        return str(number) if 0 < number < 0xFFFFFFFF else None
    text = b"".join(word.to_bytes(2, "big") for word in words).rstrip(b"\0 ")
    return text.decode("ascii", errors="replace") or None


def _energy_wh(name: str, model: MeterModel, words: Mapping[int, int], given: Mapping[str, int]) -> int:
    register = model.registers.import_ if name == "import" else model.registers.export
    try:
        amount_wh = _amount(model, register, words, given)
    except RegisterUnusable as error:
        raise type(error)(f"{name}: {error.what}", hint=error.hint) from None
    if not 0 <= amount_wh <= ENERGY_WH_MAX:
        raise ModbusOutOfRange(
            f"{name} reads {amount_wh} Wh, which no cumulative register can hold",
            hint="check the model and its word order with `energy-ledger meter test`",
        )
    return amount_wh


def _power_w(model: MeterModel, words: Mapping[int, int], given: Mapping[str, int]) -> int | None:
    register = model.registers.power
    if register is None or any(address not in words for address, _ in _needs(model, register, given)):
        return None
    try:
        return _amount(model, register, words, given)
    except RegisterUnusable:
        return None


def _amount(model: MeterModel, register: Register, words: Mapping[int, int], given: Mapping[str, int]) -> int:
    numerator, denominator = _value(register, words, model.low_first)
    for factor in model.factors_of(register) if register.factors else ():
        over, under = _factor(factor, words, given)
        numerator *= over
        denominator *= under
    return nearest(numerator * register.scale[0], denominator * register.scale[1])


def _value(register: Register | Factor, words: Mapping[int, int], low_first: bool) -> tuple[int, int]:
    kind = register.kind
    first = register.address
    bits = bits_of([words[first + place] for place in range(kind.words)], low_first=low_first)
    if bits == register.nan:
        raise ModbusNotANumber("the meter marks the value as missing", hint=_NO_VALUE)
    try:
        return exact(bits, kind)
    except ValueError as error:
        raise ModbusNotANumber(f"the register is {error}", hint=_NO_VALUE) from None


def _factor(factor: Factor, words: Mapping[int, int], given: Mapping[str, int]) -> tuple[int, int]:
    """The factor as an exact fraction."""
    configured = given.get(factor.name)
    value = _value(factor, words, False)[0] if configured is None else configured
    if factor.means == "multiplier":
        if value <= 0:
            raise ModbusOutOfRange(
                f"the ratio {factor.name!r} is {value}",
                hint="set the transformer ratio in the meter or in the configuration",
            )
        return value, 1
    if abs(value) > EXPONENT_LIMIT:
        raise ModbusOutOfRange(f"the exponent {factor.name!r} is {value}", hint=_NO_VALUE)
    return (10**value, 1) if value >= 0 else (1, 10**-value)


_NO_VALUE = "the meter may be starting up or not be of this model; try again, then `meter test`"

# Spans are half-open ranges of register addresses.
Span = tuple[int, int]


def _span(register: Register | Factor) -> Span:
    return register.address, register.address + register.kind.words


def _hull(left: Span, right: Span) -> Span:
    return min(left[0], right[0]), max(left[1], right[1])


def _length(span: Span) -> int:
    return span[1] - span[0]


def _needs(model: MeterModel, register: Register, given: Collection[str]) -> Iterator[Span]:
    yield _span(register)
    for factor in model.factors_of(register) if register.factors else ():
        if factor.name not in given:
            yield _span(factor)


def _energy_extras(model: MeterModel, given: Collection[str]) -> Iterator[Span]:
    if model.sunspec:  # the model id comes along with every reading and is checked
        yield 0, 1
    for register in (model.registers.import_, model.registers.export):
        yield from _needs(model, register, given)


def _power_spans(model: MeterModel, given: Collection[str]) -> Iterator[Span]:
    if model.registers.power is not None:
        yield from _needs(model, model.registers.power, given)


def _widen(spans: list[Span], span: Span, length_max: int) -> bool:
    """Stretch the first block that still fits a request with `span` in it."""
    for place, known in enumerate(spans):
        if _length(wider := _hull(known, span)) <= length_max:
            spans[place] = wider
            return True
    return False


def _place(spans: list[Span], span: Span, length_max: int) -> None:
    if not _widen(spans, span, length_max):
        spans.append(span)


def _raw_addresses(model: MeterModel, given: Collection[str]) -> Iterator[int]:
    """The registers of `Reading.raw`, each once, in their order there."""
    registers = model.registers
    spans = [_span(registers.import_), _span(registers.export)]
    for register in (registers.import_, registers.export):
        spans += [span for span in _needs(model, register, given) if span not in spans]
    for low, high in spans:
        yield from range(low, high)
