"""What a simulated meter shows is what its model reads, to the step of its registers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.meter_model import MeterModel, Register, load_models
from ingest.meter_reading import decode, decode_raw, decode_serial
from ingest.simulator.image import SerialInvalid, moving_image, still_image, sunspec_base
from ingest.simulator.source import Registers

MODELS = load_models()
ENERGIES_WH = st.integers(0, 10**11)
POWERS_W = st.integers(-3_000_000, 3_000_000)


def words_shown(
    model: MeterModel, registers: Registers, factors: dict[str, int] | None = None
) -> dict[int, int]:
    image = still_image(model, None) | moving_image(model, registers, factors)
    return {
        address - sunspec_base(model): word
        for (function, address), word in image.items()
        if function == model.function
    }


def step(register: Register, amount: int) -> int:
    """The distance between two amounts the register can tell apart, in Wh or W, rounded up."""
    if register.kind.floating:
        return max(1, math.ceil(abs(amount) / 2**22))
    return -(-register.scale[0] // register.scale[1])


def full(register: Register) -> int:
    """How many Wh make an integer counter start again."""
    steps = 1 << 16 * register.kind.words - register.kind.signed
    return steps * register.scale[0] // register.scale[1]


@pytest.mark.parametrize("name", sorted(MODELS))
@given(import_wh=ENERGIES_WH, export_wh=ENERGIES_WH, power_w=POWERS_W)
def test_every_model_reads_what_it_shows(name: str, import_wh: int, export_wh: int, power_w: int) -> None:
    model = MODELS[name]
    registers = model.registers
    if not registers.import_.kind.floating:
        import_wh %= full(registers.import_)
        export_wh %= full(registers.export)
    reading = decode(model, words_shown(model, Registers(import_wh, export_wh, power_w)))
    assert abs(reading.import_wh - import_wh) < step(registers.import_, import_wh) + 1
    assert abs(reading.export_wh - export_wh) < step(registers.export, export_wh) + 1
    assert decode_raw(model, reading.raw) == (reading.import_wh, reading.export_wh)
    assert registers.power is not None
    assert reading.power_w is not None
    if registers.power.type == "i16":  # a decimal exponent, or an end at 32,767 W
        limit = 32_767 if not model.sunspec else 10**9
        assert abs(reading.power_w - max(-limit - 1, min(limit, power_w))) <= abs(power_w) // 1000
    else:
        assert abs(reading.power_w - power_w) <= step(registers.power, power_w)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_reading_that_the_registers_can_hold_comes_back_as_it_was(name: str) -> None:
    shown = Registers(1_234_500, 700, 12_300)
    reading = decode(MODELS[name], words_shown(MODELS[name], shown))
    assert (reading.import_wh, reading.export_wh, reading.power_w) == shown


@given(ct=st.integers(1, 4000), ticks=st.integers(0, 10**6))
def test_transformer_ratios_scale_and_are_shown(ct: int, ticks: int) -> None:
    model = MODELS["acrel-adl3000"]
    shown = Registers(ticks * 10 * ct, 0, 7 * ct)
    reading = decode(model, words_shown(model, shown, {"pt": 1, "ct": ct}))
    assert (reading.import_wh, reading.export_wh, reading.power_w) == shown


def test_a_full_counter_starts_again_from_zero() -> None:
    model = MODELS["acrel-adw300"]
    reading = decode(model, words_shown(model, Registers(2**32 * 10 + 20, 0, 0)))
    assert reading.import_wh == 20


@pytest.mark.parametrize(
    ("name", "serial"),
    [("sdm630", "20261467"), ("carlo-gavazzi-em340", "KB1234567001Z"), ("sunspec-float", "A" * 32)],
)
def test_a_serial_number_is_shown_where_the_model_reads_it(name: str, serial: str) -> None:
    model = MODELS[name]
    assert model.serial is not None
    image = still_image(model, serial)
    first = model.serial.address + (40002 if model.sunspec else 0)
    words = [image[model.serial.function, first + place] for place in range(model.serial.registers)]
    assert decode_serial(model.serial, words) == serial


@pytest.mark.parametrize(
    ("name", "serial"),
    [
        ("sdm630", "0"),
        ("sdm630", "4294967295"),
        ("sdm630", "A1"),
        ("carlo-gavazzi-em340", "K" * 15),
        ("sunspec-int", "มิเตอร์"),
    ],
)
def test_a_serial_number_that_the_model_cannot_show_is_refused(name: str, serial: str) -> None:
    with pytest.raises(SerialInvalid):
        still_image(MODELS[name], serial)
