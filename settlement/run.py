"""A settlement run, as pure functions: from the facts of an interval to its postings, and to their digest.

The digest is SHA-256 over one line a settled interval, in order of time, each canonical JSON and a newline:

    {"postings":[[kind,account,energy_milliwh,amount_micro],..],"reversal":false,"start":"2026-06-01T00:15:00Z"}

A revised interval has two lines: the reversal of what was posted before, then what takes its place.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from ledger.canonical import encode
from ledger.clock import rfc3339
from ledger.settlement_rows import PostingRow
from settlement.agreements import Agreement
from settlement.delivery import Delivery, reconcile
from settlement.interval import Rules, settle
from settlement.journal import Posting
from settlement.market import Band, Share, Trade
from settlement.offers import Metered, Order

Kind = Literal["provisional", "final", "revised"]


class Facts(NamedTuple):
    """What is known of an interval: what was metered, what was ordered and agreed."""

    start: datetime
    metered: Sequence[Metered]
    delivery: Delivery | None  # none where a main meter is missing
    orders: dict[str, list[Order]]
    agreements: Sequence[Agreement]


class SettledInterval(NamedTuple):
    """What became of it."""

    start: datetime
    trades: list[Trade]
    shares: list[Share]
    postings: list[Posting]


def settle_facts(facts: Facts, rules: Rules, band: Band) -> SettledInterval:
    """Settle one interval of the book by the rules and the grid's prices that hold in it."""
    settled = settle(rules, band, facts.metered, facts.orders, facts.agreements)
    found = settled.journal()
    if facts.delivery is not None:
        found += reconcile(facts.delivery, band, sorted(facts.metered), settled.trades, settled.residuals)
    return SettledInterval(facts.start, settled.trades, settled.shares, found)


def reversed_postings(postings: Sequence[Posting]) -> list[Posting]:
    """The postings that undo these."""
    return [Posting(kind, account, -energy, -amount) for kind, account, energy, amount in postings]


def result_line(start: datetime, postings: Sequence[PostingRow], *, reversal: bool) -> bytes:
    """What the digest of a run's result takes of an interval."""
    return encode({"postings": postings, "reversal": reversal, "start": rfc3339(start)}) + b"\n"
