"""The hub: reads what comes into the book once, and feeds it to all who listen in this process.

    every POLL_SECONDS, while somebody listens:
      how far are the projections -> who came since the last look is fed from here on
      -> the pages up to there, for all views at once -> to each listener what is of its view
    every WATCH_SECONDS: whose key or session no longer counts is told so, and nothing more

A listener begins with what it has missed, which it reads by itself, a few at a time. It asks the hub for
nothing but to be fed, and the hub waits for nobody: who does not take what it is fed is ended.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress

import structlog

from api.http.backend import Backend
from api.http.desk import OrderDesk
from api.http.live.listener import Listener, Shown
from api.http.live.message import Message, ending
from api.http.live.pages import LivePages, View
from api.http.live.place import BadPlace, Place
from api.http.live.shapes import Heartbeat, Opened
from api.http.problems import NotKnown, TooMany
from ledger.clock import monotonic_seconds
from ledger.errors import LedgerError, Unavailable
from ledger.postgres.live import LiveStore, Reached

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.03
RETRY_SECONDS = 1.0
WATCH_SECONDS = 2.0
HEARTBEAT_SECONDS = 15.0
END_SECONDS = 5.0
COME_BACK_SECONDS = 30
CATCHING_UP_AT_ONCE = 3
"""How many read what they missed at the same time; each holds a connection for a page."""


class Stopping(Unavailable):
    """The server ends."""

    code = "stopping"


class TooManyListeners(TooMany):
    """More listen than may."""

    code = "too-many-listeners"


class Hub:
    """One process's, for one community. It works while somebody listens, and asks nobody before."""

    def __init__(self, backend: Backend, desk: OrderDesk, count: Callable[[int], None]) -> None:
        self._backend = backend
        self._count = count  # is told how many listen
        self._store = LiveStore(backend.pool.whole, backend.community)
        self._pages = LivePages(self._store, desk, backend.book.community)
        self._listeners: dict[Listener, None] = {}  # in order of coming
        self._of_key: Counter[str] = Counter()
        self._catching_up = asyncio.Semaphore(CATCHING_UP_AT_ONCE)
        self._reached = Reached(0, 0)
        self._place: Place | None = None  # all before it was fed to whom it concerns
        self._looked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failure: LedgerError | None = None  # of the newest look
        self._is_ending = False
        self._heartbeat_at = self._watched_at = 0.0

    def __len__(self) -> int:
        """How many listen."""
        return len(self._listeners)

    async def messages(
        self, view: View, shown: Shown, after: Place | None
    ) -> AsyncGenerator[Sequence[Message], None]:
        """All messages behind a place, or from now on: those that come together at once, `Opened` the first.

        Without end but by `Ending`. Before the first raises `TooManyListeners`, `BadPlace`, `Unavailable`.
        """
        listener = self._join(view, shown)
        try:
            place = await self._begin(after)
            yield [Message.of(place, Opened(self._backend.community, view.building))]
            while listener.ended_by is None:
                if listener.has_caught_up:
                    await listener.wait()
                    told = listener.take(place)
                    place = told[-1].place if told else place
                else:
                    place, told = await self._catch_up(listener, place)
                if told:
                    yield told
            yield [ending(place, listener.ended_by or Stopping("the server ends"))]
        finally:
            del self._listeners[listener]
            self._count(len(self._listeners))
            self._of_key -= Counter([shown.prefix])  # of which nothing is left when none is

    async def close(self) -> None:
        """Tell all who listen to come back later, and wait for them, but not for long."""
        self._is_ending = True
        for listener in self._listeners:
            listener.end(Stopping("the server ends", hint="come again with the newest id"))
        self._looked.set()
        deadline = monotonic_seconds() + END_SECONDS
        while self._listeners and monotonic_seconds() < deadline:
            await asyncio.sleep(POLL_SECONDS)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    # --- one listener ------------------------------------------------------------------------

    def _join(self, view: View, shown: Shown) -> Listener:
        settings = self._backend.settings
        if self._is_ending:
            raise Stopping("the server ends", hint="come again in a moment")
        for count, most, who in (
            (self._of_key[shown.prefix], settings.listeners_a_key, "this key"),
            (len(self._listeners), settings.listeners, "this server"),
        ):
            if count >= most:
                raise TooManyListeners(f"{who} has {most:,} listeners already", seconds=COME_BACK_SECONDS)
        listener = Listener(view, shown)
        self._listeners[listener] = None
        self._count(len(self._listeners))
        self._of_key[shown.prefix] += 1
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
        return listener

    async def _begin(self, after: Place | None) -> Place:
        """Where a listener begins: where it was, if the book is that long."""
        await self._looked.wait()
        if self._is_ending:
            raise Stopping("the server ends", hint="come again in a moment")
        if self._failure is not None:
            raise self._failure
        reached = self._reached
        if after is None:
            return Place(reached.projected)
        if after > Place(reached.size):
            reached = await self._store.reached()  # another process may have told what is newer than our look
        if after > Place(reached.size):
            raise BadPlace(
                "the book is not that long", where=str(after), hint="is it the id of another book? begin anew"
            )
        return after

    async def _catch_up(self, listener: Listener, place: Place) -> tuple[Place, Sequence[Message]]:
        """What comes next for a listener that is not fed yet, and how far it is then; perhaps nothing yet."""
        if listener.since is not None and listener.since <= place:
            listener.has_caught_up = True
            told = listener.take(place)
            return told[-1].place if told else place, told
        if place >= Place(self._reached.projected):
            await listener.wait()
            return place, ()
        try:
            async with self._catching_up:
                page = await self._pages.page([listener.view], place, self._reached.projected)
        except LedgerError as error:
            listener.end(error)
            return place, ()
        return page.until, page.messages.get(listener.view, ())

    # --- all of them -------------------------------------------------------------------------

    async def _run(self) -> None:
        """Look, feed, and look again, until nobody listens."""
        self._place = None
        try:
            while self._listeners:
                await asyncio.sleep(await self._step())
        except Exception as error:
            log.error("live stream failed", exc_info=error)
            self._failure = Unavailable("the live stream failed", hint="come again with the newest id")
            for listener in self._listeners:
                listener.end(self._failure)
            self._looked.set()  # who waits for the first look is told as well
        self._looked.clear()
        self._task = None

    async def _step(self) -> float:
        """Once around; seconds until the next time."""
        try:
            await self._look()
            await self._watch()
            self._failure, pause = None, POLL_SECONDS if self._is_done() else 0.0
        except LedgerError as error:
            log.warning("live stream waits for the store", code=error.code)
            self._failure, pause = error, RETRY_SECONDS
        self._looked.set()
        self._beat()
        return pause

    def _is_done(self) -> bool:
        return self._place is None or self._place >= Place(self._reached.projected)

    async def _look(self) -> None:
        """One look at the book, and the next page of it."""
        self._reached = await self._store.reached()
        end = self._reached.projected
        if self._place is None or all(each.since is None for each in self._listeners):
            self._place = Place(end)
        for listener in self._listeners:
            if listener.since is None:
                listener.begin(self._place)
        if self._place >= Place(end):
            return
        # Who comes while this is read is not in `fed`, and begins behind it with the next look.
        fed: defaultdict[View, list[Listener]] = defaultdict(list)
        for listener in self._listeners:
            fed[listener.view].append(listener)
        page = await self._pages.page(fed, self._place, end)
        self._place = page.until
        for view, messages in page.messages.items():
            for listener in fed[view]:
                listener.feed(messages)

    def _beat(self) -> None:
        """Every now and then tell all who are fed that nothing is missing."""
        now = monotonic_seconds()
        if self._place is None or now - self._heartbeat_at < HEARTBEAT_SECONDS:
            return
        self._heartbeat_at = now
        beat = [Message.of(self._place, Heartbeat())]
        for listener in self._listeners:
            if listener.has_caught_up:
                listener.feed(beat)

    async def _watch(self) -> None:
        """End those whose keys or sessions came to their end. Raises `StoreUnavailable`.

        A session is only looked at: that a page is open does not mean that somebody sits before it.
        """
        if monotonic_seconds() - self._watched_at < WATCH_SECONDS:
            return
        shown = {listener.shown for listener in self._listeners}
        keys = await self._store.keys({each.prefix for each in shown if each.session is None})
        sessions = await self._backend.people.sessions({each.session for each in shown if each.session})
        self._watched_at, now = monotonic_seconds(), self._backend.clock.now()
        counting = {Shown(key.prefix) for key in keys if key.counts(now)}
        counting |= {Shown(each.person, each.digest) for each in sessions if each.counts(now)}
        ended = shown - counting
        for listener in self._listeners:
            if listener.shown in ended:
                listener.end(NotKnown("what was shown opens nothing any longer", hint="ask the operator"))
