"""The command line: every command that it lists exists, and mistakes are told plainly."""

import inspect
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from api.cli import COMMANDS
from api.installation import InstallationSettings
from api.installation_commands import TEMPLATE, ready_lines
from ingest.settings import gateways_from
from ledger.registry import Registry
from ledger.settings import FOREIGN_TABLES, settings_from

EVERY = [command for commands in COMMANDS.values() for command in commands]


@pytest.mark.parametrize("command", EVERY, ids=lambda command: command.words)
def test_every_command_that_is_listed_exists_and_documents_its_parameters(command) -> None:
    module, _, name = command.place.partition(":")
    function = getattr(import_module(module), name)
    told = inspect.getdoc(function) or ""
    own = [each for each in inspect.signature(function).parameters if each != "config"]
    assert told
    assert all(f"\n{each}\n" in f"\n{told}\n" for each in own)


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_missing_settings_file_is_a_coded_error_with_advice_and_no_traceback(tmp_path: Path) -> None:
    done = run("up", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("settings-invalid: ")
    assert "energy-ledger init" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_template_that_init_writes_is_sound_and_never_overwritten(tmp_path: Path) -> None:
    assert run("init", folder=tmp_path).returncode == 0
    again = run("init", folder=tmp_path)
    assert again.returncode == 2
    assert again.stderr.startswith("file-exists: ")
    doctor = run("doctor", folder=tmp_path)
    assert "ok    settings: energy-ledger.toml is sound" in doctor.stdout
    assert "odd   line: gw-1 asks 192.0.2.10:502: this is the template's example address" in doctor.stdout
    assert "put your converter's host" in doctor.stdout
    assert "wrong servers: not-running" in doctor.stdout
    assert doctor.returncode == 1


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.10", ["gw-1 asks 192.0.2.10:502: this is the template's example address; put your"]),
        ("h", []),
    ],
)
def test_an_installation_that_is_ready_counts_its_parts_and_names_what_is_not_edited(
    host: str, said: list[str]
) -> None:
    text = TEMPLATE.read_text()
    assert text.count('host = "192.0.2.10"') == 1
    tables = tomllib.loads(text.replace("192.0.2.10", host))
    settings = settings_from(tables, TEMPLATE, FOREIGN_TABLES)
    wanted = InstallationSettings(settings, gateways_from(tables, TEMPLATE), None)
    ready, *more = ready_lines(wanted, Registry("campus"), 1.25)
    assert ready.startswith("ready in 1.2 s: community campus, 1 building, 2 meters behind 1 gateway. Ctrl-C")
    assert [line[: len(start)] for line, start in zip(more, said, strict=True)] == said


def test_a_misspelt_key_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    run("init", folder=tmp_path)
    path = tmp_path / "energy-ledger.toml"
    path.write_text(path.read_text().replace("seal_seconds", "seal_secods"))
    done = run("up", folder=tmp_path)
    assert done.returncode == 2
    assert "seal_secods" in done.stderr
    assert "did you mean `seal_seconds`?" in done.stderr


def test_init_tells_plainly_where_it_cannot_write(tmp_path: Path) -> None:
    for place in ("no/such/folder/x.toml", "."):
        done = run("init", place, folder=tmp_path)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_what_looks_like_markup_is_shown_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "[bold]x.toml"
    run("init", str(path.name), folder=tmp_path)
    path.write_text(path.read_text().replace('id = "campus"', 'id = "[/x] y"'))
    done = run("doctor", "--config", path.name, folder=tmp_path)
    assert "[bold]x.toml" in done.stdout
    assert "[a-z0-9._-]" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_request_names_what_is_wrong_and_makes_no_folder(tmp_path: Path) -> None:
    ask = ("device", "request", "--community", "campus", "--key-file")
    bad_name = run(*ask, "k.pem", "gw 3", folder=tmp_path)
    assert bad_name.returncode == 2
    assert bad_name.stderr.startswith("request-invalid: ")
    no_folder = run(*ask, "no/k.pem", "gw-3", folder=tmp_path)
    assert no_folder.stderr.startswith("key-file: there is no such folder")
    assert not (tmp_path / "no").exists()
    assert run(*ask, "k.pem", "gw-3", folder=tmp_path).returncode == 0


def test_verify_starts_without_the_drivers_of_servers() -> None:
    code = (
        "import sys, api.audit_commands\n"
        "print([name for name in ('asyncpg', 'nats', 'pymodbus') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--limit", "3", "--energy-wh", "1.5"), "'1.5' is no whole number"),
        (("--limit", "3", "--energy-wh", "0x10"), "'0x10' is no whole number"),
        (("--limit", "abc"), "'abc' is no number"),
        (("--limit", "3,9"), "'3,9' is no number"),
        (("--limit", "NaN"), "'NaN' is no number"),
    ],
)
def test_numbers_are_taken_as_they_are_written_or_not_at_all(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    order = ("order", "place", "x", "--building", "b", "--side", "buy", "--until", "2026-12-01")
    done = run(*order, *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


ASKED_WRONGLY = {
    # the words after `energy-ledger`: what is told, and what to do
    "tarifs": ('Unknown command "tarifs"', 'Did you mean "tariffs"?'),
    "order plac": ('Unknown command "plac"', 'Did you mean "place"?'),
    "bill": ('Command "bill" parameter --tariff requires', "`energy-ledger bill --help` tells"),
    "what-if --rules a.toml b.toml": (
        "nothing is asked for that would be b.toml",
        "--rules a.toml --rules b.toml",
    ),
    "what-if --begin 2016-06": (
        "Invalid value for --begin: '2016-06' is no day; write it as 2026-06-01",
        "`energy-ledger what-if --help`",
    ),
    "what-if --begin 2026-W23-1": ("'2026-W23-1' is no day; write it as 2026-06-01", "--help"),
    "what-if --begin 20260601": ("'20260601' is no day; write it as 2026-06-01", "--help"),
    "what-if --out=": ("an empty name is no folder", "--help"),
    "tariffs --copy th-mea-1.1 --to=": ("an empty name is no folder", "--help"),
    "quarantine --most 1.5": ("'1.5' is no whole number", "`energy-ledger quarantine --help`"),
    "what-if --mechanism barter": ('Invalid value "barter" for --mechanism', "uniform_price"),
}


@pytest.mark.parametrize("words", ASKED_WRONGLY)
def test_what_is_asked_wrongly_is_a_coded_error_with_advice(tmp_path: Path, words: str) -> None:
    what, hint = ASKED_WRONGLY[words]
    done = run(*words.split(), folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    first, last = done.stderr.splitlines()
    assert first.startswith("wrong-arguments: ")
    assert what in first
    assert last.startswith("  what to do: ")
    assert hint in last
