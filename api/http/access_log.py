"""The access log: who asked for what, kept append-only in the store, a second's requests at a time."""

import asyncio
from http import HTTPStatus

import structlog

from api.http.principal import Principal
from ledger.access import without_secrets
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
        only, which tells of each as well. Those that were refused for their number are counted by the
        metrics alone, or whoever sends them could fill the disk."""
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return
        asked = Asked(
            self._clock.now(), name, principal.prefix if principal else None,
            principal.role if principal else None, method, _shown(path), status,
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


def _shown(path: str) -> str:
    """A path as it is kept: on one line, and without the secret of a key that somebody has put into it."""
    printable = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in path[:2_000])
    return without_secrets(printable)[:PATH_LENGTH_MAX]
