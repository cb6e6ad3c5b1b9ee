"""One envelope line, taken apart step by step: what exactly is wrong with it, and where.

It comes to the same as the hot loop on a line that is in order. On others it goes on as far as it makes
sense, so that every verdict can be told:

- A body that does not hash to the entry hash which the line gives for it is reported at its own sequence
  (step 3), and then that hash speaks for the event: whether it is the hash that the device signed and the log
  holds is told by steps 2 and 4 for themselves.
- A body that cannot be read is hashed as it is, and its content is left out of what follows.
- A chain or a log with a hole goes on behind it.
"""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from ledger.book_file import EnvelopeLine, check_canonical, parse_line
from ledger.canonical import Malformed, NotCanonical, encode
from ledger.entry import Head, entry_bytes, entry_hash, stream_kind, stream_subject
from ledger.envelope import EVENTS_MAX, Envelope, Run, RunHead, read_envelope, signature_bytes, signed_text
from ledger.errors import BadInput
from ledger.events import STREAM_KINDS, AnyEvent, CommunityOpened, MeterRead, read_bodies
from ledger.registry import Registry
from ledger.verify.report import BLOCKS, CHAINS, FORM, LOG, PLAUSIBILITY, SIGNATURES, UNREAD, Place
from ledger.verify.state import State, words

_OTHER_HASH = "the event does not hash to the entry hash that the line gives"
_HASH = re.compile("[0-9a-f]{64}")
_AFTER_BODIES = re.compile(rb'\],"first":([0-9]{1,16}),"previous":"[^"]*","stream":"([a-z0-9._/-]+)"')


@dataclass(slots=True)
class _Followed:
    """A run: its events (None for what cannot be read), its entry hashes, how many are not new."""

    run: Run
    events: list[AnyEvent | None]
    hashes: list[bytes]
    known: int

    @property
    def new_events(self) -> list[tuple[int, AnyEvent]]:
        """Those of the new events that can be read, each with its offset among them."""
        new = enumerate(self.events[self.known :])
        return [(offset, event) for offset, event in new if event is not None]


def take_closely(state: State, data: bytes, number: int) -> None:
    """Check the envelope in line `number` and go on from it."""
    line = _read(state, data, number)
    if line is None:
        return
    stored = _cut(state, line, number)
    if line.position != state.position:
        what = f"the line says position {line.position}, before it are {state.position} entries"
        state.findings.add(LOG, what, _start(line.envelope, number))
    runs = _follow_all(state, line, stored, number)
    opening = _open_book(state, runs, line.position, number)
    _check_signature(state, line.envelope, runs, number)
    for followed in runs:  # all are judged by the registry as it was before this envelope
        _check_rights(state, line.envelope.device, followed, number)
    position = line.position
    for followed in runs:
        if not opening:
            _take_in(state, followed, position, number)
        leaves = followed.hashes[followed.known :]
        state.tree.extend(b"".join(leaves))
        position += len(leaves)
    state.position = position
    state.envelopes += 1


# --- step 1: form ------------------------------------------------------------------------------


def _read(state: State, data: bytes, number: int) -> EnvelopeLine | None:
    try:
        line = parse_line(data)
    except Malformed as error:
        state.findings.add(FORM, error.what, broken_place(data, number))
        return None
    assert isinstance(line, EnvelopeLine)  # noqa: S101 - its first key said so
    start = _start(line.envelope, number)
    if line.events > EVENTS_MAX:
        what = f"the envelope has {line.events} events, at most {EVENTS_MAX} are allowed"
        state.findings.add(FORM, what, start)
        return None
    try:
        check_canonical(line, data)
        read_envelope(encode(line.envelope))
    except (Malformed, NotCanonical) as error:
        state.findings.add(FORM, words(error), start)
    if line.envelope.community != state.community:
        state.findings.add(FORM, f"the envelope is for {line.envelope.community}", start)
    return line


def _start(envelope: Envelope, number: int) -> Place:
    return Place(number, envelope.runs[0].stream, envelope.runs[0].first)


def broken_place(data: bytes, number: int) -> Place:
    """The event at which an envelope line stops being JSON, as far as what follows it still tells."""
    text = data.decode(errors="replace")
    decoder = json.JSONDecoder()
    at = text.find('"bodies":[')
    while at >= 0:
        at += len('"bodies":[')
        index = 0
        while True:
            try:
                _, at = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                return _place_after(text[at:].encode(), index, number)
            if text[at : at + 1] != ",":
                break
            index, at = index + 1, at + 1
        if text[at : at + 1] != "]":
            return _place_after(text[at:].encode(), index, number)
        at = text.find('"bodies":[', at)
    return Place(number)


def _place_after(rest: bytes, index: int, number: int) -> Place:
    match = _AFTER_BODIES.search(rest)
    return Place(number, match[2].decode(), int(match[1]) + index) if match else Place(number)


def _events(state: State, run: Run, number: int) -> list[AnyEvent | None]:
    bodies = [bytes(body) for body in run.bodies]
    with suppress(BadInput):
        return list(read_bodies(bodies))
    events: list[AnyEvent | None] = []
    for sequence, body in enumerate(bodies, run.first):  # one by one, since some cannot be read
        try:
            events += read_bodies([body])
        except BadInput as error:
            what = error.what.removeprefix("body 0").removeprefix(": ").strip()
            state.findings.add(FORM, f"the body {what}", Place(number, run.stream, sequence))
            state.findings.leave(UNREAD, SIGNATURES, BLOCKS, PLAUSIBILITY)
            events.append(None)
    return events


def _cut(state: State, line: EnvelopeLine, number: int) -> list[bytes]:
    """The entry hashes that the line gives; an empty one where it gives something else."""
    if len(line.hashes) % 64 or not line.hashes:
        state.findings.add(FORM, "`hashes` is not made of hashes", _start(line.envelope, number))
    cut = [line.hashes[at : at + 64] for at in range(0, len(line.hashes), 64)]
    return [bytes.fromhex(each) if _HASH.fullmatch(each) else b"" for each in cut]


# --- step 3: chains ----------------------------------------------------------------------------


def _follow_all(state: State, line: EnvelopeLine, stored: list[bytes], number: int) -> list[_Followed]:
    runs = []
    rest = stored
    found = state.findings.count(CHAINS)
    for run in line.envelope.runs:
        followed = _follow(state, run, rest, number)
        rest = rest[len(run.bodies) - followed.known :]
        runs.append(followed)
    if rest and state.findings.count(CHAINS) == found:
        what = f"the line has {len(rest)} entry hashes more than new events"
        state.findings.add(CHAINS, what, _start(line.envelope, number))
    return runs


def _follow(state: State, run: Run, stored: Sequence[bytes], number: int) -> _Followed:
    """Continue the chain of a run's stream with its bodies."""
    known = _known(state, run, number)
    previous = bytes.fromhex(run.previous)
    hashes = []
    for index, body in enumerate(run.bodies):
        sequence = run.first + index
        entry = entry_bytes(state.community, run.stream, sequence, previous, sha256(body).digest())
        previous = entry_hash(entry)
        if index >= known and (told := _nth(stored, index - known)) != previous:
            what = _OTHER_HASH if told else "the line gives no entry hash for the event"
            state.findings.add(CHAINS, what, Place(number, run.stream, sequence))
            previous = told or previous
        hashes.append(previous)
    if known:
        _check_known(state, run, known, hashes[known - 1], number)
    if known < len(run.bodies):
        state.heads[run.stream] = Head(run.last, hashes[-1])
    return _Followed(run, _events(state, run, number), hashes, known)


def _nth(stored: Sequence[bytes], index: int) -> bytes:
    """The entry hash that the line gives; empty where it gives none."""
    return stored[index] if index < len(stored) else b""


def _known(state: State, run: Run, number: int) -> int:
    """How many of the run's events the book has before this line."""
    head = state.head(run.stream)
    place = Place(number, run.stream, run.first)
    if run.first > head.sequence + 1:
        missing = (
            f"{head.sequence + 1} to {run.first - 1}" if run.first > head.sequence + 2 else run.first - 1
        )
        state.findings.add(CHAINS, f"before this event {missing} of its stream is missing", place)
        return 0
    if run.first == head.sequence + 1:
        if bytes.fromhex(run.previous) != head.hash:
            state.findings.add(CHAINS, "the event does not continue its stream's chain", place)
        return 0
    return min(run.last, head.sequence) - run.first + 1


def _check_known(state: State, run: Run, known: int, mine: bytes, number: int) -> None:
    """Events that came before must be the same: agreeing at the last shared one is agreeing on all."""
    head = state.head(run.stream)
    last = run.first + known - 1
    if last < head.sequence:
        state.look_back.want(run.stream, last, mine, number)
    elif mine != head.hash:
        what = "the envelope has another event than the book where they overlap"
        state.findings.add(CHAINS, what, Place(number, run.stream, run.first))


# --- step 2: keys and signatures -----------------------------------------------------------------


def _open_book(state: State, runs: list[_Followed], position: int, number: int) -> bool:
    """Apply the opening before its signature is checked: the first envelope brings its own keys."""
    if state.registry.opened is not None:
        return False
    first = runs[0].events[0]
    if not isinstance(first, CommunityOpened):
        what = "the book does not begin with community-opened"
        state.findings.add(SIGNATURES, what, Place(number, runs[0].run.stream, runs[0].run.first))
        return False
    for followed in runs:
        _take_in(state, followed, position, number)
        position += len(followed.events) - followed.known
    return True


def _check_signature(state: State, envelope: Envelope, runs: list[_Followed], number: int) -> None:
    heads = [RunHead(one.run.stream, one.run.first, one.run.last, one.hashes[-1]) for one in runs]
    try:
        key = state.registry.key_of(envelope.device, envelope.key)
        fits = key.verifies(
            signature_bytes(envelope), signed_text(envelope.community, envelope.device, heads)
        )
    except BadInput as error:
        state.findings.add(SIGNATURES, words(error), _start(envelope, number))
        return
    if not fits:
        events = sum(len(one.hashes) for one in runs)
        what = f"the signature of {envelope.device} does not fit its {events} events"
        state.findings.add(SIGNATURES, what, _start(envelope, number))


def _check_rights(state: State, device: str, followed: _Followed, number: int) -> None:
    if device not in state.registry.devices:
        return  # said already
    stream = followed.run.stream
    events = [event for event in followed.events if event is not None]
    try:
        state.registry.check_may_write(device, stream, events)
    except BadInput as error:
        sequence = followed.run.first + _first_refused(state.registry, device, stream, followed.events)
        state.findings.add(SIGNATURES, words(error), Place(number, stream, sequence))


def _first_refused(registry: Registry, device: str, stream: str, events: Sequence[AnyEvent | None]) -> int:
    """Which event alone is refused; the first where only all together are."""
    for index, event in enumerate(events):
        try:
            registry.check_may_write(device, stream, [event] if event is not None else [])
        except BadInput:
            return index
    return 0


# --- what the events say -------------------------------------------------------------------------


def _take_in(state: State, followed: _Followed, position: int, number: int) -> None:
    stream = followed.run.stream
    subject = stream_subject(stream)
    first = followed.run.first + followed.known
    for offset, event in followed.new_events:
        place = Place(number, stream, first + offset)
        if STREAM_KINDS.get(type(event)) != stream_kind(stream):
            continue  # it may not be here, which was said with the rights
        if isinstance(event, MeterRead):
            state.read(subject, event, place)
        else:
            state.apply(event, position + offset, place)
