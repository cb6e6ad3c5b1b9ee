"""How one community's book becomes projections: event by event, page by page, whatever store keeps them.

What follows from a page does not depend on how the book is cut into pages. An event that cannot be applied
stops its community there.
"""

from collections.abc import Sequence

import msgspec

from ledger.canonical import encode
from ledger.energy import Changes, MeterFold, MeterState, Reading
from ledger.entry import stream_kind, stream_subject
from ledger.errors import BadInput, Damaged
from ledger.events import AnyEvent, CommunityOpened, MeterRead, RegisterEpochOpened, read_recorded
from ledger.gap import INTERVALS_AT_ONCE, Gap, Gaps, Interval, Mark, estimate, newest, oldest
from ledger.grid import Grid
from ledger.projection_rows import ROWS
from ledger.projections import Projections
from ledger.recorded import EventRow, RecordedEvent
from ledger.registry import Registry

VERSION = 7
"""Of the rules: projections made by another version are rebuilt before they are used."""

PAGE_EVENTS = 10_000
STATES_REMEMBERED_MAX = 100_000

_decode_state = msgspec.json.Decoder(MeterState).decode


class CannotApply(Damaged):
    """An event of the book does not fit the projections. Nothing after it is applied."""

    code = "cannot-apply"

    def __init__(self, what: str, at: RecordedEvent) -> None:
        super().__init__(what, where=f"position {at.position}, {at.stream} {at.sequence}")
        self.position = at.position


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
        """Write the intervals of gaps, a few at a time: between them others in this process have a turn."""
        if not gaps:
            return
        assert self._grid is not None  # noqa: S101 - readings are folded on a grid
        await self._store.clear_gaps(self.community, gaps)
        rows: list[tuple[str, Interval]] = []
        for meter, gap in gaps:
            for row in await estimate(meter, gap, self._grid, self):
                rows.append((meter, row))
                if len(rows) == INTERVALS_AT_ONCE:
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
