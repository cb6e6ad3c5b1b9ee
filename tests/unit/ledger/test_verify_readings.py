"""Implausible readings are warnings: the book that holds them is authentic all the same."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.events import AnyEvent, MeterRead, RegisterEpochOpened
from ledger.registry import OPERATOR
from ledger.verify import verify_file
from ledger.verify.report import PLAUSIBILITY
from tests.unit.ledger.campus import reading
from tests.unit.ledger.memory_ledger import open_ledger, write_book


def plausibility(tmp_path: Path, *events: MeterRead, before: list[AnyEvent] | None = None) -> list[str]:
    """What is odd about readings of m-1, sent one by one and again as one run; the book is verified."""
    told = []
    for number, groups in enumerate(([[event] for event in events], [list(events)])):
        ledger = open_ledger()
        if before:
            ledger.send(OPERATOR, {"registry": before})
        for group in groups:
            ledger.send("gw-1", {"meter/m-1": group})
        report = verify_file(write_book(ledger, tmp_path / f"{number}.jsonl"))
        assert report.verified
        verdict = report.verdicts[PLAUSIBILITY - 1]
        assert verdict.status == ("warnings" if verdict.findings else "pass")
        told.append([f"{finding.sequence}: {finding.what}" for finding in verdict.findings])
    assert told[0] == told[1]
    return told[0]


def changed(quarter: int, **fields: Any) -> MeterRead:
    return msgspec.structs.replace(reading(quarter), **fields)


def test_readings_that_follow_each_other_are_plausible(tmp_path: Path) -> None:
    assert plausibility(tmp_path, reading(1), reading(2), reading(9)) == []


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (changed(2, import_wh=1_000_000), "a register went back"),
        (changed(2, import_wh=0), "both registers fell to zero"),
        (changed(2, import_wh=1_000_250 + 21_701), "more energy than the connection can carry"),
        (changed(1, import_wh=1_000_251), "measured at the same instant as the reading before it"),
        (changed(0), "measured earlier than the reading before it"),
    ],
)
def test_an_implausible_reading_is_a_warning_and_the_book_is_verified_all_the_same(
    tmp_path: Path, odd: MeterRead, why: str
) -> None:
    assert plausibility(tmp_path, reading(1), odd)[0] == f"2: {why}"


def test_a_new_register_epoch_excuses_what_follows(tmp_path: Path) -> None:
    since = reading(2).measured_at
    opened = RegisterEpochOpened(meter="m-1", since=since, reason="replacement")
    zero = changed(2, import_wh=0)
    assert plausibility(tmp_path, reading(1), zero, changed(3, import_wh=5), before=[opened]) == []
    assert plausibility(tmp_path, reading(1), changed(1, import_wh=0), before=[opened]) != []


def test_another_serial_number_excuses_what_follows(tmp_path: Path) -> None:
    first, second = changed(1, serial="one"), changed(2, serial="two", import_wh=0)
    assert plausibility(tmp_path, first, second, changed(3, import_wh=7)) == []
    assert plausibility(tmp_path, first, changed(2), changed(3, serial="two", import_wh=0)) == []
    assert plausibility(tmp_path, first, changed(2, serial="one", import_wh=0)) != []
