"""The id of a live message: a place in the book, in one way of writing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.live.place import BadPlace, Place

POSITIONS, PARTS = st.integers(0, 10**15 - 1), st.integers(0, 10**9 - 1)


@given(POSITIONS, PARTS)
def test_an_id_comes_back_as_the_place_that_it_was(position: int, part: int) -> None:
    assert Place.told(str(Place(position, part))) == (position, part)


@given(POSITIONS, PARTS, POSITIONS, PARTS)
def test_places_are_in_order_of_the_book(first: int, part: int, second: int, other: int) -> None:
    assert (Place(first, part) < Place(second, other)) == ((first, part) < (second, other))


@given(st.text(max_size=20))
def test_what_no_message_had_is_no_id(text: str) -> None:
    try:
        assert Place.told(text) >= Place(0)
    except BadPlace:
        pass
    else:
        assert text.replace(".", "", 1).isascii()
        assert text.replace(".", "", 1).isdigit()


@pytest.mark.parametrize(
    "text", ["", "1", "1.", ".1", "-1.0", "1.-1", "1.0\n", "1.0.0", "1" * 16 + ".0", "٣.0"]
)
def test_odd_ids_are_refused(text: str) -> None:
    with pytest.raises(BadPlace):
        Place.told(text)
