"""Prices that are told once, and names that are made for what has none."""

import pytest

from api.http.desk import made_name
from api.http.desk_requests import price_told
from ledger.entry import is_name
from ledger.event import new_salt
from settlement.plain.values import BadCell


def test_a_price_is_told_in_one_of_two_ways() -> None:
    assert price_told("3.20", None, "limit") == price_told(None, 3_200_000, "limit") == 3_200_000
    assert price_told("0", None, "limit") == price_told(None, 0, "limit") == 0


@pytest.mark.parametrize(("decimal", "micro"), [(None, None), ("0", 0), ("3.20", 3_200_000)])
def test_a_price_told_twice_or_not_at_all_is_refused_by_its_field(
    decimal: str | None, micro: int | None
) -> None:
    with pytest.raises(BadCell) as refused:
        price_told(decimal, micro, "limit")
    assert refused.value.where == "limit"


def test_a_name_that_is_made_is_one_the_book_allows_and_follows_from_the_salt() -> None:
    salts = [new_salt() for _ in range(100)]
    names = [made_name("order", salt) for salt in salts]
    assert all(map(is_name, names))
    assert len({*names}) == len(salts)
    assert names == [made_name("order", salt) for salt in salts]
