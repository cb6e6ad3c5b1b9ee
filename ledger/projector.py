"""The projector: applies the book to the projections by position, exactly once, and never skips.

A page of events, the rows that follow from it and the next position are one transaction. An event that
cannot be applied stops its community there, with the position and the reason, until a person has looked.
Rebuilding runs the same code into a schema beside the live one and swaps the names, so it gives the same
bytes.
"""

import asyncio
from collections.abc import Callable

import structlog

from ledger.community_projector import PAGE_EVENTS, VERSION, CommunityProjector
from ledger.errors import Damaged, Unavailable
from ledger.postgres.connection import PostgresSettings
from ledger.postgres.projection import NEXT, ProjectionStore
from ledger.stopping import BrokenOff, unless_stopped

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5


class NewerProjections(Damaged):
    """The projections were made by a newer version of the rules than this program has."""

    code = "newer-projections"


class Projector:
    """Follows the books of all communities of one store."""

    def __init__(self, settings: PostgresSettings, poll_seconds: float = 0.2) -> None:
        self._settings = settings
        self._poll_seconds = poll_seconds
        self._projectors: dict[str, CommunityProjector] = {}
        self._store: ProjectionStore | None = None
        self.stopped: dict[str, Damaged] = {}

    async def open(self) -> None:
        """Connect, and make or rebuild the projections where they are missing or of an older version.

        Raises `StoreUnavailable`, `RebuildUnderWay`, and `NewerProjections` for those of a newer version.
        """
        await self._opened()

    async def _opened(self) -> ProjectionStore:
        if self._store is None:
            store = await ProjectionStore.open(self._settings)
            try:
                version = await store.prepare_live(VERSION)
                if version > VERSION:
                    raise NewerProjections(
                        f"the projections are of version {version}, this program makes version {VERSION}",
                        hint="run the newer version of the program, or rebuild with this one on purpose",
                    )
                if version < VERSION:
                    log.warning("projections are of an older version, rebuilding", version=version)
                    await rebuild(self._settings)
            except BaseException:
                await store.close()
                raise
            self._store = store
        return self._store

    async def close(self) -> None:
        """Leave the store."""
        self._projectors.clear()
        if self._store is not None:
            await self._store.close()
            self._store = None

    async def catch_up(self) -> int:
        """Apply all that the books hold by now; returns how many events that was."""
        applied = 0
        while count := await self.advance():
            applied += count
        return applied

    async def advance(self) -> int:
        """Apply the next page of every book that is ahead; returns how many events that was.

        A community whose next event cannot be applied is stopped, and the others go on.
        """
        store = await self._opened()
        applied = 0
        for community in await store.behind():
            if community in self.stopped:
                continue
            projector = self._projectors.setdefault(community, CommunityProjector(community, store))
            try:
                applied += await projector.step()
            except Damaged as error:
                log.error("projection stopped", community=community, what=error.what, where=error.where)
                self.stopped[community] = error
        return applied

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until `stop` is set. A store that goes away is waited for.

        A page that takes long is broken off then: nothing of it is kept, and the next start begins it anew.
        """
        while not stop.is_set():
            try:
                applied = await unless_stopped(self.advance(), stop)
            except BrokenOff:
                log.warning(
                    "projector stopped within a page: it is rolled back, and applied at the next start"
                )
                break
            except Unavailable as error:
                log.warning("projector waits for the store", code=error.code, detail=error.what)
                await self.close()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if not applied:
                await asyncio.sleep(self._poll_seconds)
        await self.close()


async def rebuild(
    settings: PostgresSettings, progress: Callable[[str, int, int], None] | None = None
) -> dict[str, int]:
    """Build all projections anew beside the live ones, then swap. Returns events applied by community.

    `progress(community, applied, of)` is called after every page. Raises `CannotApply` or `RebuildUnderWay`:
    then the live projections stay as they are.
    """
    store = await ProjectionStore.open(settings, NEXT)
    try:
        await store.prepare_next(VERSION)
        projectors: dict[str, CommunityProjector] = {}
        applied = PAGE_EVENTS
        while applied >= PAGE_EVENTS:  # what comes while the last pages are applied is left to who follows
            applied = 0
            for name in await store.behind():
                projector = projectors.setdefault(name, CommunityProjector(name, store))
                applied += await projector.step()
                if progress is not None:
                    progress(name, projector.position, max(await store.size(name), projector.position))
        await store.swap()
        return {name: projector.position for name, projector in projectors.items()}
    finally:
        await store.close()
