"""What a gateway's tables may say, and how a mistake in them is named."""

import tomllib
from pathlib import Path

import pytest

from ingest.settings import GatewaySettings, find_gateway, gateways_from
from ledger.settings import SettingsInvalid

PATH = Path("/etc/ledger/site.toml")

GOOD = """
[community]
id = "campus"

[[gateways]]
id = "gw-1"
key_file = "gw-1.pem"

[[gateways.lines]]
host = "10.0.0.5"
port = 4001
framer = "rtu"
pause_ms = 100
timeout_ms = 700

[[gateways.lines.meters]]
id = "m-main"
unit = 1
model = "acrel-adl3000"
role = "main"
rated_w = 1_000_000
factors = { ct = 40, pt = 1 }

[[gateways.lines.meters]]
id = "m-school"
unit = 2
model = "sdm630"
building = "school"
rated_w = 100_000

[[gateways]]
id = "gw-2"

[[gateways.lines]]
host = "10.0.0.6"

[[gateways.lines.meters]]
id = "m-mall"
unit = 1
model = "abb-b23"
building = "mall"
rated_w = 100_000
"""


def read(text: str) -> tuple[GatewaySettings, ...]:
    return gateways_from(tomllib.loads(text), PATH)


def test_gateways_lines_and_meters_are_read_with_their_defaults() -> None:
    first, second = read(GOOD)
    (line,) = first.lines
    assert (line.name, line.framer, line.pause_ms, line.timeout_ms) == ("10.0.0.5:4001", "rtu", 100, 700)
    main, school = line.meters
    assert (main.role, main.building, main.factors) == ("main", None, {"ct": 40, "pt": 1})
    assert (school.role, school.building, school.factors) == ("connection", "school", {})
    assert [meter.id for meter in first.meters] == ["m-main", "m-school"]
    assert (second.lines[0].port, second.lines[0].framer) == (502, "tcp")
    assert (first.key_file, second.key_file) == ("/etc/ledger/gw-1.pem", "")


def test_a_file_without_gateways_has_none() -> None:
    assert read('[community]\nid = "campus"') == ()


@pytest.mark.parametrize(
    ("old", "new", "what", "where", "hint"),
    [
        (
            "pause_ms",
            "pause",
            "unknown field `pause`",
            "gateways[0].lines[0]",
            "did you mean `pause_ms`? allowed in [[gateways.lines]]: attempts",
        ),
        ("unit = 2", "units = 2", "unknown field `units`", "lines[0].meters[1]", "`unit`"),
        (
            'key_file = "gw-1.pem"',
            "colour = 1",
            "unknown field `colour`",
            "gateways[0]",
            "allowed in [[gateways]]: id, key_file, lines, meters, models, remote",
        ),
        ("unit = 2", "unit = 256", "at most 255", "meters[1].unit", ""),
        ("unit = 2", "unit = 1", "1 is there twice", "lines 10.0.0.5:4001, meters: unit", ""),
        ("rated_w = 1_000_000", "rated_w = 0", "at least 1", "meters[0].rated_w", ""),
        ("rated_w = 1_000_000", "", "missing required field `rated_w`", "meters[0]", ""),
        ('framer = "rtu"', 'framer = "ascii"', "ascii", "lines[0].framer", "allowed: rtu, tcp"),
        (
            'framer = "rtu"',
            'framer = "RTU"',
            "RTU",
            "lines[0].framer",
            "did you mean `rtu`? allowed: rtu, tcp",
        ),
        ('role = "main"', 'role = "mian"', "mian", "meters[0].role", "did you mean `main`? allowed: connect"),
        ('"10.0.0.6"', '"10.0.0.6:502"', "machine", "lines: host", 'write host = "10.0.0.6" and port = 502'),
        ('"10.0.0.6"', '""', "machine", "gateways gw-2, lines: host", "name the converter"),
        ('"m-mall"', '"m-main"', "m-main is there twice", "meters of gateways: id", ""),
        ('"m-mall"', '"M Mall"', "form", "meters[0].id", "[a-z0-9._-]"),
        ('"gw-2"', '"gw-1"', "gw-1 is there twice", "gateways: id", ""),
        ('"10.0.0.6"', '"10.0.0.5"\nport = 4001', "10.0.0.5:4001 is there twice", "lines: host and port", ""),
        (
            '"sdm630"',
            '"sdm360"',
            "sdm360",
            "meters m-school: model",
            "did you mean `sdm630`? known models: abb-b23",
        ),
        ('"sdm630"', '"toaster"', "toaster", "meters m-school: model", "known models: abb-b23"),
        ('building = "school"', "", "needs a building", "m-school: building", "belongs to a building"),
        ('role = "main"', 'role = "main"\nbuilding = "school"', "has no building", "m-main: building", ""),
        ("ct = 40", "cd = 40", "cd = 40", "m-main: factors", "ratios: ct, pt"),
        ("ct = 40", "ct = 0", "ct = 0", "m-main: factors", ""),
        (
            "rated_w = 100_000\n\n[[gateways]]",
            "rated_w = 1.5\n\n[[gateways]]",
            "int",
            "rated_w",
            "whole number",
        ),
        ("unit = 2", 'unit = "2"', "got `str`", "meters[1].unit", "without quotes"),
        ("pause_ms = 100", "pause_ms = -1", "at least 0", "lines[0].pause_ms", ""),
    ],
)
def test_a_mistake_is_named_with_table_key_and_what_is_allowed(
    old: str, new: str, what: str, where: str, hint: str
) -> None:
    assert GOOD.count(old) >= 1
    with pytest.raises(SettingsInvalid) as caught:
        read(GOOD.replace(old, new, 1))
    assert what in caught.value.what
    assert where in caught.value.where
    assert str(PATH) in caught.value.where
    assert hint in caught.value.hint


def test_a_gateway_without_lines_or_a_line_without_meters_is_refused() -> None:
    for text in (
        '[[gateways]]\nid = "gw-1"\nlines = []',
        '[[gateways]]\nid = "a"\n[[gateways.lines]]\nhost = "h"',
    ):
        with pytest.raises(SettingsInvalid):
            read(text)


OWN = """
[[gateways]]
id = "wifi-1"
remote = true
[[gateways.meters]]
id = "m-wifi"
model = "acme-wifi-3"
building = "school"
rated_w = 20_000
"""


def test_a_device_that_signs_for_itself_has_meters_without_any_address() -> None:
    *_, found = read(GOOD + OWN)
    assert (found.lines, found.remote) == ((), True)
    (meter,) = found.meters
    assert (meter.id, meter.model, meter.building, meter.role) == (
        "m-wifi", "acme-wifi-3", "school", "connection",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "what", "where", "hint"),
    [
        ("remote = true", "", "asked by nobody", "gateways wifi-1: meters", "remote = true"),
        ('building = "school"', "", "needs a building", "wifi-1, meters m-wifi: building", ""),
        ('"m-wifi"', '"m-school"', "m-school is there twice", "meters of gateways: id", ""),
        (
            "rated_w = 20_000",
            "rated_w = 20_000\nunit = 1",
            "unknown field `unit`",
            "meters[0]",
            "building, id, model",
        ),
    ],
)
def test_a_mistake_about_such_a_meter_is_named(old: str, new: str, what: str, where: str, hint: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        read(GOOD + OWN.replace(old, new))
    assert what in caught.value.what
    assert where in caught.value.where
    assert hint in caught.value.hint


def test_an_installation_may_bring_its_own_models(tmp_path: Path) -> None:
    known = Path(__file__).parents[3] / "ingest" / "models" / "sdm630.toml"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "own.toml").write_text(known.read_text().replace('"sdm630"', '"own"', 1))
    text = GOOD.replace('id = "gw-1"', 'id = "gw-1"\nmodels = "models"').replace('"sdm630"', '"own"')
    first, _ = gateways_from(tomllib.loads(text), tmp_path / "site.toml")
    assert first.models == str(tmp_path / "models")
    assert "own" in first.known_models()


def test_a_gateway_is_found_by_name_or_by_being_the_only_one() -> None:
    gateways = read(GOOD)
    assert find_gateway(gateways, "gw-2").id == "gw-2"
    assert find_gateway(gateways[:1], None).id == "gw-1"
    with pytest.raises(SettingsInvalid, match="2 gateways") as caught:
        find_gateway(gateways, None)
    assert caught.value.hint == "name one of: gw-1, gw-2"
    with pytest.raises(SettingsInvalid, match="no gateway is called gw-3"):
        find_gateway(gateways, "gw-3")
