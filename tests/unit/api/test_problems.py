"""Errors as problem details: every code has a status and a page, and none shows what it should not."""

import ast
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from api.http.problems import FIELDS, HINTS, LIBRARY, NotKnown, TooMany, hint_of, problem, status_of
from api.http.routes.reference import known_codes
from ledger.access import new_key
from ledger.errors import BadInput, Contradiction, Damaged, LedgerError, Unavailable


def test_every_code_has_a_status_that_http_knows_and_words() -> None:
    codes = known_codes()
    assert len(codes) > 50
    for code, (status, text) in codes.items():
        assert HTTPStatus(status).phrase, code
        assert status >= 400, code
        assert text.strip(), code
        assert code == code.lower().replace("_", "-").replace(" ", ""), code


def test_what_the_library_refuses_has_a_code_of_its_own_for_each_status() -> None:
    assert len(set(LIBRARY.values())) == len(LIBRARY)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadInput("x"), 422), (Contradiction("x"), 409), (Unavailable("x"), 503), (Damaged("x"), 500),
        (LedgerError("x"), 500), (NotKnown("x"), 401), (TooMany("x", seconds=1), 429),
    ],
)  # fmt: skip
def test_the_nearest_base_class_gives_the_status(error: LedgerError, status: int) -> None:
    assert status_of(error) == status

    class Derived(type(error)):  # type: ignore[misc]  # one of any kind
        code = "derived"

    assert status_of(Derived.__new__(Derived)) == status


def test_no_problem_shows_a_token() -> None:
    token = new_key().token
    found = problem(404, "not-found", f"no {token} here", where=token)
    assert token not in repr(found)
    assert token.partition(".")[0] in found.where


# --- no door speaks of another ----------------------------------------------------------------

ROOT = Path(__file__).parents[3]
OTHER_DOORS = {"cannot-copy", "intervals-apart", "account-missing", "not-running", "settler-at-work"}
"""Codes of commands, of plain files and of what starts a server: nobody is answered with them over HTTP."""
NOWHERE = "--begin or --since"
"""What has to be named where nobody can ask the store; the API always can."""
SPEAKS = re.compile(r"`energy-ledger |(?:^|[ (])--[a-z]")


def spoken() -> Iterator[tuple[str, str, str, str]]:
    """(file, class of the error, `where` or `hint`, the words) wherever that names a command."""
    files = [path for folder in ("ledger", "settlement", "api") for path in (ROOT / folder).rglob("*.py")]
    shared = ROOT / "settlement/comparison_commands.py"
    for path in files:
        if path.name.endswith("_commands.py") and path != shared:
            continue
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                for told in call.keywords:
                    text = " ".join(
                        each.value
                        for each in ast.walk(told.value)
                        if isinstance(each, ast.Constant) and isinstance(each.value, str)
                    )
                    if told.arg in ("where", "hint") and text != NOWHERE and SPEAKS.search(text):
                        yield path.name, call.func.id, told.arg, text


def kinds(kind: type[LedgerError] = LedgerError) -> Iterator[type[LedgerError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from kinds(each)


def test_no_answer_tells_of_the_command_line() -> None:
    codes = {kind.__name__: kind.code for kind in kinds()}
    found = [each for each in spoken() if each[1] in codes]  # what the API does without is not here
    assert len(found) > 10
    silent = [
        (file, kind, place, text)
        for file, kind, place, text in found
        if codes[kind] not in HINTS.keys() | OTHER_DOORS and not (place == "where" and text in FIELDS)
    ]
    assert silent == []
    assert not [text for text in (*HINTS.values(), *FIELDS.values()) if SPEAKS.search(text)]


def test_a_hint_of_the_api_takes_the_place_of_one_for_the_command_line() -> None:
    class Issued(BadInput):
        code = "already-issued"

    assert "GET invoices" in hint_of(Issued("x", hint="`energy-ledger invoices` lists them"))
    assert hint_of(BadInput("x", hint="as it is")) == "as it is"
