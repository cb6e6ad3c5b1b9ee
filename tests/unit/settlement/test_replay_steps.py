"""Which runs of a book were made in one go: they are recomputed together."""

import pytest

from ledger.market_events import SettlementRun
from ledger.verify.report import Place
from settlement.replay.replay import steps
from settlement.replay.told import ToldRun
from tests.support.campus import MORNING


def told(kind: str, size: int) -> ToldRun:
    run = SettlementRun(
        number=1, kind=kind, begin=MORNING, until=MORNING, tree_size=size, root="", rules="", result="",
        settled=0,
    )  # type: ignore[arg-type]  # fmt: skip
    return ToldRun(run, Place(), size)


@pytest.mark.parametrize(
    ("runs", "made"),
    [
        ([], []),
        ([("provisional", 5), ("provisional", 6)], [1, 1]),
        ([("provisional", 5), ("provisional", 5)], [1, 1]),
        ([("revised", 5), ("provisional", 5)], [2]),
        ([("revised", 5), ("provisional", 6)], [1, 1]),
        ([("provisional", 5), ("revised", 5), ("provisional", 5)], [1, 2]),
        ([("revised", 5), ("revised", 5), ("provisional", 5)], [1, 2]),
    ],
)
def test_a_revised_run_goes_with_the_next_one_of_the_same_size(
    runs: list[tuple[str, int]], made: list[int]
) -> None:
    assert [len(step) for step in steps(told(*run) for run in runs)] == made
