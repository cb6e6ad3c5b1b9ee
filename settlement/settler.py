"""The settler: settles what has closed, settles again what has changed, and records each run in the book.

    one state of the store -> runs (`settlement.settling`), their rows committed -> settlement-run

The rows come first, the event after. If the program ends between the two, the next step finds a run that the
book does not have and records it before it does anything else; so every run is recorded exactly once.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from ledger.clock import Clock, rfc3339
from ledger.market_events import SettlementRun
from ledger.postgres.settlement import SettlementStore
from settlement.book_state import BookState
from settlement.settling import settle_due

log = structlog.get_logger(__name__)

Record = Callable[[SettlementRun], Awaitable[None]]
"""Appends a run to the book, and returns when the book has it."""


class Settler:
    """Settles one community. Only one may run at a time: two would number the same run."""

    def __init__(
        self, community: str, store: SettlementStore, record: Record, clock: Clock, grace: timedelta
    ) -> None:
        self._community = community
        self._store = store
        self._record = record
        self._clock = clock
        self._grace = grace
        self._book = BookState(community, store)
        self.is_behind = False
        """Whether the last step left something that had closed for the next one."""

    async def step(self, most: int | None = None) -> list[SettlementRun]:
        """Settle what there is to settle by now, of what is new about `most` intervals; the runs that were
        made. Whoever is cancelled leaves a run whole, or nothing of it.

        Raises `StoreUnavailable`, and `NoPrice` for what a tariff lacks: then nothing was posted.
        """
        book = self._book
        async with self._store.transaction(self._community) as size:
            await book.follow(size)
            runs = await self._store.runs_after(self._community, book.recorded)
            self.is_behind = bool(runs)
            if not runs and book.registry.opened is not None:
                until = book.grid.floor(self._clock.now() - self._grace)
                runs = await settle_due(self._store, book, size, until, may_share=True, most=most)
                self.is_behind = any(run.kind == "provisional" and run.until < until for run in runs)
        events = [run.event() for run in runs]
        for event in events:
            await self._record(event)
            book.recorded = event.number
            log.info(
                "settled", community=self._community, run=event.number, kind=event.kind,
                until=rfc3339(event.until), intervals=event.settled, revised=event.revised,
            )  # fmt: skip
        return events
