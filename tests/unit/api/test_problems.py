"""Errors as problem details: every code has a status and a page, and none shows what it should not."""

from http import HTTPStatus

import pytest

from api.http.problems import LIBRARY, NotKnown, TooMany, problem, status_of
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
