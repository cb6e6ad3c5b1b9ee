"""The projector: applies the book to the projections by position, exactly once, and never skips.

A page of events, the rows that follow from it and the next position are one transaction. An event that
cannot be applied stops its community there, with the position and the reason, until a person has looked.
Rebuilding runs the same code into a schema beside the live one and swaps the names, so it gives the same
bytes.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import structlog

from ledger.canonical import encode
from ledger.energy import Changes, MeterFold, MeterState, Reading
from ledger.entry import stream_kind, stream_subject
from ledger.errors import BadInput, Damaged, Unavailable
from ledger.events import (
    AnyEvent,
    CommunityOpened,
    MeterRead,
    RegisterEpochOpened,
    read_recorded,
)
from ledger.gap import Gap, Gaps, Interval, Mark, estimate, newest, oldest
from ledger.grid import Grid
from ledger.postgres.connection import PostgresSettings
from ledger.postgres.projection import NEXT, ProjectionStore
from ledger.projection_rows import ROWS
from ledger.projections import Projections
from ledger.recorded import EventRow, RecordedEvent
from ledger.registry import Registry

log = structlog.get_logger(__name__)

VERSION = 3
"""Of the rules: projections made by another version are rebuilt before they are used."""

PAGE_EVENTS = 10_000
ESTIMATES_MAX = 50_000
"""Estimated intervals in memory before they are written: one reading may end a gap of years."""
STATES_REMEMBERED_MAX = 100_000
RETRY_SECONDS = 0.5

_decode_state = msgspec.json.Decoder(MeterState).decode


class CannotApply(Damaged):
    """An event of the book does not fit the projections. Nothing after it is applied."""

    code = "cannot-apply"

    def __init__(self, what: str, at: RecordedEvent) -> None:
        super().__init__(what, where=f"position {at.position}, {at.stream} {at.sequence}")
        self.position = at.position


class NewerProjections(Damaged):
    """The projections were made by a newer version of the rules than this program has."""

    code = "newer-projections"


class CommunityProjector:
    """Projects one community into one schema. Remembers states as long as nobody else moved the position."""

    def __init__(self, community: str, store: Projections) -> None:
        self.community = community
        self.position = -1
        self._begin = 0  # of the page
        self._store = store
        self._registry = Registry(community)
        self._states: dict[str, MeterState] = {}
        self._grid: Grid | None = None
        self._touched: set[str] = set()
        self._changes = Changes()

    async def step(self, page_events: int = PAGE_EVENTS) -> int:
        """Apply the next page; returns how many events it had.

        Raises `StoreUnavailable`, `OtherRules`, and `CannotApply`: then what stands before that event in the
        page has been applied.
        """
        try:
            return await self._step(page_events)
        except CannotApply as error:
            self.position = -1
            if error.position > self._begin:
                await self._step(error.position - self._begin)
            raise
        except BaseException:
            self.position = -1  # what is remembered may be ahead of what was committed
            raise

    async def _step(self, page_events: int) -> int:
        async with self._store.transaction(self.community, VERSION) as position:
            self._begin = position
            if position != self.position:
                await self._forget(position)
            events = await self._store.events(self.community, position, position + page_events)
            if events:
                await self._apply(events)
                await self._flush()
                await self._estimate_gaps()
                await self._write_states()
                await self._store.move(self.community, position + len(events))
        self.position = position + len(events)
        return len(events)

    async def _forget(self, position: int) -> None:
        """Start from what the store has."""
        self._registry = Registry(self.community)
        self._states, self._grid = {}, None
        self._changes, self._touched = Changes(), set()
        for event in read_recorded(await self._store.registry_bodies(self.community, position)):
            self._registry.apply(event)
        if self._registry.opened is not None:
            self._grid = Grid.of(self._registry.opened)

    async def _apply(self, rows: Sequence[EventRow]) -> None:
        events = _read_page(rows)
        streams = {row[1] for row in rows}
        if len(self._states) > STATES_REMEMBERED_MAX:
            self._states.clear()
        await self._load_states({stream_subject(name) for name in streams if stream_kind(name) == "meter"})
        folds: dict[str, MeterFold] = {}
        for (position, stream, sequence, body), event in zip(rows, events, strict=True):
            if type(event) is not MeterRead:
                folds.clear()  # ratings and epochs may have changed
                await self._apply_other(RecordedEvent(position, stream, sequence, body), event)
                continue
            fold = folds.get(stream)
            if fold is None:
                fold = folds[stream] = self._fold(
                    stream_subject(stream), RecordedEvent(position, stream, sequence, body)
                )
            reading = Reading(
                int(event.measured_at.timestamp()), event.import_wh, event.export_wh, position,
                event.serial, event.quality == "estimated",
            )  # fmt: skip
            if fold.take(reading):
                continue
            try:
                await fold.take_any(reading, self)
            except (ArithmeticError, LookupError, ValueError) as error:
                at = RecordedEvent(position, stream, sequence, body)
                raise CannotApply(f"the rules fail on this reading: {error}", at) from error

    def _fold(self, name: str, at: RecordedEvent) -> MeterFold:
        meter = self._registry.meters.get(name)
        if meter is None or self._grid is None:
            raise CannotApply("the registry does not know this meter", at)
        self._touched.add(name)
        state = self._states.setdefault(name, MeterState())
        return MeterFold(name, state, meter.added.rated_w, self._grid, self._changes)

    async def _apply_other(self, at: RecordedEvent, event: AnyEvent) -> None:
        rows_of = ROWS.get(type(event))
        if rows_of is None:
            raise CannotApply("no projection knows what to do with this event", at)
        try:
            self._registry.apply(event)
            for statement, values in rows_of(self._registry, at, event):
                await self._store.put(statement, self.community, *values)
            match event:
                case CommunityOpened():
                    self._grid = Grid.of(event)
                case RegisterEpochOpened():
                    await self._load_states({event.meter})
                    await self._fold(event.meter, at).note_opening(event, at.position, self)
        except BadInput as error:
            raise CannotApply(f"{error.code}: {error.what}", at) from error

    # --- states and rows -------------------------------------------------------------------

    async def _load_states(self, meters: set[str]) -> None:
        missing = [meter for meter in meters if meter not in self._states]
        if missing:
            found = await self._store.states(self.community, missing)
            self._states.update({meter: _decode_state(state) for meter, state in found.items()})

    async def _write_states(self) -> None:
        if self._touched:
            states = {meter: encode(self._states[meter]) for meter in sorted(self._touched)}
            await self._store.write_states(self.community, states)
        self._touched = set()

    async def _flush(self) -> None:
        """Write the rows so far, so that history shows them."""
        changes = self._changes
        if changes.new:
            await self._store.add_intervals(self.community, changes.new)
            changes.new.clear()
        if changes.aside:
            await self._store.add_asides(self.community, changes.aside)
            changes.aside.clear()

    async def _estimate_gaps(self) -> None:
        """Write the intervals of the gaps that the page left.

        Short ones first: an interval that was measured late may give a long gap of the same page its shape.
        """
        gaps = [(meter, gap) for meter, gaps in self._changes.gaps.items() for gap in gaps]
        self._changes.gaps.clear()
        await self._write_gaps([each for each in gaps if each[1].is_linear])
        await self._write_gaps([each for each in gaps if not each[1].is_linear])

    async def _write_gaps(self, gaps: Sequence[tuple[str, Gap]]) -> None:
        if not gaps:
            return
        assert self._grid is not None  # noqa: S101 - readings are folded on a grid
        await self._store.clear_gaps(self.community, gaps)
        rows: list[tuple[str, Interval]] = []
        for meter, gap in gaps:
            rows += [(meter, row) for row in await estimate(meter, gap, self._grid, self)]
            if len(rows) > ESTIMATES_MAX:
                await self._store.add_intervals(self.community, rows)
                rows.clear()
        await self._store.add_intervals(self.community, rows)

    # --- what the fold may ask (ledger.energy.History) --------------------------------------------

    async def mark_before(self, meter: str, at: int) -> Mark | None:
        """The newest mark at or before `at`."""
        return newest(await self._mark("before", meter, at), self._gaps(meter).mark_before(at))

    async def mark_after(self, meter: str, at: int) -> Mark | None:
        """The oldest mark after `at`."""
        return oldest(await self._mark("after", meter, at), self._gaps(meter).mark_after(at))

    def _gaps(self, meter: str) -> Gaps:
        return self._changes.gaps.get(meter, Gaps())

    async def _mark(self, which: str, meter: str, at: int) -> Mark | None:
        await self._flush()
        assert self._grid is not None  # noqa: S101 - readings are folded on a grid
        return await self._store.mark(which, self.community, meter, at, self._grid.step)

    # --- what an estimate may ask (ledger.gap.Measurements) ------------------------------------------

    async def measured(
        self, meter: str, starts: Sequence[int], decided_by: int
    ) -> dict[int, tuple[int, int]]:
        """The energy of those intervals that the events up to `decided_by` measured."""
        return await self._store.measured(self.community, meter, starts, decided_by)


def _read_page(rows: Sequence[EventRow]) -> Sequence[AnyEvent]:
    """The events of a page. Raises `CannotApply` for the first that this program does not know."""
    try:
        return read_recorded([row[3] for row in rows])
    except BadInput:
        for row in rows:
            try:
                read_recorded([row[3]])
            except BadInput as error:
                raise CannotApply(error.what, RecordedEvent(*row)) from error
        raise


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
        """Follow until `stop` is set. A store that goes away is waited for."""
        while not stop.is_set():
            try:
                applied = await self.advance()
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
