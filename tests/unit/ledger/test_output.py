"""Whatever the output is written to, a command ends as it should and says plainly what it cannot say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
"""As Python runs unless it is told otherwise: what it could not write it tries to write again at its end."""
NAMES = "อาคาร é 🏫 \udcff"
PRINTED = f"""
import sys
from ledger.output import end_output, open_output
open_output()
print({NAMES!a})
print({NAMES!a}, file=sys.stderr)
end_output()
"""


def printed(encoding: str) -> subprocess.CompletedProcess[bytes]:
    environment = BUFFERED | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, "-c", PRINTED]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=True, env=environment, timeout=30)


def test_what_an_encoding_lacks_is_escaped_as_json_escapes_it() -> None:
    done = printed("ascii")
    assert done.stdout == done.stderr == json.dumps(NAMES)[1:-1].encode() + b"\n"


def test_what_an_encoding_has_is_written_as_it_is() -> None:
    assert printed("utf-8").stdout.decode() == "อาคาร é 🏫 \\udcff\n"


COMMANDS = [["tariffs"], ["--help"], ["--version"], ["tariffs", "--help"]]


def told(command: list[str], redirected: str) -> tuple[int, str]:
    words = [sys.executable, "-m", "api", *command]
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirected}', "bash", *words],
        cwd=ROOT, capture_output=True, text=True, check=False, env=BUFFERED, timeout=30,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_output_that_gets_nowhere_is_told_and_no_success(command: list[str]) -> None:
    code, said = told(command, "> /dev/full")
    assert (code, said.splitlines()[0]) == (
        3,
        "output-lost: the output cannot be written: No space left on device",
    )


def test_errors_that_cannot_be_told_leave_their_exit_code() -> None:
    assert told(["tariffs", "--copy", "nope"], "2> /dev/full")[0] == 2


def test_who_closes_the_pipe_has_seen_enough() -> None:
    assert told(["tariffs"], '| true; exit "${PIPESTATUS[0]}"') == (141, "")


def test_closed_output_is_no_failure() -> None:
    assert told(["tariffs"], ">&-") == (0, "")


def test_a_file_name_that_no_file_can_have_is_told_by_every_command() -> None:
    for command in (["prove", "a/1", "--config"], ["init"], ["status", "--config"]):
        code, said = told([*command, "x" * 300], "")
        assert code == 2, said
        assert "File name too long" in said.splitlines()[0]
