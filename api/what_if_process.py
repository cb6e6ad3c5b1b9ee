"""A what-if as a process of its own: settling is arithmetic for seconds, and would keep requests waiting.

The task comes as JSON on standard input, its outcome goes out as JSON on standard output, logs to standard
error. It works at a lower priority than those who record and answer.
"""

import os
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from ledger.command_line import configure_logs, run
from ledger.errors import BadInput, LedgerError
from ledger.settings import Settings
from settlement.comparison_commands import Asked, as_json, compared_on_book
from settlement.plain.rules import parse_rules

NICENESS = 5
RULES = "rules"


class OwnFile(BadInput):
    """Rules that would have the ledger read a file of its own machine."""

    code = "own-file"


class Task(msgspec.Struct, frozen=True):
    """What is to be settled again; `rules` is the text of a file of rules, or empty."""

    settings: Settings
    begin: date
    until: date
    mechanisms: list[str]
    rules: str


class Failure(msgspec.Struct, frozen=True):
    """A coded error."""

    code: str
    what: str
    where: str
    hint: str
    exit_code: int


class Outcome(msgspec.Struct, frozen=True):
    """What came out: `settlement.comparison_commands.as_json`, or why nothing did."""

    answer: dict[str, Any] | None = None
    failure: Failure | None = None


def main() -> None:
    """Do the task on standard input."""
    os.nice(NICENESS)
    configure_logs()
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    with tempfile.TemporaryDirectory(prefix="what-if-") as folder:
        try:
            outcome = Outcome(answer=_settled(task, Path(folder)))
        except LedgerError as error:
            where = error.where.replace(f"{folder}/", "")
            outcome = Outcome(failure=Failure(error.code, error.what, where, error.hint, error.exit_code))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


def check_rules(text: str) -> None:
    """Return if a text can be rules to try; it is a pure function. Raises `RulesInvalid`, `OwnFile`."""
    if (parse_rules(text, RULES).tariff or "").endswith(".toml"):
        raise OwnFile(
            "a tariff is named here, not a file", where=RULES,
            hint="`energy-ledger tariffs` lists the names; the command `what-if` takes files, too",
        )  # fmt: skip


def _settled(task: Task, folder: Path) -> dict[str, object]:
    files = []
    if task.rules:
        check_rules(task.rules)
        files.append(folder / RULES)
        files[0].write_text(task.rules)
    asked = Asked(task.begin, task.until, files, task.mechanisms)
    return as_json(run(compared_on_book(task.settings, asked)))
