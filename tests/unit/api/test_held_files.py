"""How many files are held for readers, and how large they are together."""

from io import BytesIO

import pytest

from api.http import held_files
from api.http.held_files import Extracts, ExtractTooLarge
from api.http.in_flight import TooManyAtOnce
from api.http.waiting import Busy


def test_a_key_has_its_share_of_the_places_and_all_together_have_so_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(held_files, "HELD_MAX", 3)
    held = Extracts()
    mine = [held.place("a"), held.place("a")]
    with pytest.raises(TooManyAtOnce):
        held.place("a")
    held.place("b")
    with pytest.raises(Busy):
        held.place("c")
    mine[0].give_back()
    held.place("c")
    assert held.held == 3


def test_files_have_so_many_bytes_together_and_a_larger_one_is_not_written_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(held_files, "HELD_BYTES_MAX", 10)
    held = Extracts()
    large, small, other = held.place("a"), held.place("b"), held.place("c")
    file = BytesIO()
    large.wrote(4)
    large.wrote(6)
    large.take(file)
    with pytest.raises(Busy):
        small.wrote(1)
    small.give_back()
    with pytest.raises(ExtractTooLarge):
        large.wrote(1)
    large.give_back()
    assert file.closed
    other.wrote(10)
    other.give_back()
    with pytest.raises(ExtractTooLarge):
        held.place("d").wrote(11)
