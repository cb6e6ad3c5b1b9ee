"""ETags: the same answer has the same one, and who has it is told so."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.caching import FOREVER, answered, etag

BODY = b"an answer"


def status(*told: str) -> int:
    headers = [(b"if-none-match", each.encode()) for each in told]
    request = cast(Any, SimpleNamespace(scope={"headers": headers}))
    response = answered(request, BODY, "text/plain", FOREVER)
    assert response.headers["ETag"] == etag(BODY)
    assert response.headers["Cache-Control"] == FOREVER
    assert (response.status_code == 304) == (response.content == b"")
    return response.status_code or 200


@given(st.binary(), st.binary())
def test_another_body_has_another_etag(one: bytes, other: bytes) -> None:
    assert (etag(one) == etag(other)) == (one == other)


@pytest.mark.parametrize(
    "told", [etag(BODY), "*", f'"x", {etag(BODY)}', f"  {etag(BODY)}  ", etag(BODY).removeprefix("W/")]
)
def test_who_has_it_is_told_so(told: str) -> None:
    assert status(told) == 304


def test_it_may_be_told_in_more_than_one_header() -> None:
    assert status('"x"', etag(BODY)) == 304
    assert status('"x"', '"y"') == 200
    assert status() == 200


@pytest.mark.parametrize("told", ["", '"x"', 'W/"x"', etag(BODY)[:-2], ",,,", "W/"])
def test_who_has_it_not_gets_it(told: str) -> None:
    assert status(told) == 200
