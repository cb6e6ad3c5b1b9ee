"""One who listens: what waits to be sent to it, how far it is, and why it ends."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from api.http.live.message import Message
from api.http.live.pages import View
from api.http.live.place import Place
from ledger.errors import LedgerError, Unavailable

WAITING_MAX = 1_000


class TooSlow(Unavailable):
    """A listener takes less than there is to tell."""

    code = "too-slow"


class Shown(NamedTuple):
    """Who listens, by a key or a person's id, and the digest of the session that a person does it in."""

    prefix: str
    session: bytes | None = None


class Listener:
    """Fed by the hub from `since` on, as soon as that is set; before that it reads the book by itself."""

    def __init__(self, view: View, shown: Shown) -> None:
        self.view = view
        self.shown = shown
        self.since: Place | None = None
        self.has_caught_up = False
        self.ended_by: LedgerError | None = None
        self._waiting: deque[Message] = deque()
        self._came = asyncio.Event()

    def begin(self, place: Place) -> None:
        """Everything after a place will be fed."""
        self.since = place
        self._came.set()

    def feed(self, messages: Sequence[Message]) -> None:
        """Tell it more. Messages are shared among all who are told them; what is too much is let go of."""
        if len(self._waiting) + len(messages) <= WAITING_MAX:
            self._waiting += messages
            self._came.set()
        elif self.has_caught_up:
            self.end(
                TooSlow(
                    f"more than {WAITING_MAX:,} messages waited to be taken",
                    hint="come again with the newest id, and take them faster",
                )
            )
        else:  # it is still reading what was before, and will come to this in the book as well
            self._waiting.clear()
            self.since = None

    def end(self, error: LedgerError) -> None:
        """Tell it nothing more, but why."""
        self.ended_by = self.ended_by or error
        self._waiting.clear()
        self._came.set()

    def take(self, place: Place) -> Sequence[Message]:
        """What it was fed behind a place."""
        taken = [message for message in self._waiting if message.place > place]
        self._waiting.clear()
        return taken

    async def wait(self) -> None:
        """Return when there is something to take, or to look at anew."""
        await self._came.wait()
        self._came.clear()
