"""Envelopes in flight, and the rows that their bodies stand in.

What is done here is done inside a transaction of the outbox; see there for what it means.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

import structlog

from ingest.outbox_file import OutboxDamaged, statement
from ledger.entry import Head
from ledger.envelope import EVENTS_MAX, NewRun
from ledger.receipt import StreamHead

log = structlog.get_logger(__name__)

BYTES_MAX = 2**19
"""Of bodies in an envelope: half of what NATS takes as one message by default."""

Seal = Callable[[list[NewRun]], tuple[bytes, dict[str, Head]]]
"""`seal_envelope` with community, device and key: the envelope's bytes, and each stream's head after it."""


class CutRun(NamedTuple):
    """A run of an envelope, and the rows that its bodies stand in."""

    stream: str
    first: int
    previous: bytes
    last: int
    hash: bytes
    first_row: int
    last_row: int


class Cut(NamedTuple):
    """An envelope in flight."""

    number: int
    digest: str
    key: str
    envelope: bytes
    runs: list[CutRun]

    @property
    def events(self) -> int:
        """How many bodies it holds."""
        return sum(run.last - run.first + 1 for run in self.runs)

    def shares_streams(self, other: "Cut") -> bool:
        """Whether both have a run of the same stream."""
        return not {run.stream for run in self.runs}.isdisjoint(run.stream for run in other.runs)


@dataclass(slots=True)
class Waiting:
    """Bodies of one stream that are about to be cut."""

    head: Head
    rows: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Gathered:
    """What the next envelope is made of, up to which row nothing was left out, and how much was spoilt."""

    waiting: dict[str, Waiting]
    seen_row: int
    spoilt: int = 0


def gather(db: sqlite3.Connection, after: int, narrow: Mapping[str, int]) -> Gathered:
    """The oldest bodies after a row that fit one envelope; what the disk has changed is laid aside."""
    waiting: dict[str, Waiting] = {}
    gathered = Gathered(waiting, after)
    size_bytes, complete = 0, True
    rows = db.execute(statement("list_waiting"), {"after": after, "most": EVENTS_MAX}).fetchall()
    for row, stream, body, digest, sequence, head in rows:
        if sha256(body).digest() != digest:
            log.error("the disk has changed an event; it is kept aside", stream=stream, row=row)
            refuse(db, row, OutboxDamaged.code, "the disk has changed this body since it was kept")
            gathered.spoilt += 1
            continue
        if waiting and size_bytes + len(body) > BYTES_MAX:
            break
        one = waiting.get(stream) or Waiting(Head(sequence, head))
        if len(one.bodies) == narrow.get(stream, EVENTS_MAX):
            complete = False
            continue
        waiting[stream] = one
        one.rows.append(row)
        one.bodies.append(body)
        size_bytes += len(body)
        if complete:
            gathered.seen_row = row
    return gathered


def keep_cut(
    db: sqlite3.Connection,
    key: str,
    envelope: bytes,
    waiting: Mapping[str, Waiting],
    heads: Mapping[str, Head],
) -> Cut:
    """Keep an envelope that was made of `waiting`; the streams' chains go on after its `heads`."""
    digest = sha256(envelope).digest()
    cut = {"digest": digest, "key": key, "envelope": envelope}
    number = db.execute(statement("keep_cut"), cut).lastrowid
    assert number is not None  # noqa: S101 - an INSERT has one
    runs = []
    for stream, one in waiting.items():
        head = heads[stream]
        run = CutRun(
            stream, one.head.sequence + 1, one.head.hash, head.sequence, head.hash, one.rows[0], one.rows[-1]
        )
        db.execute(statement("keep_run"), {"cut": number, **run._asdict()})
        _move(db, stream, head, run.last_row)
        runs.append(run)
    return Cut(number, digest.hex(), key, envelope, runs)


def runs_of(db: sqlite3.Connection, cut: int) -> list[CutRun]:
    """The runs of the envelope of that number."""
    return [CutRun(*row) for row in db.execute(statement("list_runs"), {"cut": cut})]


def _move(db: sqlite3.Connection, stream: str, head: Head, row: int) -> None:
    tip = {"stream": stream, "sequence": head.sequence, "hash": head.hash, "row": row}
    db.execute(statement("move_tip"), tip)


def withdraw(db: sqlite3.Connection, number: int) -> None:
    """Take back the envelopes from `number` on: their bodies wait again, under the links before them."""
    db.execute(statement("withdraw_runs"), {"number": number})
    firsts = db.execute(statement("list_first_runs"), {"number": number}).fetchall()
    for stream, first, previous, row, _ in firsts:
        _move(db, stream, Head(first - 1, previous), row - 1)
    db.execute(statement("drop_cuts_from"), {"number": number})


def adopt(db: sqlite3.Connection, heads: Iterable[StreamHead]) -> bool:
    """Go on from the heads that the ledger told; whether one is a link that a withdrawn envelope made.

    Where envelopes are in flight their answers will tell more, so nothing is changed there.
    """
    ours = False
    for told in heads:
        (in_flight,) = db.execute(statement("is_in_flight"), {"stream": told.stream}).fetchone()
        if in_flight:
            continue
        head = told.head()
        link = {"stream": told.stream, "sequence": head.sequence, "hash": head.hash}
        found = db.execute(statement("find_withdrawn"), link).fetchone()
        if found:
            release(db, told.stream, 0, found[0])
            ours = True
        _move(db, told.stream, head, 0)
    db.execute(statement("forget_withdrawn"))
    return ours


def tip_sequence(db: sqlite3.Connection, stream: str) -> int:
    """The sequence that the stream's chain goes on from; -1 where no head was told."""
    (sequence,) = db.execute(statement("read_tip"), {"stream": stream}).fetchone() or (-1,)
    return int(sequence)


def release(db: sqlite3.Connection, stream: str, first_row: int, last_row: int) -> int:
    """Let go of bodies that the ledger holds; how many there were."""
    rows = {"stream": stream, "first_row": first_row, "last_row": last_row}
    return db.execute(statement("release_bodies"), rows).rowcount


def refuse(db: sqlite3.Connection, row: int, code: str, what: str) -> None:
    """Lay a body aside that will never be in the book."""
    db.execute(statement("refuse_body"), {"row": row, "code": code, "what": what})
    db.execute(statement("drop_body"), {"row": row})


def find_row(db: sqlite3.Connection, cut: Cut, stream: str, sequence: int) -> int | None:
    """The row of the body that `cut` puts at (stream, sequence)."""
    for run in cut.runs:
        if run.stream == stream and run.first <= sequence <= run.last:
            place = {
                "stream": stream,
                "first_row": run.first_row,
                "last_row": run.last_row,
                "place": sequence - run.first,
            }
            found = db.execute(statement("find_body"), place).fetchone()
            return int(found[0]) if found else None
    return None
