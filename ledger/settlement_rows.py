"""A community's settlement as rows, whoever keeps them: energies in, postings and runs out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from ledger.market_events import SettlementRun

Energy = tuple[str, int, int]
"""building, import_wh, export_wh"""

PostingRow = tuple[str, str, int, int]
"""kind, account, energy_milliwh, amount_micro"""


TradeRow = tuple[str, str, int, int, int, int, int, int, int]
"""seller, buyer, energy_milliwh, price_micro_per_kwh, amount_micro, wheeling_micro, loss_milliwh, loss_micro,
operator_micro"""

ShareRow = tuple[str, int, int, int]
"""building, share_milliwh, used_milliwh, residual_milliwh"""


class Posted(NamedTuple):
    """What a run posts for an interval, or for the month that begins at `start`."""

    start: datetime
    is_reversal: bool
    postings: Sequence[PostingRow]


class SettledRows(NamedTuple):
    """What a run makes of an interval."""

    start: datetime
    trades: Sequence[TradeRow]
    shares: Sequence[ShareRow]
    posted: Sequence[Posted]


class PostedRow(NamedTuple):
    """A sum of postings to one account: of a kind, in a direction, with the newest run among them."""

    kind: str
    took: bool  # whether the account took energy by them
    energy_milliwh: int
    amount_micro: int
    run: int


class RunRow(NamedTuple):
    """A run as the store keeps it."""

    number: int
    kind: Literal["provisional", "final", "revised"]
    begin: datetime
    until: datetime
    tree_size: int
    root: bytes
    rules: bytes
    result: bytes
    settled: int
    revised: int

    def event(self) -> SettlementRun:
        """The run as the book records it."""
        return SettlementRun(
            number=self.number,
            kind=self.kind,
            begin=self.begin,
            until=self.until,
            tree_size=self.tree_size,
            root=self.root.hex(),
            rules=self.rules.hex(),
            result=self.result.hex(),
            settled=self.settled,
            revised=self.revised,
        )


class Standing(NamedTuple):
    """Where the settlement of a community stands."""

    number: int | None  # of the newest run
    settled_until: datetime | None
    final_until: datetime | None
    tree_size: int | None

    def is_closed(self, until: datetime) -> bool:
        """Whether the month that ends at an instant is settled for good."""
        return self.final_until is not None and self.final_until >= until
