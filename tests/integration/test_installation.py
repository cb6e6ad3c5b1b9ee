"""An installation as people meet it: from `init` to a book that proves itself, by the command line alone."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import structlog

from api.cli import main
from ledger.bus.nkey import user_nkey
from ledger.clock import monotonic_seconds
from ledger.keys import SigningKey
from ledger.registry import OPERATOR
from tests.support.place import COMMAND, ROOT, WAIT_SECONDS, Place, environment

SIMULATION = """\
[[lines]]
port = 0
framer = "rtu"

[[lines.meters]]
unit = 1
model = "sdm630"
serial = "20260001"
registers = "school.csv"

[[lines.meters]]
unit = 2
model = "janitza-umg96rm-e"
registers = "main.csv"
"""
REGISTERS = """\
time,import_wh,export_wh
2026-01-01T00:00:00Z,0,0
2026-01-02T00:00:00Z,{import_wh},{export_wh}
"""
SCHOOL = {"import_wh": 1_234_500, "export_wh": 67_000}
CAMPUS = {"import_wh": 9_876_000, "export_wh": 12_000}
DEAD_LINE = """
[[gateways.lines]]
host = "127.0.0.1"
port = 1
attempts = 1

[[gateways.lines.meters]]
id = "m-dead"
unit = 1
model = "sdm630"
building = "school"
role = "sub"
rated_w = 10_000
"""


def until_projected(place: Place) -> Any:
    """The status, once the projections have caught up with the book."""
    end = monotonic_seconds() + WAIT_SECONDS
    while (status := place.ask("status"))["projected"] < status["size"]:
        assert monotonic_seconds() < end
    return status


@pytest.fixture
def _as_before() -> Iterator[None]:
    """A command in this process tells logs and Ctrl-C where to go; others shall not find them so."""
    interrupt = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, interrupt)
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of simulated meters, which `energy-ledger simulate` serves."""
    folder = tmp_path_factory.mktemp("simulation")
    (folder / "meters.toml").write_text(SIMULATION)
    (folder / "school.csv").write_text(REGISTERS.format(**SCHOOL))
    (folder / "main.csv").write_text(REGISTERS.format(**CAMPUS))
    command = [*COMMAND, "simulate", "meters.toml", "--json"]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as meters:
        assert meters.stdout is not None
        (line,) = json.loads(meters.stdout.readline())
        yield line["port"]
        meters.terminate()
        assert meters.wait(WAIT_SECONDS) == 0


@pytest.fixture(scope="module")
def place(server_root: Path, simulated: int) -> Iterator[Place]:
    """An installation that runs, made by `init` and a few changes to what it wrote."""
    folder = server_root / "installation"
    folder.mkdir()
    folder.chmod(0o711)
    made = Place(folder)
    made.run("init")
    settings = made.config.read_text()
    for before, after in (
        ('host = "192.0.2.10"', 'host = "127.0.0.1"'),
        ("port = 502", f"port = {simulated}"),
        ("interval_minutes = 15", "interval_minutes = 5"),
    ):
        assert settings.count(before) == 1
        settings = settings.replace(before, after)
    made.config.write_text(settings + DEAD_LINE)
    made.up()
    yield made
    made.end()


# --- from init to proof --------------------------------------------------------------------------


def test_init_does_not_touch_a_file_that_is_there(place: Place) -> None:
    before = place.config.read_text()
    assert place.run("init", code=2).startswith("file-exists: ")
    assert place.config.read_text() == before


def test_what_the_meters_show_at_the_start_is_in_the_book(place: Place) -> None:
    for meter, shown in (("m-school", SCHOOL), ("m-main", CAMPUS)):
        first, *_ = place.readings(meter)
        assert {key: first[key] for key in shown} == shown
        assert first["quality"] == "measured"


def test_status_shows_the_settings_as_the_book_has_them(place: Place) -> None:
    status = place.ask("status")
    assert status["community"] == "campus"
    assert status["size"] >= status["projected"] > 0
    meters = {row["meter"]: (row["role"], row["building"], row["reader"]) for row in status["meters"]}
    assert meters == {
        "m-school": ("connection", "school", "gw-1"),
        "m-main": ("main", None, "gw-1"),
        "m-dead": ("sub", "school", "gw-1"),
    }
    assert {"service", "operator", "gw-1"} <= {row["device"] for row in status["devices"]}
    shown = place.run("status")
    assert status["root"] in shown
    assert "on the clocks of Asia/Bangkok" in shown
    rows = [row for row in status["meters"] if row["read_at"] is not None]
    assert rows, "there may be no interval yet, but there is a reading"
    for row in rows:
        read = datetime.fromisoformat(row["read_at"]).astimezone(ZoneInfo("Asia/Bangkok"))
        assert re.search(rf"{row['meter']} .*{read:%Y-%m-%d} ", shown), (
            "there is no interval yet, but a reading"
        )


def test_the_doctor_finds_nothing_wrong_and_one_thing_odd(place: Place) -> None:
    end = monotonic_seconds() + WAIT_SECONDS
    while not place.ask("alarms"):
        assert monotonic_seconds() < end
    findings = place.ask("doctor")
    assert {"postgres", "nats", "writer", "book", "projections", "outbox gw-1"} <= {
        finding["what"] for finding in findings
    }
    (odd,) = (finding for finding in findings if finding["verdict"] != "well")
    assert (odd["what"], odd["verdict"]) == ("meters", "odd")
    assert odd["found"] == "1 meter without an answer: m-dead"
    asked = "energy-ledger meter test 127.0.0.1 sdm630 --port 1 --framer tcp --unit 1"
    assert odd["hint"].startswith(f"`{asked}` says why")
    assert place.run(*asked.split()[1:], code=3).startswith("unreachable: ")
    assert "nothing is wrong; 1 to look at" in place.run("doctor")


def test_a_meter_that_does_not_answer_is_an_alarm_in_the_book(place: Place) -> None:
    raised = {(row["alarm"], row["meter"], row["device"]) for row in place.ask("alarms")}
    assert ("meter-offline", "m-dead", "gw-1") in raised


def test_the_exported_book_proves_itself_to_whoever_knows_the_logs_key(place: Place) -> None:
    block = json.loads(place.run("seal"))
    assert block["community"] == "campus"
    book = place.folder / "campus.jsonl"
    place.run("export", "--out", str(book))
    key = json.loads(book.read_text().splitlines()[0])["book"]["log_key"]
    assert key.startswith("ledger.example.org/campus+")
    report = json.loads(place.run("verify", str(book), "--log-key", key, "--json"))
    assert report["verified"] is True
    assert report["pinned"] is True
    assert report["size"] > block["size"]
    stranger = "ledger.example.org/campus+00000000+" + key.rpartition("+")[2]
    place.run("verify", str(book), "--log-key", stranger, code=2)


def test_rebuilding_the_projections_changes_nothing(place: Place) -> None:
    before = place.ask("status")
    assert "projections swapped" in place.run("rebuild")
    after = place.ask("status")
    assert (after["meters"], after["devices"]) == (before["meters"], before["devices"])


# --- the life of a key ---------------------------------------------------------------------------


def public_key(place: Place, device: str) -> str | None:
    """The valid key of a device, once the projections have caught up with the book."""
    status = until_projected(place)
    key: str | None = next(row["public_key"] for row in status["devices"] if row["device"] == device)
    return key


def test_a_key_is_requested_enrolled_rotated_and_revoked(place: Place) -> None:
    old, new, late = (str(place.folder / f"gw-2{name}.pem") for name in ("", "-new", "-late"))
    request = place.run("device", "request", "gw-2", "--community", "campus", "--key-file", old)
    (place.folder / "gw-2.request").write_text(request)
    place.run("device", "enrol", "gw-2.request")
    first = public_key(place, "gw-2")
    assert first == json.loads(request)["public_key"]

    place.run("device", "rotate", "gw-2", "--key-file", old, "--new-key-file", new)
    second = public_key(place, "gw-2")
    assert second not in (first, None)
    refused = place.run("device", "rotate", "gw-2", "--key-file", old, "--new-key-file", late, code=3)
    assert refused.startswith("not-authorised: NATS does not let device gw-2 in\n")
    refused = place.run("device", "rotate", "gw-2", "--key-file", new, "--new-key-file", old, code=2)
    assert refused.startswith("contradiction: ")
    quarantined = {(row["code"], row["device"]) for row in place.ask("quarantine")}
    assert ("contradiction", "gw-2") in quarantined
    assert "contradiction, 1 message\n  what to do: the book says otherwise" in place.run("quarantine")

    place.run("device", "revoke", "gw-2", "--reason", "stolen")
    assert public_key(place, "gw-2") is None
    thrown_out = place.run("device", "rotate", "gw-2", "--key-file", new, "--new-key-file", late, code=3)
    assert thrown_out.startswith("not-authorised: ")
    again = place.run("device", "revoke", "gw-2", "--reason", "twice", code=2)
    assert again.startswith("request-invalid: ")
    assert place.run("device", "enrol", "gw-2.request", code=2).startswith("contradiction: ")
    assert OPERATOR not in {row["device"] for row in place.ask("quarantine")}, "slips are told, not sent"


# --- NATS' users ---------------------------------------------------------------------------------

FAR = """\
[community]
id = "campus"

[data]
folder = "."
keys = "."

[nats]
url = "{url}"

[[gateways]]
id = "gw-1"
remote = true

[[gateways.lines]]
host = "127.0.0.1"

[[gateways.lines.meters]]
id = "m-school"
unit = 1
model = "sdm630"
building = "school"
rated_w = 10_000
"""


def test_everybody_who_may_connect_is_listed_by_a_public_key(place: Place) -> None:
    listed = place.run("nats", "users")
    gateway = SigningKey.load(place.folder / "data" / "keys" / "gw-1.pem")
    assert f"# device gw-1\n    {{nkey: {user_nkey(gateway.public)}, " in listed
    for service in ("writer", "api", "settler", "operator"):
        key = SigningKey.load(place.folder / "data" / "keys" / "nats" / f"{service}.pem")
        assert f"# service {service}\n    {{nkey: {user_nkey(key.public)}, " in listed
    assert (
        listed.count("nkey:") == len([row for row in place.ask("status")["devices"] if row["public_key"]]) + 2
    )
    place.run("nats", "users", "--to", "users.conf")
    assert (place.folder / "users.conf").read_text() == listed


def test_the_doctor_finds_the_users_of_nats_well(place: Place) -> None:
    told = {(each["what"], each["verdict"]): each["found"] for each in place.ask("doctor")}
    assert told["nats users", "well"] == "1 gateway let in, each by its own key"


def test_a_gateways_own_machine_is_examined_without_the_store(place: Place) -> None:
    far = Place(place.folder / "far")
    far.folder.mkdir()
    running = json.loads((place.folder / "data" / "running.json").read_bytes())
    far.config.write_text(FAR.format(**running["nats"]))
    assert far.run("doctor", code=1).startswith("unwell: ")  # no key
    SigningKey.generate().save(far.folder / "gw-1.pem")
    assert far.run("doctor", code=1).startswith("unwell: ")  # nobody enrolled it
    (far.folder / "gw-1.pem").unlink()
    shutil.copy(place.folder / "data" / "keys" / "gw-1.pem", far.folder)
    told = {each["what"]: (each["verdict"], each["found"]) for each in far.ask("doctor")}
    assert told["nats users"] == ("well", "1 gateway let in, each by its own key")
    assert {"settings", "disk", "keys", "outbox gw-1"} <= set(told)


# --- stopping and starting -----------------------------------------------------------------------


def test_what_is_stopped_says_so_and_goes_on_with_its_book(place: Place) -> None:
    before, readings = place.ask("status"), place.readings("m-school")
    assert place.down() == 0
    assert place.log.read_text().endswith("stopped\n")
    assert place.run("status", code=3).startswith("not-running: ")
    place.up()
    after = place.ask("status")
    assert after["size"] >= before["size"]
    again = place.readings("m-school")
    assert again[: len(readings)] == readings
    assert len(again) > len(readings)


def test_a_second_installation_in_the_same_folder_is_refused(place: Place) -> None:
    assert place.run("up", code=3).startswith("folder-in-use: ")
    place.ask("status")


# --- mistakes ------------------------------------------------------------------------------------

MISTAKES = {
    "not TOML": (("[community]", "[community"), "cannot be read"),
    "an unknown table": (("[writer]", "[wrtier]"), "did you mean `writer`?"),
    "an unknown key": (("interval_minutes", "interval_minute"), "did you mean `interval_minutes`?"),
    "an interval that no grid has": (("interval_minutes = 15", "interval_minutes = 7"), "interval_minutes"),
    "a name that the book does not allow": (('id = "campus"', 'id = "My Campus"'), "community.id"),
    "a zone that there is not": (("Asia/Bangkok", "Asia/Bangok"), "IANA"),
    "a log's name with a space": (("ledger.example.org/campus", "our ledger"), "community.origin"),
    "a log's name with a scheme": (
        ("ledger.example.org", "https://ledger.example.org"),
        "begins with https://",
    ),
    "a feeder that is not listed": (('feeder = "feeder-1"', 'feeder = "feeder-9"'), "feeders: feeder-1"),
    "a building that is not listed": (('\nbuilding = "school"', '\nbuilding = "scool"'), "buildings: school"),
    "a model that there is not": (('model = "sdm630"', 'model = "sdm360"'), "did you mean `sdm630`?"),
    "a framer that there is not": (
        ('framer = "rtu"', 'framer = "RTU"'),
        "did you mean `rtu`? allowed: rtu, tcp",
    ),
    "a role that there is not": (('role = "main"', 'role = "grid"'), "allowed: connection, main, sub"),
    "a key of another table": (('folder = "data"', 'zone = "data"'), "allowed in [data]: folder, keys"),
    "a meter listed twice": (('id = "m-main"', 'id = "m-school"'), "m-school is there twice"),
    "a unit used twice": (("unit = 2", "unit = 1"), "1 is there twice"),
    "a main meter in a building": (('role = "main"', 'role = "main"\nbuilding = "school"'), "role main"),
    "a port in quotes": (("port = 502", 'port = "502"'), "gateways[0].lines[0].port"),
    "a line without a host": (('host = "192.0.2.10"\n', ""), "missing required field `host`"),
    "a device's name that is taken": (('id = "gw-1"', 'id = "operator"'), "operator"),
    "one server of two": (("[writer]", '[nats]\nurl = "nats://127.0.0.1"\n[writer]'), "both"),
}


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_settings_is_told_in_plain_words(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (before, after), word = MISTAKES[mistake]
    settings = (ROOT / "api/template.toml").read_text()
    assert settings.count(before) == 1
    config = tmp_path / "energy-ledger.toml"
    config.write_text(settings.replace(before, after))
    monkeypatch.setattr(sys, "argv", ["energy-ledger", "provision", "--config", str(config)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("settings-invalid: ")
    assert str(config) in said
    assert word in said
    assert not (tmp_path / "data").exists()


def test_no_settings_at_all_are_told_with_what_to_do(tmp_path: Path) -> None:
    said = Place(tmp_path).run("up", code=2)
    assert said.startswith("settings-invalid: there is no settings file")
    assert "energy-ledger init" in said
