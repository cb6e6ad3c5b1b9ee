"""The listing of what was refused."""

import re
from datetime import UTC, datetime
from typing import Any

from ledger import admission
from ledger.quarantine import RESOLVED, WHAT_TO_DO, listing, what_to_do

AT = datetime(2026, 6, 1, tzinfo=UTC)
LATER = datetime(2026, 6, 2, tzinfo=UTC)


def row(code: str, **changes: Any) -> dict[str, Any]:
    plain = {
        "code": code,
        "device": "gw-1",
        "stream": "meter/m-1",
        "sequence": 7,
        "what": "odd",
        "last_at": AT,
        "times": 1,
        "resolved_at": None,
        "resolution": None,
        "refused_as": None,
    }
    return plain | changes


def test_every_code_of_admission_has_its_one_line_of_what_to_do() -> None:
    table = (admission.__doc__ or "").split("\n\n")[2]
    codes = set(
        re.findall(
            r"^\s+(?:examine|place|apply)?\s+([a-z]+-[a-z]+|malformed|fork|contradiction) ", table, re.M
        )
    )
    assert set(WHAT_TO_DO) == codes
    assert all("\n" not in line and len(line) < 100 for line in WHAT_TO_DO.values())


def test_what_calls_for_the_same_stands_together_under_its_advice_once() -> None:
    rows = [
        row("clock-skew"),
        row("unknown-device", stream=None, sequence=None, times=1_200, what="not enrolled (gw-2)"),
        row("clock-skew", sequence=8, last_at=LATER),
    ]
    assert listing(rows) == [
        "clock-skew, 2 messages",
        f"  what to do: {WHAT_TO_DO['clock-skew']}",
        "  2026-06-01T00:00:00Z gw-1 meter/m-1 7: odd",
        "  2026-06-02T00:00:00Z gw-1 meter/m-1 8: odd",
        "unknown-device, 1 message",
        f"  what to do: {WHAT_TO_DO['unknown-device']}",
        "  2026-06-01T00:00:00Z gw-1, 1,200 times: not enrolled (gw-2)",
    ]


def test_what_was_recorded_after_all_calls_for_nothing_and_stands_apart() -> None:
    rows = [row("sequence-gap"), row("sequence-gap", resolved_at=LATER)]
    waiting, resolved = map(what_to_do, rows)
    assert "wait" in waiting
    assert resolved == "nothing: it was recorded after all"
    assert [line for line in listing(rows) if "message" in line] == ["sequence-gap, 1 message"] * 2


def test_what_was_judged_again_and_refused_with_another_code_is_told_so_and_not_as_recorded() -> None:
    for resolution in (None, "released"):
        told = what_to_do(row("sequence-gap", resolved_at=LATER, resolution=resolution, refused_as="fork"))
        assert told == "nothing here: it was judged again and refused with `fork`, under which it stands"
    waiting = row("sequence-gap", refused_as="fork")
    assert what_to_do(waiting) == WHAT_TO_DO["sequence-gap"], "it waits nevertheless"
    rejected = row("sequence-gap", resolved_at=LATER, resolution="rejected", refused_as="fork")
    assert what_to_do(rejected) == RESOLVED["rejected"]


def test_a_code_of_another_version_is_listed_too() -> None:
    assert "newer version" in listing([row("unheard-of")])[1]
