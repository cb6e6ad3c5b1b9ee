"""The access log: who asked for what, kept append-only in the store, a second's requests at a time."""

import asyncio
from datetime import datetime, timedelta
from http import HTTPStatus

import structlog

from api.http.principal import Principal
from ledger.access import without_secrets
from ledger.clock import Clock
from ledger.errors import LedgerError, Unavailable
from ledger.postgres.access import AccessStore, Asked

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 1.0
FORGET_EVERY = timedelta(hours=1)
WAITING_MAX = 50_000
PATH_LENGTH_MAX = 300
HAS_DONE = "has_done"
"""Where the state of a request says that it changed something although nobody showed a key."""


class AccessLog:
    """Notes requests as they end; `keep` writes them."""

    def __init__(self, store: AccessStore, clock: Clock, months: int) -> None:
        self._store = store
        self._clock = clock
        self._months = months
        self._looked_at: datetime | None = None
        self._waiting: list[Asked] = []
        self._log = log.bind()  # the library would make a new one for each line

    def note(
        self, name: str, principal: Principal | None, method: str, path: str, status: int, seconds: float,
        *, has_done: bool = False,
    ) -> None:  # fmt: skip
        """One request. Where the store is gone for long, the oldest that wait are in the log of this process
        only, which tells of each as well. Those that were refused for their number, and those of strangers,
        are counted by the metrics alone, or whoever sends them could fill the disk: but for what has done
        something, as who holds a token for a device may. A device's envelopes are in the book, or in
        quarantine."""
        if status == HTTPStatus.TOO_MANY_REQUESTS or (principal is None and not has_done):
            return
        asked = Asked(
            self._clock.now(), name, principal.prefix if principal else None,
            principal.role if principal else None, method, _shown(path), status,
            round(seconds * 1_000_000),
        )  # fmt: skip
        self._waiting.append(asked)
        if len(self._waiting) > WAITING_MAX:
            del self._waiting[: WAITING_MAX // 10]
        self._log.info(
            "request", method=method, path=asked.path, status=status, micros=asked.micros,
            key=asked.prefix, role=asked.role,
        )  # fmt: skip

    async def keep(self, stop: asyncio.Event) -> None:
        """Write what was noted until `stop` is set, then the rest; let go of months that are old."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(FLUSH_SECONDS):
                    await stop.wait()
            except TimeoutError:
                pass
            await self._flush()
            await self._forget()

    async def _forget(self) -> None:
        now = self._clock.now()
        if self._looked_at is not None and now - self._looked_at < FORGET_EVERY:
            return
        self._looked_at = now
        try:
            if dropped := await self._store.drop_months(now, self._months):
                log.info("months of the access log were dropped", months=dropped)
        except LedgerError as error:
            log.warning("old months of the access log stay for now", code=error.code)
        except Exception as error:  # whatever it is, requests are noted on
            log.error("old months of the access log stay for now", exc_info=error)

    async def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        try:
            await self._store.log(batch)
        except Unavailable as error:
            log.warning("access log waits", code=error.code, requests=len(batch))
            self._waiting = batch + self._waiting
        except Exception as error:  # they would fail again: the log of this process has them, and goes on
            log.error("requests are not in the access log", requests=len(batch), exc_info=error)


def _shown(path: str) -> str:
    """A path as it is kept: on one line, and without the secret of a key that somebody has put into it."""
    printable = path[:2_000]
    if not printable.isprintable():
        printable = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in printable)
    return without_secrets(printable)[:PATH_LENGTH_MAX]
