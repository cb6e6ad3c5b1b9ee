"""The hub: reads what comes into the book once, and feeds it to all who listen in this process.

    every POLL_SECONDS, while somebody listens:
      how far are the projections -> who came since the last look is fed from here on
      -> the pages up to there, for all views at once -> to each listener what is of its view
    every KEYS_SECONDS: whose key no longer counts is told so, and told nothing more

A listener begins with what it has missed, which it reads by itself, a few at a time. It asks the hub for
nothing but to be fed, and the hub waits for nobody: who does not take what it is fed is ended.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

import structlog

from api.http.backend import Backend
from api.http.desk import OrderDesk
from api.http.live.listener import Listener
from api.http.live.message import Message, ending
from api.http.live.pages import LivePages, View
from api.http.live.place import BadPlace, Place
from api.http.live.shapes import Heartbeat, Opened
from api.http.problems import NotKnown, TooMany
from ledger.clock import monotonic_seconds
from ledger.errors import LedgerError, Unavailable
from ledger.postgres.live import LiveStore, Reached

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.02
RETRY_SECONDS = 1.0
KEYS_SECONDS = 2.0
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

    def __init__(self, backend: Backend, desk: OrderDesk) -> None:
        self._backend = backend
        self._store = LiveStore(backend.pool, backend.community)
        self._pages = LivePages(self._store, desk, backend.book.community)
        self._listeners: dict[Listener, None] = {}  # in order of coming
        self._catching_up = asyncio.Semaphore(CATCHING_UP_AT_ONCE)
        self._reached = Reached(0, 0)
        self._place: Place | None = None  # all before it was fed to whom it concerns
        self._looked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failure: LedgerError | None = None  # of the newest look
        self._is_ending = False
        self._heartbeat_at = self._keys_at = 0.0

    def __len__(self) -> int:
        """How many listen."""
        return len(self._listeners)

    async def messages(
        self, view: View, prefix: str, after: Place | None
    ) -> AsyncGenerator[Sequence[Message], None]:
        """All messages behind a place, or from now on: those that come together at once, `Opened` the first.

        Without end but by `Ending`. Before the first raises `TooManyListeners`, `BadPlace`, `Unavailable`.
        """
        listener = self._join(view, prefix)
        try:
            place = await self._begin(after)
            yield [Message.of(place, Opened(self._backend.community, view.building))]
            while listener.ended_by is None:
                try:
                    place, told = await self._next(listener, place)
                except LedgerError as error:
                    listener.end(error)
                    break
                if told:
                    yield told
            yield [ending(place, listener.ended_by or Stopping("the server ends"))]
        finally:
            del self._listeners[listener]

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

    def _join(self, view: View, prefix: str) -> Listener:
        settings, of_key = self._backend.settings, Counter(each.prefix for each in self._listeners)
        if self._is_ending:
            raise Stopping("the server ends", hint="come again in a moment")
        for count, most, who in (
            (of_key[prefix], settings.listeners_a_key, "this key"),
            (len(self._listeners), settings.listeners, "this server"),
        ):
            if count >= most:
                raise TooManyListeners(f"{who} has {most:,} listeners already", seconds=COME_BACK_SECONDS)
        listener = Listener(view, prefix)
        self._listeners[listener] = None
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

    async def _next(self, listener: Listener, place: Place) -> tuple[Place, Sequence[Message]]:
        """What comes next for a listener, and how far it is then; perhaps nothing yet."""
        if listener.since is not None and listener.since <= place:
            listener.has_caught_up = True
        if listener.has_caught_up:
            told = listener.take(place)
            if told:
                return told[-1].place, told
        elif place < Place(self._reached.projected):
            async with self._catching_up:
                page = await self._pages.page([listener.view], place, self._reached.projected)
            return page.until, page.messages.get(listener.view, ())
        await listener.wait()
        return place, ()

    # --- all of them -------------------------------------------------------------------------

    async def _run(self) -> None:
        """Look, feed, and look again, until nobody listens."""
        self._place = None
        try:
            while self._listeners:
                await asyncio.sleep(await self._step())
        except Exception as error:
            log.error("live stream failed", exc_info=error)
            for listener in self._listeners:
                listener.end(Unavailable("the live stream failed", hint="come again with the newest id"))
        self._looked.clear()
        self._task = None

    async def _step(self) -> float:
        """Once around; seconds until the next time."""
        try:
            await self._look()
            await self._watch_keys()
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

    async def _watch_keys(self) -> None:
        """End those whose keys were revoked or have expired. Raises `StoreUnavailable`."""
        if monotonic_seconds() - self._keys_at < KEYS_SECONDS:
            return
        shown = {listener.prefix for listener in self._listeners}
        keys = await self._store.keys(shown)
        self._keys_at, now = monotonic_seconds(), self._backend.clock.now()
        ended = shown - {key.prefix for key in keys if key.counts(now)}
        for listener in self._listeners:
            if listener.prefix in ended:
                listener.end(NotKnown("this key opens nothing any longer", hint="ask the operator"))
