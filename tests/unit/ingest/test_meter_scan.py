"""Which units to ask, and which readings a building's meter could show."""

import pytest

from ingest.meter_reading import Reading
from ingest.meter_scan import doubts, parse_units
from ledger.errors import BadInput


@pytest.mark.parametrize(
    ("text", "units"),
    [("7", (7,)), ("1-3", (1, 2, 3)), ("5,1-3,2", (1, 2, 3, 5)), ("1-247", tuple(range(1, 248)))],
)
def test_units_are_ranges_and_lists(text: str, units: tuple[int, ...]) -> None:
    assert parse_units(text) == units


@pytest.mark.parametrize("text", ["", "0", "0-5", "248", "3-1", "a", "1;2", "1--2"])
def test_what_is_no_range_of_units_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="no range of units"):
        parse_units(text)


@pytest.mark.parametrize(
    ("reading", "doubtful"),
    [
        (Reading(123_456, 700, -2000, "42f6e9793f333333"), False),
        (Reading(0, 0, 0, "0000000000000000"), False),
        (Reading(0, 0, None, "0000000000000001"), True),  # a float read out of an integer
        (Reading(10**12, 0, None, "01"), True),
        (Reading(0, 10**12, None, "01"), True),
        (Reading(5, 5, -(10**9), "01"), True),
    ],
)
def test_a_reading_no_building_could_have_is_doubted(reading: Reading, doubtful: bool) -> None:
    assert bool(doubts(reading)) is doubtful
