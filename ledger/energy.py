"""From registers to the energy of intervals: one meter's readings folded in the order of the book.

A reading taken within a tenth of an interval of a boundary tells the registers *at* that boundary. The
energy of an interval is the difference of the registers at its ends, so whatever is estimated in between,
the sum over a gap is exactly what the register says flowed:

    boundary   10:00    10:15    10:30    10:45        registers at 10:15 and 10:30 are estimated,
    register   1000     (1100)   (1200)   1300         the three differences sum to 300 Wh

- A reading that cannot follow the last one (see `ledger.plausibility`) is held: no energy is derived from
  it and nothing is rebased. A later reading that fits the last accepted one simply goes on from there.
- A new register epoch opens when four held readings in a row are consistent with each other and have
  moved, when the meter tells another serial number, when an operator says so, or after a silence that is
  too long to be a gap (`ledger.gap`). No energy is invented across epochs, except for a rollover, where the
  operator gives the modulus. The reading that opens one stands aside with its reason and its registers.
- A late reading replaces the estimates around it.
- What lies between two marks that are not neighbours is a gap, and `ledger.gap` estimates it.

All of it is integers: whole seconds since 1970 (UTC) and watt-hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, starmap
from typing import Literal, NamedTuple, Protocol

import msgspec

from ledger.events import RegisterEpochOpened
from ledger.gap import LINEAR, Gap, Gaps, Interval, Mark, Quality, can_be_joined, intervals
from ledger.grid import Grid
from ledger.plausibility import energy_max_wh, fault

CONSISTENT_READINGS = 4

SAME_INSTANT = "same-instant-other-value"
OFF_BOUNDARY = "off-boundary"
EPOCH_SERIAL = "serial-changed"
EPOCH_CONSISTENT = "consistent-readings"
EPOCH_FIRST = "first-reading"
GAP_TOO_LONG = "gap-too-long"


class Reading(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A reading as the book has it; `position` is its event's place in the log."""

    at: int
    import_wh: int
    export_wh: int
    position: int
    serial: str | None = None
    estimated: bool = False


Verdict = Literal["opened", "held", "between"]


class Aside(NamedTuple):
    """A reading that ended no interval: the first of an epoch, held, or taken between boundaries."""

    position: int
    at: int
    import_wh: int
    export_wh: int
    verdict: Verdict
    reason: str
    epoch: int
    quality: Quality


class Opening(msgspec.Struct, frozen=True, array_like=True):
    """Registers start anew with the first reading from `since` on."""

    since: int
    modulus_wh: int | None
    reason: str


class MeterState(msgspec.Struct):
    """What the fold remembers of one meter."""

    epoch: int = 0
    serial: str | None = None
    last: Mark | None = None
    last_read_at: int = 0  # when `last` was really read
    held: list[Reading] = msgspec.field(default_factory=list)
    openings: list[Opening] = msgspec.field(default_factory=list)


class History(Protocol):
    """What has been told before, also in this batch: asked for what is not ordinary only."""

    async def mark_before(self, meter: str, at: int) -> Mark | None:
        """The newest mark at or before `at`."""

    async def mark_after(self, meter: str, at: int) -> Mark | None:
        """The oldest mark after `at`."""


@dataclass(slots=True)
class Changes:
    """What readings changed: interval rows that have no forerunner, readings put aside, gaps to estimate.

    Gaps are only noted: however often a batch divides one, its intervals are estimated once, at the end.
    """

    new: list[tuple[str, Interval]] = field(default_factory=list)
    aside: list[tuple[str, Aside]] = field(default_factory=list)
    gaps: dict[str, Gaps] = field(default_factory=dict)


class MeterFold:
    """Folds one meter's readings. `take` handles what is ordinary at once and hands back what is not."""

    def __init__(self, meter: str, state: MeterState, rated_w: int, grid: Grid, changes: Changes) -> None:
        self.meter = meter
        self.state = state
        self.rated_w = rated_w
        self._grid = grid
        self._changes = changes
        self._step_max_wh = energy_max_wh(grid.step, rated_w)

    def take(self, reading: Reading) -> bool:
        """Take the ordinary next reading: on the next boundary, plausible, nothing pending.

        False when it is anything else; then nothing has changed and `take_any` must be awaited.
        """
        state = self.state
        last = state.last
        if last is None or state.openings or reading.serial is not None or reading.estimated:
            return False
        at = self._grid.boundary(reading.at)
        if at is None or at - last.at != self._grid.step:
            return False
        import_wh, export_wh = reading.import_wh, reading.export_wh
        import_step, export_step = import_wh - last.import_wh, export_wh - last.export_wh
        # The rules of `fault`, written out: this is the hot path of every reading that is as it should be.
        if not (0 <= import_step <= self._step_max_wh and 0 <= export_step <= self._step_max_wh):
            return False
        quality: Quality = "measured" if last.measured else "estimated"
        interval = Interval(
            last.at, import_step, export_step, import_wh, export_wh,
            "measured", quality, state.epoch, reading.position, reading.position,
        )  # fmt: skip
        self._changes.new.append((self.meter, interval))
        state.last = Mark(at, import_wh, export_wh, reading.position, state.epoch)
        state.last_read_at = reading.at
        state.held.clear()
        return True

    async def take_any(self, reading: Reading, history: History) -> None:
        """Take any reading."""
        state = self.state
        at = self._grid.boundary(reading.at)
        last = state.last
        is_late = last is not None and reading.at < state.last_read_at
        if reading.serial is not None and not is_late:
            if state.serial not in (None, reading.serial):
                self._note_serial(reading)
            state.serial = reading.serial
        if at is None:
            self._put_aside(reading, reading.at, "between", OFF_BOUNDARY)
        elif last is None:
            self._open_epoch(reading, at, EPOCH_FIRST)
        elif at < last.at:
            await self._take_late(reading, at, history)
        elif not is_late and (opening := self._due_opening(reading)) is not None:
            self._begin_anew(last, reading, at, opening)
        elif at == last.at:
            await self._take_again(last, reading, at, history)
        else:
            self._continue(last, reading, at)

    async def note_opening(self, event: RegisterEpochOpened, position: int, history: History) -> None:
        """An operator opened an epoch: it begins with the first reading from then on.

        Where readings from both sides of that instant already stand in two epochs, it is this one that was
        meant, and only the energy across a rollover may still have to be counted.
        """
        since = int(event.since.timestamp())
        before = await history.mark_before(self.meter, since - 1)
        after = await history.mark_after(self.meter, since - 1)
        begun = await history.mark_before(self.meter, after.at) if after is not None else None
        if after is None or begun is None or (before is not None and before.epoch == begun.epoch):
            opening = Opening(since, event.modulus_wh, event.reason)
            self.state.openings = sorted([*self.state.openings, opening], key=lambda each: each.since)
        elif before is not None and event.modulus_wh is not None and before.epoch != after.epoch:
            unrolled = _unrolled(before, after, event.modulus_wh)
            if not self._misfit(before, unrolled):
                self._join(before, unrolled, position)

    # --- forward ---------------------------------------------------------------------------

    def _continue(self, last: Mark, reading: Reading, at: int) -> None:
        state = self.state
        mark = self._mark(reading, at, state.epoch)
        reason = fault(last.registers(), mark.registers(), self.rated_w)
        if reason:
            self._hold(reading, at, reason)
            return
        if not can_be_joined(last, mark):
            self._open_epoch(reading, at, GAP_TOO_LONG)
            return
        state.held.clear()
        self._join(last, mark, reading.position)
        self._accept(reading, mark)

    def _hold(self, reading: Reading, at: int, reason: str) -> None:
        """Hold a reading; a run of consistent ones that have moved opens a new epoch at its first."""
        state = self.state
        self._put_aside(reading, at, "held", reason)
        # One a boundary and in order of time, since they may come twice or in disorder.
        held = {self._boundary(each): each for each in [reading, *state.held]}
        state.held = [held[boundary] for boundary in sorted(held)][-CONSISTENT_READINGS:]
        if len(state.held) == CONSISTENT_READINGS and self._are_consistent(state.held):
            self._open_with(state.held, EPOCH_CONSISTENT)

    def _open_with(self, run: Sequence[Reading], reason: str) -> None:
        """Open an epoch with the first of consistent readings and go on through the others."""
        first, *rest = run
        last = self._open_epoch(first, self._boundary(first), reason)
        for reading in rest:
            self._continue(last, reading, self._boundary(reading))
            last = self._mark(reading, self._boundary(reading), self.state.epoch)

    def _are_consistent(self, run: Sequence[Reading]) -> bool:
        first, last = run[0], run[-1]
        moved = (first.import_wh, first.export_wh) != (last.import_wh, last.export_wh)
        return moved and all(starmap(self._follows, pairwise(run)))

    def _follows(self, before: Reading, after: Reading) -> bool:
        """Whether two readings are plausible neighbours, whatever epoch they are of."""
        first, second = (self._mark(reading, self._boundary(reading), 0) for reading in (before, after))
        return first.at < second.at and not fault(first.registers(), second.registers(), self.rated_w)

    async def _take_again(self, last: Mark, reading: Reading, at: int, history: History) -> None:
        """A second reading for a boundary: it may measure what was estimated, or contradict."""
        if not last.measured and not reading.estimated:
            if (mark := await self._take_late(reading, at, history)) is not None:
                self._accept(reading, mark)
            return
        same = (reading.import_wh, reading.export_wh) == (last.import_wh, last.export_wh)
        if reading.at == self.state.last_read_at and not same:
            self._put_aside(reading, at, "held", SAME_INSTANT)

    def _open_epoch(self, reading: Reading, at: int, reason: str) -> Mark:
        state = self.state
        state.epoch += 1
        state.held = []
        state.openings = [opening for opening in state.openings if opening.since > reading.at]
        mark = self._mark(reading, at, state.epoch)
        self._put_aside(reading, at, "opened", reason)
        self._accept(reading, mark)
        return mark

    def _begin_anew(self, last: Mark, reading: Reading, at: int, opening: Opening) -> None:
        """Open the epoch that was announced; where a register wrapped, count the energy across first.

        It begins with the first of the readings that were held since then and lead up to this one.
        """
        state = self.state
        run = self._leading_to(reading, opening.since)
        first = self._mark(run[0], self._boundary(run[0]), state.epoch)
        if opening.modulus_wh is not None and first.at > last.at:
            unrolled = _unrolled(last, first, opening.modulus_wh)
            if reason := fault(last.registers(), unrolled.registers(), self.rated_w):
                state.openings = [opening, *state.openings]  # still to come
                self._hold(reading, at, reason)
                return
            if can_be_joined(last, unrolled):
                self._join(last, unrolled, reading.position)
        self._open_with(run, opening.reason)

    def _leading_to(self, reading: Reading, since: int) -> list[Reading]:
        """`reading` behind those that were held from `since` on and follow from one another."""
        run = [reading]
        for before in reversed(self.state.held):
            if before.at < since or not self._follows(before, run[0]):
                break
            run.insert(0, before)
        return run

    def _note_serial(self, reading: Reading) -> None:
        """Another serial number: what is read from now on is another meter's register."""
        self.state.openings.append(Opening(reading.at, None, EPOCH_SERIAL))

    def _due_opening(self, reading: Reading) -> Opening | None:
        """The newest operator's opening that this reading is the first to come after; used up by it."""
        state = self.state
        due = [opening for opening in state.openings if opening.since <= reading.at]
        if not due:
            return None
        state.openings = [opening for opening in state.openings if opening.since > reading.at]
        return due[-1]

    # --- late ------------------------------------------------------------------------------

    async def _take_late(self, reading: Reading, at: int, history: History) -> Mark | None:
        """A reading from before the last one: it replaces the estimates between its neighbours."""
        before = await history.mark_before(self.meter, at)
        after = await history.mark_after(self.meter, at)
        if before is not None and before.at == at:
            if before.measured or reading.estimated:
                if (reading.import_wh, reading.export_wh) != (before.import_wh, before.export_wh):
                    self._put_aside(reading, at, "held", SAME_INSTANT)
                return None
            before = await history.mark_before(self.meter, at - 1)
        reason = "late"
        joins: list[Mark] = []
        for neighbour in (before, after):
            if neighbour is None or (joins and neighbour.epoch != joins[0].epoch):
                continue
            pair = sorted((self._mark(reading, at, neighbour.epoch), neighbour), key=_instant_of)
            reason = self._misfit(*pair)
            if not reason:
                joins.append(neighbour)
            elif before is not None and after is not None and before.epoch == after.epoch:
                joins = []
                break
        if not joins:
            self._put_aside(reading, at, "held", reason or "late")
            return None
        mark = self._mark(reading, at, joins[0].epoch)
        if joins[0].at > at:
            self._changes.aside.append((self.meter, _aside(reading, at, "opened", "late", mark.epoch)))
        for neighbour in joins:
            first, second = sorted((mark, neighbour), key=_instant_of)
            self._join(first, second, reading.position)
        return mark

    # --- parts -----------------------------------------------------------------------------

    def _join(self, first: Mark, second: Mark, position: int) -> None:
        """Energy flowed between these two marks, by what the event at `position` told."""
        gap = Gap(first, second, position)
        if first == self.state.last and second.at - first.at == self._grid.step:
            self._changes.new += [(self.meter, interval) for interval in intervals(gap, self._grid, LINEAR)]
        else:
            self._changes.gaps.setdefault(self.meter, Gaps()).put(gap)

    def _misfit(self, first: Mark, second: Mark) -> str:
        """Why no energy can be told between two marks, as a code; empty when it can."""
        if not can_be_joined(first, second):
            return GAP_TOO_LONG
        return fault(first.registers(), second.registers(), self.rated_w)

    def _accept(self, reading: Reading, mark: Mark) -> None:
        self.state.last = mark
        self.state.last_read_at = reading.at

    def _boundary(self, reading: Reading) -> int:
        """The boundary of a reading that is known to have one."""
        at = self._grid.boundary(reading.at)
        assert at is not None  # noqa: S101 - readings between boundaries are put aside
        return at

    def _mark(self, reading: Reading, at: int, epoch: int) -> Mark:
        return Mark(at, reading.import_wh, reading.export_wh, reading.position, epoch, not reading.estimated)

    def _put_aside(self, reading: Reading, at: int, verdict: Verdict, reason: str) -> None:
        self._changes.aside.append((self.meter, _aside(reading, at, verdict, reason, self.state.epoch)))


def _unrolled(before: Mark, after: Mark, modulus_wh: int) -> Mark:
    """`after` as the registers would stand had those that went back not wrapped; of the epoch of `before`."""
    return Mark(
        after.at,
        after.import_wh + (modulus_wh if after.import_wh < before.import_wh else 0),
        after.export_wh + (modulus_wh if after.export_wh < before.export_wh else 0),
        after.position,
        before.epoch,
        after.measured,
    )


def _aside(reading: Reading, at: int, verdict: Verdict, reason: str, epoch: int) -> Aside:
    quality: Quality = "estimated" if reading.estimated else "measured"
    return Aside(reading.position, at, reading.import_wh, reading.export_wh, verdict, reason, epoch, quality)


def _instant_of(mark: Mark) -> int:
    return mark.at
