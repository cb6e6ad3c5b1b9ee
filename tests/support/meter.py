"""One meter's readings folded in memory, with a history that answers as the projector's store does."""

from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from ledger.canonical import encode
from ledger.energy import Aside, Changes, MeterFold, MeterState, Reading
from ledger.events import RegisterEpochOpened
from ledger.gap import Interval, Mark, estimate, newest, oldest
from ledger.grid import Grid

MORNING = datetime(2026, 6, 1, tzinfo=UTC)
BANGKOK = "Asia/Bangkok"
METER = "m-1"

T = TypeVar("T")


def at(clock: str, day: int = 0) -> int:
    """`10:15` or `10:15:30` of the first day (or one after it), UTC, in seconds since 1970."""
    hours, minutes, seconds = (*map(int, clock.split(":")), 0)[:3]
    instant = MORNING + timedelta(days=day, hours=hours, minutes=minutes, seconds=seconds)
    return int(instant.timestamp())


def finish(waiting: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that never really waits."""
    try:
        waiting.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    waiting.close()
    raise AssertionError("it waits for something")


class FoldedMeter:
    """A meter whose readings are taken one by one, its gaps estimated at once, and what is said of it."""

    def __init__(
        self, *, minutes: int = 15, zone: str = BANGKOK, rated_w: int = 10_000, position: int = 0
    ) -> None:
        self.grid = Grid(minutes, zone)
        self.state = MeterState()
        self.rows: dict[int, Interval] = {}
        self.asides: list[Aside] = []
        self.rated_w = rated_w
        self._position = position
        self._changes = Changes()

    # --- what happens to it ------------------------------------------------------------------

    def read(
        self,
        instant: int,
        import_wh: int,
        export_wh: int = 0,
        *,
        serial: str | None = None,
        estimated: bool = False,
    ) -> None:
        """The next reading of the book."""
        reading = Reading(instant, import_wh, export_wh, self._position, serial, estimated)
        self._position += 1
        fold = self._fold()
        before = encode(self.state)
        if not fold.take(reading):
            assert (encode(self.state), self._changes) == (before, Changes()), "refused, so nothing changed"
            finish(fold.take_any(reading, self))
        self._flush()

    def read_all(self, readings: Sequence[tuple[int, int] | tuple[int, int, int]]) -> None:
        """More readings: (instant, import) or (instant, import, export)."""
        for reading in readings:
            self.read(*reading)

    def open_epoch(self, since: int, modulus_wh: int | None = None) -> None:
        """An operator's word."""
        event = RegisterEpochOpened(
            meter=METER,
            since=datetime.fromtimestamp(since, UTC),
            reason="rollover" if modulus_wh else "replacement",
            modulus_wh=modulus_wh,
        )
        self._position += 1
        finish(self._fold().note_opening(event, self._position - 1, self))
        self._flush()

    def _fold(self) -> MeterFold:
        return MeterFold(METER, self.state, self.rated_w, self.grid, self._changes)

    def _flush(self) -> None:
        """Write the rows so far, under the keys that the store's tables have."""
        for _, interval in self._changes.new:
            assert interval.start not in self.rows, "a new interval has no row yet"
            self.rows[interval.start] = interval
        for _, aside in self._changes.aside:
            assert (aside.position, aside.verdict) not in {(a.position, a.verdict) for a in self.asides}
            self.asides.append(aside)
        for gap in self._changes.gaps.pop(METER, ()):
            for interval in finish(estimate(METER, gap, self.grid, self)):
                self.rows[interval.start] = interval
        self._changes.new.clear()
        self._changes.aside.clear()

    # --- what is said of it --------------------------------------------------------------------

    @property
    def intervals(self) -> list[Interval]:
        """All intervals in order of time."""
        return [self.rows[start] for start in sorted(self.rows)]

    @property
    def imports(self) -> list[int]:
        """The imported energy of all intervals in order of time."""
        return [interval.import_wh for interval in self.intervals]

    @property
    def exports(self) -> list[int]:
        """The exported energy of all intervals in order of time."""
        return [interval.export_wh for interval in self.intervals]

    @property
    def qualities(self) -> str:
        """`m` or `e` an interval."""
        return "".join(interval.quality[0] for interval in self.intervals)

    @property
    def verdicts(self) -> list[tuple[str, str]]:
        """Verdict and reason of the readings put aside, as they came."""
        return [(aside.verdict, aside.reason) for aside in self.asides]

    # --- History, as sql/projection_mark_before.sql and its neighbours tell it ----------------------

    def _marks(self) -> list[Mark]:
        self._flush()
        ends = [
            Mark(
                i.start + self.grid.step,
                i.import_register_wh,
                i.export_register_wh,
                i.position,
                i.epoch,
                i.end_quality == "measured",
            )
            for i in self.rows.values()
            if i.end_quality != "spread"
        ]
        opened = [
            Mark(a.at, a.import_wh, a.export_wh, a.position, a.epoch, a.quality == "measured")
            for a in self.asides
            if a.verdict == "opened"
        ]
        return [*ends, *opened]

    async def mark_before(self, meter: str, instant: int) -> Mark | None:
        """The newest mark at or before `instant`."""
        return newest(*(mark for mark in self._marks() if mark.at <= instant))

    async def mark_after(self, meter: str, instant: int) -> Mark | None:
        """The oldest mark after `instant`."""
        return oldest(*(mark for mark in self._marks() if mark.at > instant))

    async def measured(
        self, meter: str, starts: Sequence[int], decided_by: int
    ) -> dict[int, tuple[int, int]]:
        """Import and export of those intervals that were measured, by start."""
        rows = [self.rows[start] for start in starts if start in self.rows]
        return {row.start: (row.import_wh, row.export_wh) for row in rows if row.quality == "measured"}
