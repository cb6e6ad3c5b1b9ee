"""Pages: all rows once and in order, whatever the page's size; a cursor that no page gave is refused."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.pages import BadCursor, Page, cursor_of, key_of, page_of


async def page(rows: Sequence[tuple[str, int]], cursor: str, limit: int) -> Page[str]:
    async def read(after: Sequence[Any], count: int) -> list[tuple[str, int]]:
        return [row for row in rows if row > tuple(after)][:count]

    return await page_of(cursor, limit, ("", 0), read, lambda row: f"{row[0]}{row[1]}", lambda row: row)


@pytest.mark.parametrize("limit", [1, 2, 3, 9, 10, 11])
async def test_all_rows_come_once_and_in_order(limit: int) -> None:
    rows = [("a", number) for number in range(1, 6)] + [("b", number) for number in range(1, 6)]
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        found = await page(rows, cursor, limit)
        assert 1 <= len(found.items) <= limit
        seen += found.items
        cursor = found.next
    assert seen == [f"{name}{number}" for name, number in rows]


async def test_a_list_without_rows_has_one_page() -> None:
    assert await page([], "", 5) == Page([], None)


@given(st.text(alphabet=st.characters(min_codepoint=1, codec="utf-8"), max_size=20), st.integers(0, 2**53))
def test_a_cursor_is_the_key_it_was_made_of(name: str, number: int) -> None:
    assert list(key_of(cursor_of((name, number)), ("", 0))) == [name, number]


@given(st.text(max_size=60))
def test_what_is_no_cursor_is_refused_and_never_a_failure(text: str) -> None:
    try:
        found = key_of(text, ("", 0))
    except BadCursor:
        return
    assert [type(part) for part in found] == [str, int]


@pytest.mark.parametrize("instant", [
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z",
    "2026-06-01T00:00:00",
])  # fmt: skip
def test_a_cursor_outside_of_all_years_is_refused(instant: str) -> None:
    with pytest.raises(BadCursor):
        key_of(cursor_of((instant,)), (datetime.now(UTC),))


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_cursor_is_the_instant_it_was_made_of(instant: datetime) -> None:
    assert list(key_of(cursor_of((instant,)), (instant,))) == [instant]


def test_a_cursor_of_another_list_is_refused() -> None:
    for other in ((1,), ("a",), ("a", 1, 2), (1, "a"), ("a", 2**70)):
        with pytest.raises(BadCursor):
            key_of(cursor_of(other), ("", 0))
