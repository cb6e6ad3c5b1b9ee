"""What holds whatever arrives, in whatever order: nothing forged passes, nothing is lost or told twice."""

from typing import Any

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ledger.canonical import decode, encode
from ledger.entry import EMPTY, Head, chain
from ledger.events import KeyRevoked
from ledger.keys import SigningKey
from ledger.merkle import root_hash
from ledger.registry import OPERATOR
from tests.unit.ledger.campus import (
    ALARM,
    COMMUNITY,
    KEYS,
    Book,
    bodies_of,
    campus,
    enrolled,
    facts,
    forged,
    key,
    reading,
    readings,
    rotated,
)

CODES = {
    "malformed",
    "not-canonical",
    "not-permitted",
    "unknown-device",
    "key-revoked",
    "bad-signature",
    "clock-skew",
    "sequence-gap",
    "chain-broken",
    "fork",
    "contradiction",
}

BOOK = campus()
BOOK.take(BOOK.sealed("gw-1", {"meter/m-1": readings(0, 4)}))
HONEST = [
    BOOK.sealed("gw-1", {"meter/m-1": readings(4, 7), "device/gw-1": [ALARM]}),
    BOOK.sealed("gw-1", {"device/gw-1": [rotated("gw-1", key(20))]}),
    BOOK.sealed(OPERATOR, {"registry": facts()[:2]}),
]

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**54), 2**54) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every part of a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for step, part in inner for place in places(part, (*at, step)))]


def replaced(value: Any, place: tuple[Any, ...], part: Any) -> Any:
    """The value with another part at a place."""
    if not place:
        return part
    step, *rest = place
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[step] = replaced(value[step], tuple(rest), part)
    return changed


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(HONEST), st.data())
def test_no_envelope_with_other_bytes_passes(envelope: bytes, data: st.DataObject) -> None:
    changed = bytearray(envelope)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    assume(changed != envelope)
    assert BOOK.answer(bytes(changed)) in CODES


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(HONEST), st.data())
def test_no_envelope_that_says_something_else_passes(envelope: bytes, data: st.DataObject) -> None:
    honest = decode(envelope)
    place = data.draw(st.sampled_from(places(honest)))
    changed = replaced(honest, place, data.draw(JSON))
    assume(changed != honest)
    assert BOOK.answer(encode(changed)) in CODES


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(HONEST), st.data())
def test_no_envelope_made_of_parts_of_itself_passes(envelope: bytes, data: st.DataObject) -> None:
    honest = decode(envelope)
    known = places(honest)
    one, other = data.draw(st.sampled_from(known)), data.draw(st.sampled_from(known))
    part: Any = honest
    for step in other:
        part = part[step]
    changed = replaced(honest, one, part)
    assume(changed != honest)
    assert BOOK.answer(encode(changed)) in CODES


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | JSON.map(msgspec.json.encode))
def test_nothing_else_passes(data: bytes) -> None:
    assert BOOK.answer(data) in CODES


EVENTS = 12
BODIES = bodies_of(readings(0, EVENTS))
LINKS = chain(COMMUNITY, "meter/m-1", EMPTY, BODIES)
SLICES = st.tuples(st.integers(0, EVENTS - 1), st.integers(1, 5)).map(
    lambda pair: (pair[0], min(pair[0] + pair[1], EVENTS))
)


def piece(begin: int, end: int) -> bytes:
    """The envelope of some of the meter's events."""
    head = Head(begin, LINKS[begin - 1].entry_hash) if begin else EMPTY
    return forged([("meter/m-1", head, BODIES[begin:end])])


PIECES = {(begin, end): piece(begin, end) for begin in range(EVENTS) for end in range(begin + 1, EVENTS + 1)}


@settings(max_examples=100, deadline=None)
@given(st.lists(SLICES, max_size=20))
def test_events_in_pieces_come_together_in_whatever_order_they_arrive(slices: list[tuple[int, int]]) -> None:
    book, known = opened(), 0
    for begin, end in slices:
        expected = "sequence-gap" if begin > known else "duplicate" if end <= known else "recorded"
        assert book.answer(PIECES[begin, end]) == expected
        known = known if begin > known else max(known, end)
        assert book.heads.get("meter/m-1", EMPTY).sequence == known
    recorded = [book.recorded["meter/m-1", sequence] for sequence in range(1, known + 1)]
    assert recorded == [link.entry_hash for link in LINKS[:known]]


@settings(max_examples=40, deadline=None)
@given(st.lists(SLICES, max_size=12), st.randoms(use_true_random=False))
def test_sending_all_again_until_all_is_recorded_always_ends_in_the_same_chain(
    slices: list[tuple[int, int]], random: Any
) -> None:
    # An outbox that resends whatever has no receipt, over a line that reorders and repeats.
    book = opened()
    pending = [*slices, *((at, at + 1) for at in range(EVENTS))]
    while pending:
        random.shuffle(pending)
        pending = [part for part in pending if book.answer(PIECES[part]) == "sequence-gap"]
    assert book.heads["meter/m-1"] == Head(EVENTS, LINKS[-1].entry_hash)
    meters = [leaf for leaf in book.leaves if leaf in {link.entry_hash for link in LINKS}]
    assert meters == [link.entry_hash for link in LINKS]
    assert root_hash(book.leaves) == ROOT_IN_ORDER


STEPS = st.lists(st.sampled_from(["read", "read and alarm", "rotate", "replace"]), max_size=9)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.data())
def test_what_was_recorded_is_a_duplicate_for_ever_whatever_becomes_of_its_key(
    steps: list[str], data: st.DataObject
) -> None:
    book, keys, recorded = opened(), [KEYS["gw-1"]], list[bytes]()
    for number, step in enumerate(steps):
        runs: dict[str, Any] = {}
        if step.startswith("read"):
            begin = book.heads.get("meter/m-1", EMPTY).sequence
            runs["meter/m-1"] = readings(begin, begin + data.draw(st.integers(1, 3)))
        if step == "read and alarm":
            runs["device/gw-1"] = [ALARM]
        if step == "rotate":
            runs["device/gw-1"] = [rotated("gw-1", key(100 + number))]
        if step == "replace":
            gone = KeyRevoked(device="gw-1", key=keys[-1].public.id, reason="stolen")
            anew = enrolled("gw-1", "gateway", key(100 + number))
            sent = book.sealed(OPERATOR, {"registry": [gone, anew]})
        else:
            sent = book.sealed("gw-1", runs, signer=keys[-1])
        assert book.answer(sent) == "recorded"
        recorded.append(sent)
        if step in ("rotate", "replace"):
            keys.append(key(100 + number))
        assert {book.answer(each) for each in recorded} == {"duplicate"}
        for former in keys[:-1]:
            new = data.draw(st.sampled_from(["next", "longer", "gap", "other"]))
            assert book.answer(newer(book, new, former)) == "key-revoked"


def newer(book: Book, what: str, signer: SigningKey) -> bytes:
    """An envelope of the gateway's meter that the book does not hold, or not all of."""
    head = book.heads.get("meter/m-1", EMPTY)
    body = encode(msgspec.structs.replace(reading(0), import_wh=7))
    if what == "gap":
        head = Head(head.sequence + 2, bytes(32))
    known = bodies_of(readings(0, head.sequence)) if what in ("longer", "other") else []
    bodies = [*known[:-1], body] if what == "other" else [*known, body]
    return forged([("meter/m-1", EMPTY if known else head, bodies)], signer=signer)


def opened() -> Book:
    """A campus that has heard nothing of its meters, copied rather than opened anew."""
    book = Book()
    book.registry, book.heads = FRESH.registry.copy(), dict(FRESH.heads)
    book.recorded, book.leaves = dict(FRESH.recorded), list(FRESH.leaves)
    return book


FRESH = campus()
ROOT_IN_ORDER = root_hash([*FRESH.leaves, *(link.entry_hash for link in LINKS)])
