"""The access log: who asked for what, kept append-only in the store, a second's requests at a time."""

import asyncio

import structlog

from api.http.principal import Principal
from ledger.clock import Clock
from ledger.errors import LedgerError
from ledger.postgres.access import AccessStore, Asked

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 1.0
WAITING_MAX = 50_000
PATH_LENGTH_MAX = 300


class AccessLog:
    """Notes requests as they end; `keep` writes them."""

    def __init__(self, store: AccessStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: list[Asked] = []

    def note(
        self, name: str, principal: Principal | None, method: str, path: str, status: int, seconds: float
    ) -> None:
        """One request. Where the store is gone for long, the oldest that wait are in the log of this process
        only, which tells of each as well."""
        asked = Asked(
            self._clock.now(), name, principal.prefix if principal else None,
            principal.role if principal else None, method, path.replace("\0", "")[:PATH_LENGTH_MAX], status,
            round(seconds * 1_000_000),
        )  # fmt: skip
        self._waiting.append(asked)
        if len(self._waiting) > WAITING_MAX:
            del self._waiting[: WAITING_MAX // 10]
        log.info(
            "request", method=method, path=asked.path, status=status, micros=asked.micros,
            key=asked.prefix, role=asked.role,
        )  # fmt: skip

    async def keep(self, stop: asyncio.Event) -> None:
        """Write what was noted until `stop` is set, then the rest."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(FLUSH_SECONDS):
                    await stop.wait()
            except TimeoutError:
                pass
            await self._flush()

    async def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        try:
            await self._store.log(batch)
        except LedgerError as error:
            log.warning("access log waits", code=error.code, requests=len(batch))
            self._waiting = batch + self._waiting
