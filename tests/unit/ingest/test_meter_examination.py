"""What a handful of readings says about a meter, in plain words."""

import pytest

from ingest.meter_examination import Sample, findings
from ingest.meter_reading import Reading
from ingest.modbus import LineCounters


def samples(*rows: tuple[int, int, int | None], serial: str | None = "42") -> list[Sample]:
    return [
        Sample(12, Reading(import_wh, export_wh, power_w, "01", serial=serial))
        for import_wh, export_wh, power_w in rows
    ]


@pytest.mark.parametrize(
    ("rows", "level", "words"),
    [
        ([(10, 5, 300), (20, 5, 280)], "good", "import of 280 W"),
        ([(10, 5, -300), (10, 6, -280)], "good", "export of 280 W"),
        ([(10, 5, -300), (20, 5, -280)], "problem", "swapped"),
        ([(10, 5, 300), (10, 6, 280)], "problem", "swapped"),
        ([(10, 5, 300), (10, 5, 280)], "hint", "too little energy"),
        ([(10, 5, 300), (20, 6, 280)], "hint", "both energies moved"),
        ([(10, 5, 300), (20, 5, -280)], "hint", "changed its sign"),
        ([(10, 5, None), (20, 5, None)], "hint", "tells no power"),
        ([(10, 5, 300), (9, 5, 280)], "problem", "went back"),
        ([(10, 5, 300), (10**12, 5, 280)], "problem", "more than a building's meter"),
    ],
)
def test_the_registers_are_judged_together(
    rows: list[tuple[int, int, int | None]], level: str, words: str
) -> None:
    found = findings(samples(*rows), LineCounters())
    assert [finding.level for finding in found if words in finding.text] == [level]


def test_a_meter_without_a_serial_number_is_noted() -> None:
    found = findings(samples((1, 1, 1), serial=None), LineCounters())
    assert any("no serial number" in finding.text for finding in found)


def test_failed_readings_are_a_problem_and_repeated_ones_a_hint() -> None:
    tried = [*samples((1, 1, 1)), Sample(1000, error="modbus-timeout: no answer")]
    found = findings(tried, LineCounters(timeouts=3, garbled=1))
    assert found[0].level == "problem"
    assert "1 of 2 readings failed: modbus-timeout" in found[0].text
    assert any("3 time-outs, 1 garbled" in finding.text for finding in found)
