"""What is known of a make of meter: which registers hold its energies, as data.

A model is one TOML file. The known ones lie in `ingest/models/`; an installation adds its own in a
folder of its choice, without a line of code. The keys of a file:

    id, maker, meters        the model's name here, who makes it, the names it is sold under
    function                 3 (holding) or 4 (input registers)
    word_order               "high-first" (default) or "low-first"
    max_registers            the longest block the meter answers in one request (default 125)
    sunspec                  SunSpec model ids; addresses then count from the model's ID register
    [registers.import]       energy from the grid into the building, OBIS 1.8.0
    [registers.export]       energy from the building into the grid, OBIS 2.8.0
    [registers.power]        optional: momentary power, positive while importing
        address              zero-based, as it travels in the request (PDU address)
        type                 u16 i16 u32 i32 u64 i64 f32 acc32
        scale                [numerator, denominator] from the register's step to 1 Wh or 1 W
        nan                  optional: the bits that mean "no value"
        factors              optional: names of registers that scale this one
    [[factors]]              name, address, type, means = "multiplier" or "power-of-ten", nan
    [serial]                 optional: function, address, type "u32" or "ascii" (with `registers`)
    [source]                 confidence = how many independent sources agree, note = which
"""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ingest.register_value import REGISTER_TYPES, RegisterType
from ledger.errors import BadInput
from ledger.misfit import misfit
from ledger.words import did_you_mean

MODELS_FOLDER = Path(__file__).parent / "models"
ADDRESS_SPACE = 0x10000
REGISTERS_MAX = 125  # Modbus Application Protocol 1.1b3, 6.3: quantity of registers 1 to 125

Address = Annotated[int, Meta(ge=0, le=0xFFFF)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z")]
ValueType = Literal["u16", "i16", "u32", "i32", "u64", "i64", "f32", "acc32"]
Positive = Annotated[int, Meta(ge=1)]


class MeterModelInvalid(BadInput):
    """A model file cannot be used. `where` names the file and the key."""

    code = "meter-model-invalid"


class MeterModelUnknown(BadInput):
    """No model of that name is known."""

    code = "meter-model-unknown"


class Register(Struct, frozen=True, forbid_unknown_fields=True):
    """Where one quantity lies and how its bits become whole watt-hours or watts."""

    address: Address
    type: ValueType
    scale: tuple[Positive, Positive]
    nan: int | None = None
    factors: tuple[Name, ...] = ()

    def __post_init__(self) -> None:
        _check_place(self.address, self.kind.words)
        _check_nan(self.nan, self.kind)

    @property
    def kind(self) -> RegisterType:
        return REGISTER_TYPES[self.type]


class Registers(Struct, frozen=True, forbid_unknown_fields=True):
    """The registers of a reading."""

    import_: Register = msgspec.field(name="import")
    export: Register
    power: Register | None = None


class Factor(Struct, frozen=True, forbid_unknown_fields=True):
    """A register that scales others: a transformer ratio or a decimal exponent."""

    name: Name
    address: Address
    type: Literal["u16", "i16"]
    means: Literal["multiplier", "power-of-ten"]
    nan: int | None = None

    def __post_init__(self) -> None:
        _check_nan(self.nan, self.kind)

    @property
    def kind(self) -> RegisterType:
        return REGISTER_TYPES[self.type]


class Serial(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the meter's serial number is read; in the SunSpec common model for SunSpec meters."""

    function: Literal[3, 4]
    address: Address
    type: Literal["u32", "ascii"]
    registers: Annotated[int, Meta(ge=1, le=REGISTERS_MAX)] = 2

    def __post_init__(self) -> None:
        if self.type == "u32" and self.registers != 2:
            raise ValueError("`registers` belongs to type ascii")
        _check_place(self.address, self.registers)


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """How sure the map is."""

    confidence: Positive
    note: str


class MeterModel(Struct, frozen=True, forbid_unknown_fields=True):
    """The register map of a make of meter. Built only by `load_model`."""

    id: Name
    maker: str
    meters: Annotated[tuple[str, ...], Meta(min_length=1)]
    function: Literal[3, 4]
    registers: Registers
    source: Source
    word_order: Literal["high-first", "low-first"] = "high-first"
    max_registers: Annotated[int, Meta(ge=4, le=REGISTERS_MAX)] = REGISTERS_MAX
    sunspec: tuple[Positive, ...] = ()
    factors: tuple[Factor, ...] = ()
    serial: Serial | None = None

    def __post_init__(self) -> None:
        known = [factor.name for factor in self.factors]
        if len(set(known)) != len(known):
            raise ValueError("two `factors` have the same name")
        used = {name for register in self.quantities for name in register.factors}
        if missing := sorted(used - set(known)):
            raise ValueError(f"factor `{missing[0]}` is used but not described in `factors`")
        if idle := sorted(set(known) - used):
            raise ValueError(f"factor `{idle[0]}` is described but scales nothing")

    @property
    def quantities(self) -> tuple[Register, ...]:
        """Import, export and, where there is one, power."""
        registers = self.registers
        both = (registers.import_, registers.export)
        return both if registers.power is None else (*both, registers.power)

    @property
    def low_first(self) -> bool:
        return self.word_order == "low-first"

    def factors_of(self, register: Register) -> tuple[Factor, ...]:
        """The factors that scale `register`, in the order the file names them."""
        by_name = {factor.name: factor for factor in self.factors}
        return tuple(by_name[name] for name in register.factors)


def load_model(path: Path) -> MeterModel:
    """The model in the file at `path`.

    Raises:
        MeterModelInvalid: the file cannot be read, is not TOML, or a key is missing, unknown, of the
            wrong type or out of range. `where` is `<path>: <key>`.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=MeterModel)
    except (OSError, UnicodeDecodeError) as error:
        raise MeterModelInvalid(f"cannot be read: {error}", where=str(path)) from error
    except msgspec.ValidationError as error:
        what, key, hint = misfit(error, MeterModel)
        where = f"{path}: {key or 'the whole file'}"
        raise MeterModelInvalid(what, where=where, hint=hint or _HINT) from error
    except msgspec.DecodeError as error:
        raise MeterModelInvalid(f"is not TOML: {error}", where=str(path), hint=_HINT) from error


def load_models(folder: Path | None = None) -> Mapping[str, MeterModel]:
    """Every known model by id: the built-in ones and those in `folder`.

    Raises:
        MeterModelInvalid: a file cannot be used, or two files describe the same id. A file of an
            installation may not quietly replace a built-in map; it takes an id of its own.
    """
    if folder is None:
        return _built_in()
    return _by_id([*_built_in_files(), *_files(folder)])


def find_model(models: Mapping[str, MeterModel], name: str) -> MeterModel:
    """The model of that id.

    Raises:
        MeterModelUnknown: with the ids that are known as a hint.
    """
    try:
        return models[name]
    except KeyError:
        hint = f"{did_you_mean(name, models)}known models: {', '.join(sorted(models))}"
        raise MeterModelUnknown(f"no meter model is called {name!r}", where="model", hint=hint) from None


_HINT = "compare the file with those in ingest/models"


@cache
def _built_in() -> Mapping[str, MeterModel]:
    return _by_id(_built_in_files())


def _built_in_files() -> list[Path]:
    return _files(MODELS_FOLDER)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise MeterModelInvalid(
            "is not a folder", where=str(folder), hint="name the folder that holds the .toml files"
        )
    return sorted(folder.glob("*.toml"))


def _by_id(paths: Iterable[Path]) -> Mapping[str, MeterModel]:
    models: dict[str, MeterModel] = {}
    for path in paths:
        model = load_model(path)
        if model.id in models:
            raise MeterModelInvalid(
                f"the id {model.id!r} is taken by another file",
                where=f"{path}: id",
                hint="give the model an id of its own",
            )
        models[model.id] = model
    return models


def _check_place(address: int, words: int) -> None:
    if address + words > ADDRESS_SPACE:
        raise ValueError(f"{words} registers from {address} reach beyond the last address 65535")


def _check_nan(nan: int | None, kind: RegisterType) -> None:
    if nan is not None and not 0 <= nan < 1 << 16 * kind.words:
        raise ValueError(f"`nan` is not a pattern of {16 * kind.words} bits")
