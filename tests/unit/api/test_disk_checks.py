"""The disk is told of before it is full."""

from pathlib import Path
from typing import NamedTuple

import pytest

from api.disk_checks import disk_finding

GIB = 2**30


class Usage(NamedTuple):
    """As `shutil.disk_usage` says it."""

    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("free", "verdict"),
    [(0, "wrong"), (2 * GIB - 1, "wrong"), (2 * GIB, "odd"), (5 * GIB - 1, "odd"), (5 * GIB, "well")],
)
def test_a_disk_is_told_of_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: str
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(16 * GIB, 16 * GIB - free, free))
    found = disk_finding(tmp_path / "not" / "made")
    assert found.verdict == verdict
    assert f"of 16,384 MiB free under {tmp_path}" in found.found
    assert (found.hint != "") == (verdict != "well")
