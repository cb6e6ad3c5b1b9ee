"""The command line: every command that it lists exists, and mistakes are told plainly."""

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from api.cli import COMMANDS

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
    assert "wrong servers: not-running" in doctor.stdout
    assert doctor.returncode == 1


def test_a_misspelt_key_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    run("init", folder=tmp_path)
    path = tmp_path / "energy-ledger.toml"
    path.write_text(path.read_text().replace("seal_seconds", "seal_secods"))
    done = run("up", folder=tmp_path)
    assert done.returncode == 2
    assert "seal_secods" in done.stderr
    assert "did you mean `seal_seconds`?" in done.stderr


def test_verify_starts_without_the_drivers_of_servers() -> None:
    code = (
        "import sys, ledger.audit_commands\n"
        "print([name for name in ('asyncpg', 'nats', 'pymodbus') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
