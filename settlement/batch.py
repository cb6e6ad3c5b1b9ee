"""Some intervals, settled and made ready to be written: a pure function, so any process may do it."""

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, Self, TypeVar

from ledger.garbage import no_search_for_cycles
from ledger.settlement_rows import Posted, SettledRows
from settlement.interval import Rules
from settlement.journal import Posting
from settlement.making import maker
from settlement.market import Band
from settlement.offers import Metered
from settlement.run import Facts, SettledInterval, result_line, reversed_postings, settle_facts

D = TypeVar("D")

Drafting = Callable[[str, int, Sequence[SettledRows]], D]
"""What a store makes of the rows of a community's run before it writes them."""


WORTH_A_PROCESS = 200_000
"""Buildings times intervals: fewer are settled before another process has started."""


def is_worth_a_process(rows: int) -> bool:
    """Whether so many buildings times intervals are settled sooner with the help of another process."""
    return rows >= WORTH_A_PROCESS and (os.cpu_count() or 1) > 1


class Ready(NamedTuple):
    """An interval that can be settled: what is known of it, and by what."""

    facts: Facts
    rules: Rules
    band: Band


class Handed(NamedTuple):
    """What is ready, as another process takes it: what was metered in columns, since to hand over a tuple for
    each building costs a third of what it takes to settle it."""

    ready: Ready  # without what was metered
    metered: Sequence[tuple[Any, ...]]

    @classmethod
    def of(cls, ready: Ready) -> Self:
        """This, to be handed over."""
        facts = ready.facts
        return cls(ready._replace(facts=facts._replace(metered=())), [*zip(*facts.metered, strict=True)])

    def taken(self) -> Ready:
        """This, as it was."""
        metered = [*map(_metered, zip(*self.metered, strict=True))]
        return self.ready._replace(facts=self.ready.facts._replace(metered=metered))


_metered = maker(Metered)


class Batch(NamedTuple, Generic[D]):
    """What was made of intervals: rows to be written, and the lines that the run's digest takes."""

    draft: D
    lines: bytes


def settled_batch(drafted: Drafting[D], community: str, run: int, ready: Sequence[Ready]) -> Batch[D]:
    """Settle intervals for the first time."""
    with no_search_for_cycles():
        return batch_of(drafted, community, run, [(settle_facts(*each), ()) for each in ready])


def handed_batch(drafted: Drafting[D], community: str, run: int, handed: Sequence[Handed]) -> Batch[D]:
    """Settle what another process has handed over."""
    return settled_batch(drafted, community, run, [each.taken() for each in handed])


def batch_of(
    drafted: Drafting[D],
    community: str,
    run: int,
    settled: Sequence[tuple[SettledInterval, Sequence[Posting]]],
) -> Batch[D]:
    """Intervals as they were settled, each with what it reverses: what was posted for it before."""
    rows, lines = [], []
    for (start, trades, shares, made), before in settled:
        posted = posted_of(start, before, made)
        lines += lines_of(posted)
        rows.append(SettledRows(start, trades, shares, posted))
    return Batch(drafted(community, run, rows), b"".join(lines))


def posted_of(start: datetime, before: Sequence[Posting], after: Sequence[Posting]) -> list[Posted]:
    """What is posted in the place of what was posted before, which is reversed."""
    both = ((True, reversed_postings(before)), (False, after))
    return [Posted(start, is_reversal, made) for is_reversal, made in both if made]


def lines_of(posted: Sequence[Posted]) -> list[bytes]:
    """What the digest takes of it."""
    return [result_line(start, made, reversal=is_reversal) for start, is_reversal, made in posted]
