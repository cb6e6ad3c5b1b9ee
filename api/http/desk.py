"""What buildings want, as the API takes it: read from the book as it stands, written in the operator's name.

The book is folded once a process and then followed, up to its newest event and not to where the projections
are: whoever has placed an order sees it in the next list.

An event of a request with an Idempotency-Key carries a salt that follows from the request. So when the same
request comes again after its receipt was lost, its event is found in the book, and nothing is written twice.
What was sent and not answered may be in the book, may get there yet, or may never: before anything else is
written to its stream, the very same event is sent again, as a gateway does with an envelope.

What is refused takes no turn at the stream, for which others wait: it is judged by the book before, and what
is not refused then once more within the turn. Both are served by building, so that one that asks for much
waits for itself. How many events a building may write in a day is counted in the book.
"""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from math import ceil
from typing import NamedTuple, cast

import msgspec
import structlog

from api.http.backend import Backend
from api.http.fair_lock import FairLock
from api.http.operator_signing import OthersWrite, Turn, others_told
from api.http.problems import TooMany
from api.http.waiting import held
from ledger.client import BookClient, Refused
from ledger.clock import rfc3339
from ledger.errors import BadInput, LedgerError, Unavailable
from ledger.event import new_salt
from ledger.events import read_recorded
from ledger.market import GateClosed
from ledger.market_events import (
    HOLDS_FROM,
    AgreementAccepted,
    AgreementEnded,
    AgreementProposed,
    OrderCancelled,
    OrderPlaced,
)
from ledger.postgres.connection import Connection
from ledger.postgres.exporter import StoreSnapshot
from ledger.postgres.pace import recorded_before
from ledger.postgres.recorded import RecordedPlace, recorded_place
from ledger.postgres.settlement import SettlementStore
from settlement.book_state import BookState
from settlement.ordering import Desk

log = structlog.get_logger(__name__)

POSITIONS_AT_ONCE = 50_000
DAY = timedelta(days=1)
SALT_BYTES = 12
SALT_DOMAIN = b"energy-ledger/salt/v1\n"

Wanted = OrderPlaced | OrderCancelled | AgreementProposed | AgreementAccepted | AgreementEnded
Made = Callable[[Desk, str], Wanted]
"""Makes an event from the book as it stands and the salt that it gets."""


class TooManyEvents(TooMany):
    """A building has written as many events as it may in a day; what it has begun it may still end."""

    code = "too-many-events"


class Written(NamedTuple):
    """An event that is in the book, its place there, and the desk after it.

    `was_there` says that the same request had brought it there before.
    """

    event: Wanted
    stream: str
    place: RecordedPlace
    desk: Desk
    was_there: bool

    @property
    def counts_from(self) -> datetime:
        """From when on it changes what is traded."""
        return cast(datetime, getattr(self.event, HOLDS_FROM[type(self.event)]))


class OrderDesk:
    """One process's, for one community."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._following = asyncio.Lock()
        self._judging = FairLock()  # of those who are judged only one has a connection in hand
        self._book: tuple[BookState, SettlementStore] | None = None
        self._size = 0  # of the log, as far as the book was read
        self._unanswered: dict[str, Wanted] = {}  # by stream

    async def desk(self) -> Desk:
        """What the book has by now. To be read before anything else is awaited: it goes on with the book.

        Raises `StoreUnavailable`, `NotOpen`.
        """
        async with self._backend.pool.whole.connection() as connection:
            return await self._read(connection)

    async def book(self) -> BookState:
        """Who takes part and by what rules, as the book has it by now; it stays as it is.

        Raises `StoreUnavailable`.
        """
        async with self._backend.pool.whole.connection() as connection:
            return await self.book_by(connection)

    async def book_by(self, connection: Connection) -> BookState:
        """The same by a connection that is lent. Raises `StoreUnavailable`."""
        async with self._following:
            return (await self._newest(connection)).still()

    async def write(
        self, building: str, request: bytes | None, made: Made, a_day: int | None = None
    ) -> Written:
        """Have an event made from the book as it stands and from the salt that it gets, and append it.

        `request` is what the same request has in common with itself when it is sent again; `a_day` is how
        many events the building may write in a day, if it has a bound.

        Raises what `made` raises, `GateClosed`, `TooManyEvents`, `Busy`, `Refused`, and `Unavailable` where
        nobody can know whether the event is in the book.
        """
        stream, salt = f"building/{building}", self._salt(request)
        sent = request is not None
        if stream not in self._unanswered:  # or that would have to be sent again first
            there = await self._judged(stream, salt, made, a_day, may_be_there=sent)
            if there is not None:
                return there
        async with self._backend.operator.turn(stream) as turn:
            # First where the chain goes on, then what is in the book: what gets there in between is found,
            # and what gets there later is the very envelope that goes on from this head.
            client = await self._backend.operator.client()
            await self._finish(turn, client, stream)
            there = await self._there(turn.connection, stream, salt) if sent else None
            if there is not None:
                return there
            desk = await self._read(turn.connection)
            event = await self._made(turn.connection, stream, desk, salt, made, a_day)
            await self._append(client, stream, event, desk)
            place = await self._place(turn.connection, stream, salt)
            assert place is not None  # noqa: S101 - the receipt is signed after the commit
            return Written(event, stream, place, await self._read(turn.connection), was_there=False)

    # --- what it takes -----------------------------------------------------------------------

    async def _judged(
        self, stream: str, salt: str, made: Made, a_day: int | None, *, may_be_there: bool
    ) -> Written | None:
        """None where an event can be made; raises where not. Where the reason may be that the event is in the
        book already, it is looked for, after what it was judged by."""
        async with (
            held(self._judging.of(stream), "what others want"),
            self._backend.pool.whole.connection() as connection,
        ):
            try:
                await self._made(connection, stream, await self._read(connection), salt, made, a_day)
            except Unavailable:
                raise
            except LedgerError:
                there = await self._there(connection, stream, salt) if may_be_there else None
                if there is None:
                    raise
                return there
        return None

    async def _made(
        self, connection: Connection, stream: str, desk: Desk, salt: str, made: Made, a_day: int | None
    ) -> Wanted:
        try:
            event = msgspec.structs.replace(made(desk, salt), salt=salt)
        except GateClosed as error:
            raise _closed(error, desk) from error
        if a_day is not None:
            await self._check_pace(connection, stream, event, a_day)
        return event

    async def _check_pace(self, connection: Connection, stream: str, event: Wanted, a_day: int) -> None:
        """Return if a building may write an event more. What ends something may be as many again: whoever has
        begun too much can still end it."""
        most = a_day * 2 if isinstance(event, OrderCancelled | AgreementEnded) else a_day
        before = await recorded_before(connection, self._backend.community, stream, most - 1)
        if before is None:
            return
        seconds = (before + DAY - self._backend.clock.now()).total_seconds()
        if seconds > 0:
            raise TooManyEvents(f"this building has written {most} events in a day", seconds=ceil(seconds))

    async def _there(self, connection: Connection, stream: str, salt: str) -> Written | None:
        """What the same request has brought into the book before."""
        place = await self._place(connection, stream, salt)
        if place is None:
            return None
        (event,) = read_recorded([place.body])
        return Written(cast(Wanted, event), stream, place, await self._read(connection), was_there=True)

    # --- the book ----------------------------------------------------------------------------

    async def _read(self, connection: Connection) -> Desk:
        async with self._following:
            book = await self._newest(connection)
            return Desk(book.grid, book.registry, book.orders, self._backend.clock.now())

    async def _newest(self, connection: Connection) -> BookState:
        """Within a turn at following."""
        fence = await StoreSnapshot(connection).fence(self._backend.community)
        return await self._followed(connection, fence.size if fence else 0)

    async def _followed(self, connection: Connection, size: int) -> BookState:
        """The book up to `size`, read on by the connection that is lent just now."""
        if self._book is None:
            store = SettlementStore(connection)
            self._book, self._size = (BookState(self._backend.community, store), store), 0
        book, store = self._book
        store.connection = connection
        try:
            while self._size < size:
                end = min(self._size + POSITIONS_AT_ONCE, size)
                await book.follow(end)
                self._size = end
        except Exception:
            self._book = None  # it may have taken in a part: it is read anew
            raise
        return book

    # --- what is appended --------------------------------------------------------------------

    def _salt(self, request: bytes | None) -> str:
        """A salt that nobody can guess: at random, or for ever the same for a request.

        Ed25519 signatures are deterministic, and nobody sees this one.
        """
        if request is None:
            return new_salt()
        signature = self._backend.ledger.operator.sign(SALT_DOMAIN + request)
        return urlsafe_b64encode(sha256(signature).digest()[:SALT_BYTES]).decode()

    async def _place(self, connection: Connection, stream: str, salt: str) -> RecordedPlace | None:
        return await recorded_place(connection, self._backend.community, stream, salt)

    async def _finish(self, turn: Turn, client: BookClient, stream: str) -> None:
        """Come to know what became of the event that was sent last and not answered."""
        event = self._unanswered.get(stream)
        if event is None:
            return
        if await self._place(turn.connection, stream, event.salt) is None:
            try:
                await self._append(client, stream, event, await self._read(turn.connection))
            except BadInput as error:
                log.info("not taken when sent again", stream=stream, code=error.code)
        self._unanswered.pop(stream, None)

    async def _append(self, client: BookClient, stream: str, event: Wanted, desk: Desk) -> None:
        self._unanswered[stream] = event
        try:
            with others_told(stream):
                await client.append(stream, [event])
        except (Refused, OthersWrite) as error:
            del self._unanswered[stream]
            if isinstance(error, Refused) and error.code == GateClosed.code:
                raise _closed(error, desk) from error
            raise
        del self._unanswered[stream]


def made_name(kind: str, salt: str) -> str:
    """A name for what was given none: the same whenever the same request comes again."""
    return f"{kind}-{sha256(salt.encode()).hexdigest()[:12]}"


def _closed(error: BadInput, desk: Desk) -> GateClosed:
    """With the instant from which it can hold, as instants are written here."""
    return GateClosed(error.what, where=error.where, hint=f"it can hold from {rfc3339(desk.first_open())} on")
