"""The registers a meter of a model shows: the inverse of `meter_reading.decode`."""

from collections.abc import Mapping

from ingest.meter_model import Factor, MeterModel, Register
from ingest.meter_reading import EXPONENT_LIMIT, plan_blocks
from ingest.register_value import counter_bits, gauge_bits, nearest, range_of, words_of
from ingest.simulator.source import Registers
from ledger.errors import BadInput

SUNSPEC_START = 40000
SUNSPEC_MARKER = (0x5375, 0x6E53)
SUNSPEC_END = (0xFFFF, 0)
COMMON_LENGTH = 66  # the common model's body: 64 registers of text, address and padding
METER_LENGTHS = {  # of the bodies in the alliance's model files
    **dict.fromkeys((201, 202, 203, 204), 105),
    **dict.fromkeys((211, 212, 213, 214), 124),
}
SERIAL_U32_MAX = 0xFFFFFFFE

Image = dict[tuple[int, int], int]  # (function, address) -> register


class SerialInvalid(BadInput):
    """The model cannot show such a serial number."""

    code = "serial-invalid"


def still_image(model: MeterModel, serial: str | None) -> Image:
    """What does not change: the readable range, filled with zeros, the serial number, the map.

    A meter answers for the registers between those it documents, so gaps read as zero; everything
    outside is an illegal address.

    Raises:
        SerialInvalid: `serial` does not fit the model's register.
    """
    base = sunspec_base(model)
    image: Image = {
        (block.function, base + address): 0
        for block in plan_blocks(model)
        for address in range(block.address, block.address + block.count)
    }
    if model.sunspec:
        image |= _sunspec_map(model)
    if model.serial is not None and serial is not None:
        first = (SUNSPEC_START + len(SUNSPEC_MARKER) if base else 0) + model.serial.address
        for place, word in enumerate(_serial_words(model, serial)):
            image[model.serial.function, first + place] = word
    return image


def moving_image(model: MeterModel, registers: Registers, factors: Mapping[str, int] | None = None) -> Image:
    """The registers of a reading; ratios that `factors` does not name are 1, exponents fit the value."""
    base = sunspec_base(model)
    image: Image = {}
    shown = {factor.name: factor for factor in model.factors}
    values = dict(factors or {})
    for register, amount, gauge in _amounts(model, registers):
        kind = register.kind
        for name in register.factors:
            if name not in values:
                values[name] = _fitting(shown[name], register, amount) if gauge else _unit(shown[name])
        numerator, denominator = _unscaled(model, register, amount, values)
        encode = gauge_bits if gauge else counter_bits
        bits = encode(numerator, denominator, kind)
        words = words_of(bits, kind.words, low_first=model.low_first)
        for place, word in enumerate(words):
            image[model.function, base + register.address + place] = word
    for name, value in values.items():
        image[model.function, base + shown[name].address] = value & 0xFFFF
    return image


def sunspec_base(model: MeterModel) -> int:
    """Where the addresses of the model file begin in the simulated meter."""
    return SUNSPEC_START + len(SUNSPEC_MARKER) + 2 + COMMON_LENGTH if model.sunspec else 0


def _amounts(model: MeterModel, registers: Registers) -> list[tuple[Register, int, bool]]:
    """Each register with what it shows, and whether that is a momentary value."""
    energies = [
        (model.registers.import_, registers.import_wh, False),
        (model.registers.export, registers.export_wh, False),
    ]
    if model.registers.power is None:
        return energies
    return [*energies, (model.registers.power, registers.power_w, True)]


def _unit(factor: Factor) -> int:
    return 1 if factor.means == "multiplier" else 0


def _fitting(factor: Factor, register: Register, amount: int) -> int:
    """The least exponent with which a momentary value fits its register."""
    if factor.means == "multiplier":
        return 1
    numerator, denominator = amount * register.scale[1], register.scale[0]
    least, most = range_of(register.kind)
    for exponent in range(EXPONENT_LIMIT):
        if least <= nearest(numerator, denominator * 10**exponent) <= most:
            return exponent
    return EXPONENT_LIMIT


def _unscaled(
    model: MeterModel, register: Register, amount: int, values: Mapping[str, int]
) -> tuple[int, int]:
    """The amount in steps of the register, as a fraction."""
    numerator, denominator = amount * register.scale[1], register.scale[0]
    for factor in model.factors_of(register):
        value = values[factor.name]
        if factor.means == "multiplier":
            denominator *= value
        elif value >= 0:
            denominator *= 10**value
        else:
            numerator *= 10**-value
    return numerator, denominator


def _serial_words(model: MeterModel, serial: str) -> tuple[int, ...]:
    register = model.serial
    if register is None:
        return ()
    if register.type == "u32":
        if not serial.isdecimal() or not 0 < int(serial) <= SERIAL_U32_MAX:
            raise SerialInvalid(f"{serial!r} is not a number below 2^32 - 1", where=f"serial of a {model.id}")
        return words_of(int(serial), 2, low_first=False)
    size = 2 * register.registers
    if not serial.isascii() or len(serial) > size:
        raise SerialInvalid(
            f"{serial!r} is not ASCII of at most {size} letters", where=f"serial of a {model.id}"
        )
    text = serial.encode("ascii").ljust(size, b"\0")
    return tuple(int.from_bytes(text[place : place + 2], "big") for place in range(0, size, 2))


def _sunspec_map(model: MeterModel) -> Image:
    """Marker, common model, the meter model's head and body, end of the map."""
    meter_model = model.sunspec[0]
    length = METER_LENGTHS.get(meter_model, 0)
    base = sunspec_base(model)
    common = SUNSPEC_START + len(SUNSPEC_MARKER)
    image: Image = {(3, address): 0 for address in range(SUNSPEC_START, base + 2 + length)}
    for first, words in (
        (SUNSPEC_START, SUNSPEC_MARKER),
        (common, (1, COMMON_LENGTH)),
        (base, (meter_model, length)),
        (base + 2 + length, SUNSPEC_END),
    ):
        for place, word in enumerate(words):
            image[3, first + place] = word
    return image
