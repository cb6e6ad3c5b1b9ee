"""The outbox: bodies in order per stream, kept until a receipt signed by the ledger covers them.

    append -> body --cut--> envelope in flight --receipt--> released
                ^                   |
                `---- withdrawn ----+--refused for good--> refused (kept, with code and words)

A body has no sequence while it waits. Sequence and chain are made when an envelope is cut from the link that
the ledger told last, so a take-over or a refused body only means that the rest is chained anew.

**Why no body is recorded twice.** An entry's hash commits to everything before it in its stream, and the
ledger takes a run only where its previous hash is the stream's head.

1. A cut is on the disk before it is sent, and is sent again byte for byte until it is answered, after a
   restart too. Bodies that are cut anew from the same link give the same entries, and an entry that the
   book holds is a duplicate there, in whatever envelope it comes.
2. Bodies are chained to another link only after the ledger said that it did not take their envelope, when no
   earlier one of the same streams is unanswered. A stream's chain has one hash at a sequence: what did not
   fit the book then never will.
3. A refusal that hangs on time or rights could turn out otherwise for a second copy that was under way, and
   a key can be rotated before a receipt that was lost is asked for again. So the links that withdrawn
   envelopes ended in are remembered: if the ledger tells one as its head, the bodies under it are in the
   book, and are let go.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from ingest.cut import (
    Cut,
    Gathered,
    Seal,
    adopt,
    find_row,
    gather,
    keep_cut,
    refuse,
    release,
    runs_of,
    tip_sequence,
    withdraw,
)
from ingest.outbox_file import RESERVE_BYTES, OutboxFile, OutboxUnavailable, statement
from ledger.canonical import decode
from ledger.envelope import NewRun
from ledger.receipt import StreamHead

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Outgoing(NamedTuple):
    """A body (canonical bytes) on its way to a stream."""

    stream: str
    body: bytes


class Refused(NamedTuple):
    """A body that the ledger refused for good, and why."""

    stream: str
    body: bytes
    code: str
    what: str


class Standing(NamedTuple):
    """How an outbox stands."""

    waiting: int  # bodies without a receipt
    oldest_at: datetime | None  # when the oldest of them was kept
    refused: int
    untold: frozenset[str]  # streams with bodies, of which the ledger has not told a head


@dataclass(slots=True)
class _View:
    """What is remembered of the file so as not to count it again each time."""

    waiting: int
    refused: int
    last_row: int
    streams: set[str]
    told: set[str]
    seen_row: int = 0  # up to here nothing is left to cut


Method = Callable[Concatenate["Outbox", Arguments], Result]


def _alone(method: Method[Arguments, Result]) -> Method[Arguments, Result]:
    """Let one thread in at a time."""

    @wraps(method)
    def call(self: "Outbox", /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with self._lock:
            return method(self, *args, **kwargs)

    return call


class Outbox:
    """The outbox of one gateway. Every method blocks until the disk is done: call it from a thread, any one.

    All methods raise `OutboxUnavailable` (`OutboxFull` where room is short) or `OutboxDamaged`; what fails
    is done whole or not at all, and may be done again.
    """

    def __init__(self, file: OutboxFile) -> None:
        self._file = file
        self._known: _View | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        factory: type[sqlite3.Connection] = sqlite3.Connection,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> "Outbox":
        """Open the outbox in `path`, or make one. Raises as `OutboxFile.open`."""
        return cls(OutboxFile.open(path, factory=factory, reserve_bytes=reserve_bytes))

    @_alone
    def close(self) -> None:
        """Let go of the file; everything in it stays."""
        self._file.close()

    # --- keeping ---------------------------------------------------------------------------

    @_alone
    def append(
        self, outgoing: Sequence[Outgoing], at: datetime, memory: Mapping[str, bytes] | None = None
    ) -> None:
        """Keep bodies, and what is to be remembered with them, in one transaction and with one sync.

        On return they are on the disk; when it raises, none of them is. Raises also `Malformed` or
        `NotCanonical` for a body that would spoil every envelope it is cut into.
        """
        for one in outgoing:
            decode(one.body)
        first_row = self._view.last_row + 1
        rows = [
            {
                "row": row,
                "stream": one.stream,
                "body": one.body,
                "digest": sha256(one.body).digest(),
                "kept_at": int(at.timestamp()),
            }
            for row, one in enumerate(outgoing, first_row)
        ]
        states = [{"name": name, "state": state} for name, state in (memory or {}).items()]

        def work(db: sqlite3.Connection) -> None:
            db.executemany(statement("keep_body"), rows)
            db.executemany(statement("remember"), states)

        try:
            self._write(work)
        except OutboxUnavailable:
            # The disk may have failed after it had written: then the rows can be read, and are safe.
            if not rows or self._view.last_row < first_row:
                raise
            return
        view = self._view
        view.last_row += len(rows)
        view.waiting += len(rows)
        view.streams.update(one.stream for one in outgoing)

    @_alone
    def recall(self) -> dict[str, bytes]:
        """All that is remembered, by name."""
        return self._file.read(lambda db: dict(db.execute(statement("recall")).fetchall()))

    # --- sending ---------------------------------------------------------------------------

    @_alone
    def cut(self, key: str, seal: Seal, narrow: Mapping[str, int] | None = None) -> Cut | None:
        """Cut the next envelope from the oldest bodies; None where none can be sent.

        It holds at most `EVENTS_MAX` bodies of `BYTES_MAX` bytes, one run a stream, and of a stream in
        `narrow` at most so many. `key` is the id of the key that `seal` signs with.
        """
        after, limits = self._view.seen_row, narrow or {}

        def work(db: sqlite3.Connection) -> tuple[Cut | None, Gathered]:
            gathered = gather(db, after, limits)
            if not gathered.waiting:
                return None, gathered
            runs = [NewRun(stream, one.head, one.bodies) for stream, one in gathered.waiting.items()]
            envelope, heads = seal(runs)
            return keep_cut(db, key, envelope, gathered.waiting, heads), gathered

        cut, gathered = self._write(work, empties=True)
        if gathered.spoilt:
            self._known = None
        self._view.seen_row = gathered.seen_row
        return cut

    @_alone
    def cuts(self) -> list[Cut]:
        """The envelopes in flight, in the order in which they were cut."""

        def work(db: sqlite3.Connection) -> list[Cut]:
            return [
                Cut(number, digest.hex(), key, envelope, runs_of(db, number))
                for number, digest, key, envelope in db.execute(statement("list_cuts")).fetchall()
            ]

        return self._file.read(work)

    # --- being answered --------------------------------------------------------------------

    @_alone
    def tell(self, heads: Iterable[StreamHead], *, anew: bool) -> None:
        """The ledger told where chains go on: all of them if `anew`, else those that are not known yet.

        A stream with an envelope in flight goes on after that envelope, whatever its head is now.
        """
        told = [one for one in heads if anew or one.stream not in self._view.told]
        if told:
            self._write(lambda db: adopt(db, told), empties=True)
            self._known = None

    @_alone
    def release(self, cut: Cut, heads: Iterable[StreamHead]) -> None:
        """Every event of `cut` is in the book, where the chains go on after `heads`."""

        def work(db: sqlite3.Connection) -> tuple[int, bool]:
            released = sum(release(db, run.stream, run.first_row, run.last_row) for run in cut.runs)
            db.execute(statement("drop_cut"), {"number": cut.number})
            newer = [one for one in heads if one.sequence > tip_sequence(db, one.stream)]
            return released, adopt(db, newer)

        view = self._view
        released, ours = self._write(work, empties=True)
        view.waiting -= released
        if ours:
            self._known = None
        if not self._view.waiting:
            self._file.refill_reserve()

    @_alone
    def withdraw(self, cut: Cut) -> None:
        """The ledger did not take `cut`: it and all that were cut after it are to be cut anew."""
        self._write(lambda db: withdraw(db, cut.number), empties=True)
        self._view.seen_row = 0

    @_alone
    def rechain(self, cut: Cut, heads: Iterable[StreamHead]) -> bool:
        """`cut` does not fit the book: withdraw it and go on from the book's `heads`.

        Returns whether one of them is a link of our own, so that nobody else has written there.
        """

        def work(db: sqlite3.Connection) -> bool:
            withdraw(db, cut.number)
            return adopt(db, heads)

        ours = self._write(work, empties=True)
        self._known = None
        return ours

    @_alone
    def refuse(self, cut: Cut, stream: str, sequence: int, code: str, what: str) -> bool:
        """The ledger will never take one body: lay it aside, and cut `cut` and what follows it anew.

        Returns whether there was such a body; otherwise nothing is changed.
        """

        def work(db: sqlite3.Connection) -> bool:
            row = find_row(db, cut, stream, sequence)
            if row is None:
                return False
            withdraw(db, cut.number)
            refuse(db, row, code, what)
            return True

        found = self._write(work, empties=True)
        self._known = None
        return found

    # --- looking ---------------------------------------------------------------------------

    @_alone
    def standing(self) -> Standing:
        """How many bodies wait, since when, and for what."""
        view = self._view
        row = self._file.read(lambda db: db.execute(statement("oldest_body")).fetchone())
        oldest_at = datetime.fromtimestamp(row[0], UTC) if row else None
        return Standing(view.waiting, oldest_at, view.refused, frozenset(view.streams - view.told))

    @_alone
    def refusals(self) -> list[Refused]:
        """What was refused, in the order in which it was kept."""
        return self._file.read(
            lambda db: [Refused(*row) for row in db.execute(statement("list_refused")).fetchall()]
        )

    @property
    def _view(self) -> _View:
        if self._known is None:
            self._known = self._file.read(_look)
        return self._known

    def _write(self, work: Callable[[sqlite3.Connection], Result], *, empties: bool = False) -> Result:
        try:
            return self._file.write(work, empties=empties)
        except BaseException:
            self._known = None  # whether it is done is read from the file
            raise


def _look(db: sqlite3.Connection) -> _View:
    (waiting,) = db.execute(statement("count_bodies")).fetchone()
    (refused,) = db.execute(statement("count_refused")).fetchone()
    (last_row,) = db.execute(statement("last_row")).fetchone() or (0,)
    streams = {stream for (stream,) in db.execute(statement("list_streams"))}
    told = {stream for (stream,) in db.execute(statement("list_tips"))}
    return _View(waiting, refused, last_row, streams, told)
