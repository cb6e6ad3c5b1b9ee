"""The README is true: its commands exist with their options, its files are there, its settings are read."""

import inspect
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from api.cli import COMMANDS
from ingest.settings import gateways_from
from ingest.simulator.plan import EXAMPLE
from ledger.settings import device_settings, read_toml

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
PLACES = {command.words: command.place for commands in COMMANDS.values() for command in commands}
FILES = re.findall(r"\b(?:api|ingest|ledger|tests)/[\w./-]+\.\w+", README)


def said() -> list[str]:
    """Every command line of ours that the README shows, without its comment."""
    inline = re.findall(r"`(energy-ledger [^`]+)`", README)
    lines = [line.partition("#")[0] for block in BLOCKS for line in block.splitlines()]
    found = [
        line[line.index("energy-ledger ") :]
        for line in lines
        if re.search(r"^(\w+\$ +)?energy-ledger ", line)
    ]
    return sorted({*inline, *(line.partition(">")[0].strip() for line in found)})


@pytest.mark.parametrize("line", said())
def test_every_command_that_is_shown_exists_with_its_options(line: str) -> None:
    _, first, *rest = line.split()
    if first == "--help":
        return
    words = next(one for one in (f"{first} {rest[0] if rest else ''}", first) if one in PLACES)
    module, _, name = PLACES[words].partition(":")
    options = {
        each.replace("_", "-") for each in inspect.signature(getattr(import_module(module), name)).parameters
    }
    assert set(re.findall(r" --([a-z-]+)", line)) <= options


@pytest.mark.parametrize("name", sorted(set(FILES)))
def test_every_file_that_is_named_is_there(name: str) -> None:
    assert (ROOT / name).is_file()


def test_a_gateways_settings_are_as_shown(tmp_path: Path) -> None:
    (block,) = (block for block in BLOCKS if block.startswith("# gateway.toml"))
    template = (ROOT / "api/template.toml").read_text()
    lines = template[template.index("[[gateways.lines]]") :]
    path = tmp_path / "gateway.toml"
    path.write_text(block + lines)
    tables = read_toml(path, {})
    settings = device_settings(tables, path)
    (gateway,) = gateways_from(tables, path)
    assert settings.keys_folder == tmp_path / "keys"
    assert settings.nats.url == "nats://nats.example.org:4222"
    assert gateway.key_file == str(tmp_path / "gw-2.pem")


def test_a_meter_that_signs_for_itself_is_listed_as_shown_and_as_the_template_does(tmp_path: Path) -> None:
    (block,) = (block for block in BLOCKS if "[[gateways.meters]]" in block)
    template = (ROOT / "api/template.toml").read_text()
    shown = re.sub("^# ", "", template[template.index("# [[gateways]]") :], flags=re.MULTILINE)
    for text in (block, shown):
        (device,) = gateways_from(tomllib.loads(text), tmp_path / "energy-ledger.toml")
        assert (device.id, device.remote, [meter.id for meter in device.meters]) == (
            "wifi-1",
            True,
            ["m-wifi"],
        )


def test_the_simulation_stands_where_it_is_said_to(tmp_path: Path) -> None:
    (line,) = tomllib.loads(EXAMPLE.read_text())["lines"]
    assert f'`host = "{line["host"]}"` and `port = {line["port"]}`' in README
    assert f"{line['host']}, port {line['port']}." in (ROOT / "api/template.toml").read_text()
