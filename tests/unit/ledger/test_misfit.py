"""What does not fit is told with its place, also below a key that the file's writer chose."""

from datetime import date
from typing import Annotated, Any

import msgspec
import pytest

from ledger.misfit import Misfit, misfit

Name = Annotated[str, msgspec.Meta(pattern="^[a-z.]+$", description="letters")]
Part = Annotated[int, msgspec.Meta(ge=0, description="parts of a whole")]


class Party(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class File(msgspec.Struct):
    minutes: Annotated[int, msgspec.Meta(ge=0, le=10_080)] = 0
    word: Annotated[str, msgspec.Meta(max_length=4, pattern="^[a-z]*$")] = ""
    day: date | None = None
    parties: dict[Name, Party] = {}
    keys: list[dict[Name, Part]] = []
    last: int = 0


def told(value: dict[str, Any]) -> Misfit:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(value, File)
    return misfit(caught.value, File, value=value)


@pytest.mark.parametrize(
    ("value", "place", "hint"),
    [
        ({"parties": {"a": {"name": "A"}, "b": {}}}, "parties.b", "allowed in [parties.b]: name"),
        ({"parties": {"a": {"name": "A"}, "b": {"name": 1}}, "last": ""}, "parties.b.name", "text is meant"),
        ({"parties": {"a.b": {"nam": "A"}}}, "parties.a.b", "did you mean `name`?"),
        ({"parties": {"a": {"name": "A"}, "B": {"name": "B"}}}, "parties.B", "letters"),
        ({"keys": [{"a": 1}, {"b": 2, "c": 0.5}]}, "keys[1].c", "a whole number is meant"),
        ({"keys": [{"c": 0.5}]}, "keys[0].c", "parts of a whole"),
        ({"keys": [{"a": 1, "b": -1}]}, "keys[0].b", ""),
        ({"parties": {"a": {"name": "A"}}, "last": "1"}, "last", "a whole number is meant"),
    ],
)
def test_a_key_that_somebody_chose_stands_in_the_place(value: dict[str, Any], place: str, hint: str) -> None:
    found = told(value)
    assert found.place == place
    assert hint in found.hint


@pytest.mark.parametrize(
    ("value", "what", "hint"),
    [
        ({"minutes": 20_000}, "minutes has to be at most 10,080", "from 0 to 10,080 is meant"),
        ({"minutes": -1}, "minutes has to be at least 0", "from 0 to 10,080 is meant"),
        ({"word": "A"}, "the text does not have the form that is asked for", "it has to match ^[a-z]*$"),
        (
            {"day": 1},
            "Expected `date | null`, got `int`",
            "a day is meant, without quotes or a time: 2026-07-01",
        ),
        ({"word": "words"}, "word has to be at most 4 characters long", ""),
        ({"keys": [{"a": -1}]}, "a has to be at least 0", "parts of a whole"),
    ],
)
def test_what_is_beyond_a_bound_is_told_with_its_key_and_the_bound(
    value: dict[str, Any], what: str, hint: str
) -> None:
    found = told(value)
    assert (found.what, found.hint) == (what, hint)


def test_what_was_looked_at_is_as_it_was() -> None:
    value = {"parties": {"a": {"name": "A"}, "b": {}}}
    told(value)
    assert value == {"parties": {"a": {"name": "A"}, "b": {}}}


def test_without_the_value_the_place_of_such_a_key_is_left_open() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"parties": {"b": {}}}, File)
    assert misfit(caught.value, File).place == "parties[...]"
