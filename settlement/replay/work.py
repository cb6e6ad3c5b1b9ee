"""How much work a book may ask of whoever replays it: no small file is to take hours, nor all of a disk."""

from ledger.errors import Unavailable

FREE = 20_000_000
AN_EVENT = 500
"""So many intervals may be estimated or looked at again: for each event, and before the first. That is enough
for gaps of five years of a hundred meters, and for a month that comes late with a run for each reading."""


class TooMuchWork(Unavailable):
    """A book asks for more work than its size can explain. That says nothing of what it holds."""

    code = "too-much-work"


class Work:
    """What may still be asked for, in intervals."""

    def __init__(self) -> None:
        self._left = FREE

    def earn(self, events: int) -> None:
        """So many more events have been read."""
        self._left += AN_EVENT * events

    def spend(self, intervals: int) -> None:
        """They are looked at. Raises `TooMuchWork`."""
        self._left -= intervals
        if self._left < 0:
            raise TooMuchWork("its events ask for more intervals than a replay of its size goes through")
