"""Words for people."""

import pytest

from ledger.words import MEANT_MAX, counted, did_you_mean


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("building",), "0 buildings"),
        (1, ("building",), "1 building"),
        (2_000, ("building",), "2,000 buildings"),
        (1, ("entry", "entries"), "1 entry"),
        (3, ("entry", "entries"), "3 entries"),
    ],
)
def test_one_thing_is_told_in_the_singular(number: int, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said


def test_what_was_meant_is_named_as_it_is_written_and_only_where_it_is_near() -> None:
    assert did_you_mean("TCP", ["rtu", "tcp"]) == "did you mean `tcp`? "
    assert did_you_mean("asia/bankok", ["Asia/Bangkok", "Asia/Tokyo"]) == "did you mean `Asia/Bangkok`? "
    assert did_you_mean("toaster", ["rtu", "tcp"]) == ""


def test_of_names_that_begin_with_what_was_written_all_are_meant_but_no_endless_list() -> None:
    names = ["th-1.2", "th-4.2-12kv", "th-4.2-69kv", "th-4.2-low"]
    assert did_you_mean("th-4.2", names) == "did you mean `th-4.2-12kv`, `th-4.2-69kv` or `th-4.2-low`? "
    assert did_you_mean("TH-4.2-6", names) == "did you mean `th-4.2-69kv`? "
    assert did_you_mean("b-", [f"b-{number}" for number in range(100)]).count("`") == 2 * MEANT_MAX
    assert did_you_mean("t", names) == "", "that may be anything"
