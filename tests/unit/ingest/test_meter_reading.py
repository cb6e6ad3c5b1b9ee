"""Golden registers of every model: laid out by hand from the makers' tables, decoded exactly."""

from collections.abc import Mapping

import pytest

from ingest.meter_model import load_models
from ingest.meter_reading import (
    Block,
    ModbusNotANumber,
    ModbusOutOfRange,
    WrongMeter,
    decode,
    decode_raw,
    decode_serial,
    plan_blocks,
)

MODELS = load_models()

Words = dict[int, int]

# Registers, and (import Wh, export Wh, power W, raw) they mean.
SDM = {0x48: 0x42F6, 0x49: 0xE979, 0x4A: 0x3F33, 0x4B: 0x3333}  # 123.456 and 0.7 kWh
SUNSPEC_INT = {0: 203, 46: 1, 47: 0, 38: 0, 39: 25, 54: 0xFFFF, 18: 0xFF38, 22: 1}
GOLDEN: Mapping[str, tuple[Words, tuple[int, int, int, str]]] = {
    "sdm630": (
        SDM | {0x34: 0xC4FA, 0x35: 0x0000},
        (123_456, 700, -2000, "42f6e9793f333333"),
    ),
    "sdm72d-m": (
        SDM | {0x34: 0x4479, 0x35: 0xE000},
        (123_456, 700, 1000, "42f6e9793f333333"),
    ),  # 999.5 W: a tie goes to the even neighbour
    "sdm120": (
        SDM | {0x0C: 0x3F00, 0x0D: 0x0000},
        (123_456, 700, 0, "42f6e9793f333333"),
    ),
    "abb-b23": (
        {0x5000: 0, 0x5001: 0, 0x5002: 1, 0x5003: 0, 0x5004: 0, 0x5005: 0, 0x5006: 0, 0x5007: 7}
        | {0x5B14: 0xFFFF, 0x5B15: 0xFC18},
        (655_360, 70, -10, "00000000000100000000000000000007"),
    ),
    "carlo-gavazzi-em340": (
        {0x34: 0x3039, 0x35: 0x0001, 0x4E: 0x0005, 0x4F: 0x0000, 0x28: 0xFFF6, 0x29: 0xFFFF},
        (7_788_100, 500, -1, "3039000100050000"),
    ),
    "janitza-umg96rm-e": (
        {19068: 0x4B80, 19069: 0x0001, 19076: 0, 19077: 0, 19026: 0x4240, 19027: 0},
        (16_777_218, 0, 48, "4b80000100000000"),
    ),  # above 2^24 a float steps by 2 Wh
    "schneider-iem3x55": (
        {0xC83: 0, 0xC84: 1, 0xC85: 0, 0xC86: 2, 0xC87: 0, 0xC88: 0, 0xC89: 0, 0xC8A: 3}
        | {0xBF3: 0x3F80, 0xBF4: 0},
        (4_294_967_298, 3, 1000, "00000001000000020000000000000003"),
    ),
    "schneider-pm5xxx": (
        {2699: 0x42F6, 2700: 0xE979, 2701: 0x3F33, 2702: 0x3333, 3059: 0xBF80, 3060: 0},
        (123_456, 700, -1000, "42f6e9793f333333"),
    ),
    "acrel-adl3000": (
        {0x0A: 0, 0x0B: 1234, 0x14: 0, 0x15: 5, 0x6A: 0xFFFF, 0x8D: 10, 0x8E: 40},
        (4_936_000, 20_000, -400, "000004d200000005000a0028"),
    ),
    "acrel-adw300": (
        {62: 1, 63: 0, 64: 0, 65: 9, 36: 0, 37: 1500},
        (655_360, 90, 1500, "0001000000000009"),
    ),
    "sunspec-int": (SUNSPEC_INT, (6554, 2, -2000, "0001000000000019ffff")),
    "sunspec-float": (
        {0: 213, 68: 0x42F6, 69: 0xE979, 60: 0x3F33, 61: 0x3333, 28: 0xC4FA, 29: 0},
        (123, 1, -2000, "42f6e9793f333333"),
    ),
}

PLANS = {
    "sdm630": (Block(4, 0x34, 24),),
    "sdm72d-m": (Block(4, 0x34, 24),),
    "sdm120": (Block(4, 0x48, 4), Block(4, 0x0C, 2, optional=True)),
    "abb-b23": (Block(3, 0x5000, 8), Block(3, 0x5B14, 2, optional=True)),
    "carlo-gavazzi-em340": (Block(4, 0x34, 28), Block(4, 0x28, 2, optional=True)),
    "janitza-umg96rm-e": (Block(3, 19026, 52),),
    "schneider-iem3x55": (Block(3, 0xC83, 8), Block(3, 0xBF3, 2, optional=True)),
    "schneider-pm5xxx": (Block(3, 2699, 4), Block(3, 3059, 2, optional=True)),
    "acrel-adl3000": (Block(3, 0x0A, 97), Block(3, 0x8D, 2)),
    "acrel-adw300": (Block(3, 36, 30),),
    "sunspec-int": (Block(3, 0, 55),),
    "sunspec-float": (Block(3, 0, 70),),
}


def test_every_model_has_golden_registers() -> None:
    assert set(GOLDEN) == set(PLANS) == set(MODELS)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_registers_mean_what_the_maker_says(name: str) -> None:
    words, (import_wh, export_wh, power_w, raw) = GOLDEN[name]
    reading = decode(MODELS[name], words)
    assert (reading.import_wh, reading.export_wh) == (import_wh, export_wh)
    assert reading.power_w == power_w
    assert reading.raw == raw


@pytest.mark.parametrize("name", GOLDEN)
def test_the_raw_registers_alone_give_the_energies_again(name: str) -> None:
    _, (import_wh, export_wh, _, raw) = GOLDEN[name]
    assert decode_raw(MODELS[name], raw) == (import_wh, export_wh)


@pytest.mark.parametrize("name", GOLDEN)
def test_import_and_export_come_out_of_one_request(name: str) -> None:
    model = MODELS[name]
    plan = plan_blocks(model)
    assert plan == PLANS[name]
    energies = (model.registers.import_, model.registers.export)
    last = [register.address + register.kind.words for register in energies]
    assert any(
        all(block.address <= register.address for register in energies)
        and max(last) <= block.address + block.count
        for block in plan
        if not block.optional
    )
    assert all(block.count <= model.max_registers for block in plan)


def test_configured_ratios_are_neither_asked_for_nor_overruled_by_the_meter() -> None:
    model = MODELS["acrel-adl3000"]
    words, _ = GOLDEN["acrel-adl3000"]
    ratios = {"pt": 1, "ct": 20}
    assert plan_blocks(model, ratios) == (Block(3, 0x0A, 97),)
    reading = decode(model, words, ratios)
    assert (reading.import_wh, reading.export_wh, reading.power_w) == (246_800, 1000, -20)
    assert reading.raw == "000004d200000005"
    assert decode_raw(model, reading.raw, ratios) == (246_800, 1000)


def test_raw_registers_of_another_length_are_refused() -> None:
    with pytest.raises(ModbusOutOfRange, match="2 raw registers where the model has 6"):
        decode_raw(MODELS["acrel-adl3000"], "000004d2")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sdm630", {0x48: 0x7FC0, 0x49: 0}),
        ("sdm630", {0x4A: 0x7F80, 0x4B: 0}),
        ("abb-b23", dict.fromkeys(range(0x5000, 0x5004), 0xFFFF)),
        ("carlo-gavazzi-em340", {0x4E: 0xFFFF, 0x4F: 0x7FFF}),
        ("sunspec-int", {54: 0x8000}),
    ],
)
def test_an_energy_that_is_no_number_is_an_error(name: str, change: Words) -> None:
    with pytest.raises(ModbusNotANumber, match=r"import|export"):
        decode(MODELS[name], GOLDEN[name][0] | change)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sdm630", {0x48: 0xC2F6}),  # negative
        ("sdm630", {0x48: 0x7F00}),  # larger than any register
        ("carlo-gavazzi-em340", {0x35: 0xFFFF}),
        ("acrel-adl3000", {0x8E: 0}),  # a ratio of zero would hide all energy
        ("sunspec-int", {54: 11}),
    ],
)
def test_an_impossible_energy_is_an_error(name: str, change: Words) -> None:
    with pytest.raises(ModbusOutOfRange):
        decode(MODELS[name], GOLDEN[name][0] | change)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sdm630", {0x34: 0x7FC0, 0x35: 0}),
        ("abb-b23", {0x5B14: 0x7FFF, 0x5B15: 0xFFFF}),
        ("sunspec-int", {18: 0x8000}),
        ("sunspec-int", {22: 0x8000}),
    ],
)
def test_a_power_that_is_no_number_costs_no_reading(name: str, change: Words) -> None:
    words, (import_wh, export_wh, _, _) = GOLDEN[name]
    reading = decode(MODELS[name], words | change)
    assert (reading.import_wh, reading.export_wh, reading.power_w) == (import_wh, export_wh, None)


def test_a_power_that_was_not_read_costs_no_reading() -> None:
    words = {at: word for at, word in GOLDEN["abb-b23"][0].items() if at < 0x5B00}
    assert decode(MODELS["abb-b23"], words).power_w is None


def test_another_device_at_a_sunspec_address_is_noticed() -> None:
    with pytest.raises(WrongMeter, match="103"):
        decode(MODELS["sunspec-int"], SUNSPEC_INT | {0: 103})


@pytest.mark.parametrize(
    ("name", "words", "serial"),
    [
        ("sdm630", (0x0135, 0x2A5B), "20261467"),
        ("sdm630", (0, 0), None),
        ("abb-b23", (0xFFFF, 0xFFFF), None),
        ("carlo-gavazzi-em340", (0x4B42, 0x3132, 0x3334, 0x3536, 0x3730, 0x3031, 0x5A00), "KB12345670" "01Z"),
        ("sunspec-int", (0x4142, 0x4320, *[0] * 14), "ABC"),
        ("sunspec-int", (0,) * 16, None),
    ],
)  # fmt: skip
def test_serial_numbers_are_read_as_the_model_says(
    name: str, words: tuple[int, ...], serial: str | None
) -> None:
    register = MODELS[name].serial
    assert register is not None
    assert len(words) == register.registers
    assert decode_serial(register, words) == serial
