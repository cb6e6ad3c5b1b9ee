"""What the projector asks of the place where projections are kept."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from ledger.energy import Aside
from ledger.gap import Gap, Interval, Mark
from ledger.recorded import EventRow


class Projections(Protocol):
    """A store of projections, and the pages of the book that they are made of."""

    def transaction(self, community: str, version: int) -> AbstractAsyncContextManager[int]:
        """Everything within happens together with the move of the position, or not at all.

        Gives the next position to apply. Raises `OtherRules` if the projections are not of that version.
        """

    async def move(self, community: str, position: int) -> None:
        """The next position to apply from now on."""

    # --- the book --------------------------------------------------------------------------

    async def events(self, community: str, begin: int, end: int) -> Sequence[EventRow]:
        """The events at positions [begin, end), as far as there are any."""

    async def registry_bodies(self, community: str, end: int) -> Sequence[bytes]:
        """The bodies of the events before position `end` that make the registry, in order."""

    # --- what is projected -----------------------------------------------------------------

    async def put(self, name: str, *values: Any) -> None:
        """Write or change one row of what is no reading, as `ledger.projection_rows` names it."""

    async def states(self, community: str, meters: Sequence[str]) -> dict[str, bytes]:
        """What the fold remembers of those of `meters` that it knows."""

    async def write_states(self, community: str, states: dict[str, bytes]) -> None:
        """Remember what the fold remembers."""

    async def add_intervals(self, community: str, rows: Sequence[tuple[str, Interval]]) -> None:
        """Insert intervals that have no row yet, each with its meter."""

    async def clear_gaps(self, community: str, gaps: Sequence[tuple[str, Gap]]) -> None:
        """Make room for the intervals of these gaps, which are added next."""

    async def add_asides(self, community: str, rows: Sequence[tuple[str, Aside]]) -> None:
        """Insert readings that ended no interval."""

    async def mark(self, which: str, community: str, meter: str, at: int, step: int) -> Mark | None:
        """The neighbouring mark of an instant; `which` is `before` (at or before it) or `after`.

        Among marks of one instant the newest epoch counts before it and the oldest after it, and what was
        measured counts before what was estimated. `step` is the length of an interval in seconds.
        """

    async def measured(
        self, community: str, meter: str, starts: Sequence[int], decided_by: int
    ) -> dict[int, tuple[int, int]]:
        """Import and export of those intervals that the events up to `decided_by` measured, by start."""
