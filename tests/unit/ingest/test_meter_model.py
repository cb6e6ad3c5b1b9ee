"""Model files: what is built in, and how a wrong file is told."""

from pathlib import Path

import msgspec
import pytest

from ingest.meter_model import (
    MODELS_FOLDER,
    MeterModelInvalid,
    MeterModelUnknown,
    find_model,
    load_model,
    load_models,
)

GOOD = (MODELS_FOLDER / "acrel-adl3000.toml").read_text()
EXPECTED = {
    "abb-b23", "acrel-adl3000", "acrel-adw300", "carlo-gavazzi-em340", "janitza-umg96rm-e",
    "schneider-iem3x55", "schneider-pm5xxx", "sdm120", "sdm630", "sdm72d-m",
    "sunspec-float", "sunspec-int",
}  # fmt: skip

# what is changed in the good file -> key named, words in the message
FAULTS = {
    'id = "acrel-adl3000"': ("", "the whole file", "id"),
    'maker = "Acrel"': ("maker = 3", "maker", "str"),
    "function = 3": ("function = 5", "function", "5"),
    "address = 0x0A": ("address = 65536", "registers.import.address", "65,535"),
    "address = 0x14": ("adress = 20", "registers.export", "adress"),
    'type = "i16"': ('type = "i24"', "registers.power.type", "i24"),
    "scale = [1, 1]": ("scale = [1, 0]", "registers.power.scale[1]", "1"),
    'name = "ct"': ('name = "pt"', "the whole file", "same name"),
    'means = "multiplier"': ('means = "sum"', "factors[0].means", "sum"),
    "address = 0x8D": ("address = 0x8D\nnan = 65536", "factors[0]", "16 bits"),
    "[source]": ("[registers.power2]", "registers", "power2"),
    "confidence = 2": ("confidence = 0", "source.confidence", "1"),
}


def test_every_meter_of_the_register_table_is_known() -> None:
    assert set(load_models()) == EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_built_in_model_is_named_as_its_file_and_names_its_source(name: str) -> None:
    model = load_model(MODELS_FOLDER / f"{name}.toml")
    assert model.id == name
    assert model.source.note
    assert model.meters


@pytest.mark.parametrize("found", FAULTS)
def test_a_wrong_file_is_refused_with_file_and_key(tmp_path: Path, found: str) -> None:
    assert found in GOOD
    replacement, key, word = FAULTS[found]
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(found, replacement, 1))
    with pytest.raises(MeterModelInvalid) as refused:
        load_model(path)
    assert refused.value.code == "meter-model-invalid"
    assert refused.value.where == f"{path}: {key}"
    assert word in refused.value.what


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (('factors = ["pt", "ct"]', 'factors = ["pt", "et"]'), "`et` is used"),
        (('factors = ["pt", "ct"]', 'factors = ["pt"]'), "`ct` is described"),
    ],
)
def test_factors_are_described_exactly_where_they_are_used(
    tmp_path: Path, change: tuple[str, str], word: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(MeterModelInvalid, match=word):
        load_model(path)


@pytest.mark.parametrize("content", [b"id = ", b"\xff\xfe", b""])
def test_what_is_not_a_model_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(MeterModelInvalid):
        load_model(path)


def test_a_serial_number_of_wrong_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    serial = '\n[serial]\nfunction = 3\naddress = 1\ntype = "u32"\nregisters = 4\n'
    path.write_text(GOOD + serial)
    with pytest.raises(MeterModelInvalid, match="belongs to type ascii"):
        load_model(path)


def test_a_file_in_a_folder_of_the_installation_is_another_model(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD.replace('"acrel-adl3000"', '"our-meter"'))
    assert set(load_models(tmp_path)) == EXPECTED | {"our-meter"}


def test_a_file_of_the_installation_may_not_replace_a_built_in_map(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    with pytest.raises(MeterModelInvalid, match="is taken") as refused:
        load_models(tmp_path)
    assert refused.value.where == f"{tmp_path / 'mine.toml'}: id"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeterModelInvalid, match="not a folder"):
        load_models(tmp_path / "nowhere")


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(MeterModelUnknown) as unknown:
        find_model(load_models(), "sdm999")
    assert "sdm630" in unknown.value.hint


def test_a_model_can_be_written_as_json_and_is_immutable() -> None:
    model = load_models()["sdm630"]
    assert b'"import":{"address":72' in msgspec.json.encode(model)
    with pytest.raises(AttributeError):
        model.function = 3  # type: ignore[misc] - the point of the test
