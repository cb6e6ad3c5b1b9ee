"""Every envelope gets one answer, by the first thing that is wrong with it, and a refusal changes nothing."""

from datetime import timedelta

import msgspec
import pytest

from ledger.admission import (
    SKEW_MAX,
    BadSignature,
    ChainBroken,
    ClockSkew,
    Fork,
    InStream,
    SequenceGap,
    examine,
)
from ledger.canonical import decode, encode
from ledger.entry import EMPTY, Head
from ledger.events import AnyEvent, BuildingAdded, FeederAdded, KeyRevoked
from ledger.keys import b64
from ledger.registry import OPERATOR, SERVICE, NotPermitted
from tests.unit.ledger.campus import (
    ALARM,
    COMMUNITY,
    KEYS,
    MORNING,
    NOW,
    OPERATOR_KEY,
    SERVICE_KEY,
    STRANGER_KEY,
    Book,
    Runs,
    bodies_of,
    campus,
    enrolled,
    facts,
    forged,
    key,
    opening,
    reading,
    readings,
    rotated,
)

NOON = MORNING + timedelta(hours=12)


@pytest.fixture
def book() -> Book:
    """A campus whose gateway has sent four readings."""
    book = campus()
    book.take(book.sealed("gw-1", {"meter/m-1": readings(0, 4)}))
    return book


# --- the codes -----------------------------------------------------------------------------------------


def test_the_next_events_are_recorded(book: Book) -> None:
    envelope = book.sealed("gw-1", {"meter/m-1": readings(4, 6), "device/gw-1": [ALARM]})
    assert book.answer(envelope) == "recorded"
    assert book.heads["meter/m-1"].sequence == 6
    assert book.heads["device/gw-1"].sequence == 1


def test_what_was_recorded_is_a_duplicate_however_often_it_comes(book: Book) -> None:
    first = book.sealed("gw-1", {"meter/m-1": readings(4, 6)})
    assert book.answer(first) == "recorded"
    assert book.answer(first) == book.answer(first) == "duplicate"
    assert book.answer(book.sealed("gw-1", {"meter/m-1": readings(6, 8)})) == "recorded"
    assert book.answer(first) == "duplicate"


def test_the_same_events_signed_anew_are_a_duplicate(book: Book) -> None:
    book.take(book.sealed("gw-1", {"meter/m-1": readings(4, 6)}))
    book.take(book.sealed("gw-1", {"device/gw-1": [rotated("gw-1", key(20))]}))
    anew = forged([("meter/m-1", head_after(book, 4), bodies_of(readings(4, 6)))], signer=key(20))
    assert book.answer(anew) == "duplicate"


def head_after(book: Book, sequence: int, stream: str = "meter/m-1") -> Head:
    """The head that a stream had after a sequence."""
    return Head(sequence, book.recorded[stream, sequence]) if sequence else EMPTY


@pytest.mark.parametrize(("begin", "end"), [(0, 5), (0, 8), (2, 5), (3, 5), (3, 9)])
def test_of_an_overlap_only_what_is_new_is_recorded(book: Book, begin: int, end: int) -> None:
    envelope = forged([("meter/m-1", head_after(book, begin), bodies_of(readings(begin, end)))])
    assert book.take(envelope) == end - 4
    assert book.heads["meter/m-1"].sequence == end
    straight = campus()
    straight.take(straight.sealed("gw-1", {"meter/m-1": readings(0, end)}))
    assert book.leaves == straight.leaves


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (0, 3), (1, 3), (0, 4), (3, 4)])
def test_a_part_of_what_is_known_is_a_duplicate(book: Book, begin: int, end: int) -> None:
    envelope = forged([("meter/m-1", head_after(book, begin), bodies_of(readings(begin, end)))])
    assert book.answer(envelope) == "duplicate"


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (0, 3), (1, 3), (0, 4), (3, 4), (0, 6), (3, 6)])
@pytest.mark.parametrize("changed", ["first", "last"])
def test_another_event_in_a_known_place_is_a_fork(book: Book, begin: int, end: int, changed: str) -> None:
    other = msgspec.structs.replace(reading(3), import_wh=9)
    events = readings(begin, end)
    events[0 if changed == "first" else min(end, 4) - begin - 1] = other
    envelope = forged([("meter/m-1", head_after(book, begin), bodies_of(events))])
    assert book.answer(envelope) == "fork"


def test_known_events_after_another_history_are_a_fork(book: Book) -> None:
    elsewhere = Head(2, bytes.fromhex("ab" * 32))
    assert book.answer(forged([("meter/m-1", elsewhere, bodies_of(readings(2, 4)))])) == "fork"


@pytest.mark.parametrize("begin", [5, 6, 100, 2**53 - 10])
def test_events_after_missing_ones_are_a_gap(book: Book, begin: int) -> None:
    runs = [("meter/m-1", Head(begin, bytes.fromhex("ab" * 32)), bodies_of(readings(6, 8)))]
    with pytest.raises(InStream) as refused:
        book.take(forged(runs))
    assert (refused.value.code, refused.value.stream, refused.value.sequence) == (
        SequenceGap.code,
        "meter/m-1",
        begin + 1,
    )
    assert "send from sequence 5" in refused.value.hint


def test_a_parked_gap_is_recorded_when_it_is_filled(book: Book) -> None:
    ahead = campus()
    ahead.take(ahead.sealed("gw-1", {"meter/m-1": readings(0, 6)}))
    late = ahead.sealed("gw-1", {"meter/m-1": readings(6, 8)})
    assert book.answer(late) == "sequence-gap"
    assert book.answer(book.sealed("gw-1", {"meter/m-1": readings(4, 6)})) == "recorded"
    assert book.answer(late) == "recorded"


def test_the_next_sequence_on_another_hash_is_a_broken_chain(book: Book) -> None:
    for previous in (bytes(32), bytes.fromhex("ab" * 32), book.recorded["meter/m-1", 3]):
        assert book.answer(forged([("meter/m-1", Head(4, previous), bodies_of(readings(4, 5)))])) == (
            ChainBroken.code
        )


def test_a_chain_begins_at_zeros(book: Book) -> None:
    begun = forged([("device/gw-1", Head(0, bytes.fromhex("ab" * 32)), bodies_of([ALARM]))])
    assert book.answer(begun) == ChainBroken.code


def test_an_envelope_is_taken_whole_or_not_at_all(book: Book) -> None:
    good = ("device/gw-1", EMPTY, bodies_of([ALARM]))
    gap = ("meter/m-1", Head(9, bytes(32)), bodies_of(readings(9, 10)))
    for runs in ([good, gap], [gap, good]):
        assert book.answer(forged(runs)) == "sequence-gap"
    known = ("meter/m-1", EMPTY, bodies_of(readings(0, 4)))
    assert book.take(forged([known, good])) == 1


@pytest.mark.parametrize("seconds", [1, 3_600])
def test_a_reading_from_the_future_is_refused(book: Book, seconds: int) -> None:
    at = NOW + SKEW_MAX
    for instant, code in ((at, "recorded"), (at + timedelta(seconds=seconds), ClockSkew.code)):
        event = msgspec.structs.replace(reading(4), measured_at=instant)
        twin = campus()
        twin.take(twin.sealed("gw-1", {"meter/m-1": readings(0, 4)}))
        assert twin.answer(twin.sealed("gw-1", {"meter/m-1": [event]})) == code


def test_a_late_reading_is_never_too_late(book: Book) -> None:
    book.now = NOW + timedelta(days=3_650)
    assert book.answer(book.sealed("gw-1", {"meter/m-1": readings(4, 6)})) == "recorded"


@pytest.mark.parametrize("community", ["town", "camp", "campus2"])
def test_an_envelope_for_another_community_is_refused(book: Book, community: str) -> None:
    envelope = forged([("meter/m-1", EMPTY, bodies_of(readings(0, 1)))], community=community)
    assert book.answer(envelope) == NotPermitted.code


@pytest.mark.parametrize("device", ["nobody", "gw-2", "b-1", OPERATOR])
def test_a_key_counts_for_its_own_device(book: Book, device: str) -> None:
    envelope = forged([("meter/m-1", EMPTY, bodies_of(readings(0, 1)))], device=device)
    assert book.answer(envelope) == "unknown-device"


def test_another_key_under_a_known_name_is_a_bad_signature(book: Book) -> None:
    envelope = book.sealed("gw-1", {"meter/m-1": readings(4, 5)}, signer=STRANGER_KEY)
    assert book.answer(envelope) == "unknown-device"
    renamed = encode({**decode(envelope), "key": KEYS["gw-1"].public.id})
    assert book.answer(renamed) == BadSignature.code


def test_a_signature_covers_everything_in_an_envelope(book: Book) -> None:
    honest = decode(book.sealed("gw-1", {"meter/m-1": readings(4, 6), "device/gw-1": [ALARM]}))
    runs = honest["runs"]
    other_body = decode(encode(reading(9)))
    for what, changed in {
        "a body": [{**runs[0], "bodies": [other_body, runs[0]["bodies"][1]]}, runs[1]],
        "one body less": [{**runs[0], "bodies": runs[0]["bodies"][:1]}, runs[1]],
        "one body more": [{**runs[0], "bodies": [*runs[0]["bodies"], other_body]}, runs[1]],
        "bodies swapped": [{**runs[0], "bodies": runs[0]["bodies"][::-1]}, runs[1]],
        "another stream": [{**runs[0], "stream": "meter/m-2"}, runs[1]],
        "another sequence": [{**runs[0], "first": 6}, runs[1]],
        "another previous": [{**runs[0], "previous": "ab" * 32}, runs[1]],
        "one run less": runs[:1],
        "the other run alone": runs[1:],
        "runs swapped": runs[::-1],
    }.items():
        assert book.answer(encode({**honest, "runs": changed})) == BadSignature.code, what
    for signature in (b64(bytes(64)), b64(bytes(65)), honest["signature"].swapcase()):
        assert book.answer(encode({**honest, "signature": signature})) in ("bad-signature", "malformed")
    assert book.answer(encode(honest)) == "recorded"


def test_a_signature_of_one_book_is_worth_nothing_in_another() -> None:
    town = Book()
    town.registry.community = "town"
    opened = msgspec.structs.replace(opening(), community="town")
    honest = forged(
        [("registry", EMPTY, bodies_of([opened]))], device=SERVICE, signer=SERVICE_KEY, community="town"
    )
    assert town.answer(encode({**decode(honest), "community": COMMUNITY})) == NotPermitted.code
    other = Book()
    assert other.answer(encode({**decode(honest), "community": COMMUNITY})) == BadSignature.code
    assert town.answer(honest) == "recorded"


# --- keys over time --------------------------------------------------------------------------------------


def test_a_rotated_key_signs_no_more(book: Book) -> None:
    late = book.sealed("gw-1", {"meter/m-1": readings(4, 5)})
    rotation = book.sealed("gw-1", {"device/gw-1": [rotated("gw-1", key(20))]})
    assert book.answer(rotation) == "recorded"
    assert book.answer(late) == "key-revoked"
    assert book.answer(book.sealed("gw-1", {"meter/m-1": readings(4, 5)}, signer=key(20))) == "recorded"


def test_a_rotation_and_what_comes_with_it_are_signed_by_the_old_key(book: Book) -> None:
    runs: dict[str, list[AnyEvent]] = {
        "device/gw-1": [rotated("gw-1", key(20))],
        "meter/m-1": readings(4, 5),
    }
    assert book.answer(book.sealed("gw-1", runs, signer=key(20))) == "unknown-device"
    assert book.answer(book.sealed("gw-1", runs)) == "recorded"


def test_a_revoked_key_signs_no_more_until_another_is_enrolled(book: Book) -> None:
    revoked = KeyRevoked(device="gw-1", key=KEYS["gw-1"].public.id, reason="stolen")
    assert book.answer(book.sealed(OPERATOR, {"registry": [revoked]})) == "recorded"
    assert book.answer(book.sealed("gw-1", {"meter/m-1": readings(4, 5)})) == "key-revoked"
    anew = enrolled("gw-1", "gateway", key(20))
    assert book.answer(book.sealed(OPERATOR, {"registry": [anew]})) == "recorded"
    assert book.answer(book.sealed("gw-1", {"meter/m-1": readings(4, 5)})) == "key-revoked"
    assert book.answer(book.sealed("gw-1", {"meter/m-1": readings(4, 5)}, signer=key(20))) == "recorded"


def test_what_is_in_the_book_is_a_duplicate_also_when_its_key_counts_no_more(book: Book) -> None:
    recorded = [
        book.sealed("gw-1", {"meter/m-1": readings(0, 4)}, heads={}),
        book.sealed("gw-1", {"meter/m-1": readings(4, 6), "device/gw-1": [ALARM]}),
    ]
    assert book.answer(recorded[1]) == "recorded"
    rotation = book.sealed("gw-1", {"device/gw-1": [rotated("gw-1", key(20))], "meter/m-1": readings(6, 7)})
    assert book.answer(rotation) == "recorded"
    recorded.append(rotation)
    assert [book.answer(each) for each in recorded] == ["duplicate"] * 3
    revoked = KeyRevoked(device="gw-1", key=key(20).public.id, reason="stolen")
    recorded.append(book.sealed("gw-1", {"meter/m-1": readings(7, 9)}, signer=key(20)))
    assert book.answer(recorded[-1]) == "recorded"
    assert book.answer(book.sealed(OPERATOR, {"registry": [revoked]})) == "recorded"
    assert [book.answer(each) for each in recorded] == ["duplicate"] * 4
    assert (
        book.answer(book.sealed(OPERATOR, {"registry": [enrolled("gw-1", "gateway", key(21))]})) == "recorded"
    )
    assert [book.answer(each) for each in recorded] == ["duplicate"] * 4


def test_with_a_key_that_counts_no_more_all_but_what_is_in_the_book_is_refused(book: Book) -> None:
    head = {sequence: head_after(book, sequence) for sequence in range(5)}
    rotation = book.sealed("gw-1", {"device/gw-1": [rotated("gw-1", key(20))]})
    book.take(rotation)
    known = bodies_of(readings(0, 4))
    other = encode(msgspec.structs.replace(reading(3), import_wh=9))
    for what, runs in {
        "an end that is new": [("meter/m-1", EMPTY, [*known, encode(reading(4))])],
        "the next event": [("meter/m-1", head[4], [encode(reading(4))])],
        "another stream that is new": [("meter/m-1", EMPTY, known), ("meter/m-2", EMPTY, known[:1])],
        "a fork": [("meter/m-1", head[3], [other])],
        "a gap": [("meter/m-1", Head(9, bytes(32)), known)],
        "a broken chain": [("meter/m-1", Head(4, bytes(32)), known)],
        "no event": [("meter/m-1", EMPTY, [MALFORMED_BODY])],
        "a stream that nobody has": [("meter/m-7", EMPTY, known)],
    }.items():
        assert book.answer(forged(runs)) == "key-revoked", what
    assert book.answer(forged([("meter/m-1", EMPTY, known)])) == "duplicate"
    assert book.answer(forged([("meter/m-1", EMPTY, known)], signature=WRONG)) == "key-revoked"
    assert book.answer(encode({**decode(rotation), "signature": "A" * 88})) == "key-revoked"
    by_another = forged([("meter/m-1", EMPTY, known)], signer=STRANGER_KEY, key=KEYS["gw-1"].public.id)
    assert book.answer(by_another) == "key-revoked"


def test_what_is_in_the_book_is_a_duplicate_whatever_time_it_is(book: Book) -> None:
    measured = book.sealed("gw-1", {"meter/m-1": readings(4, 6)})
    assert book.answer(measured) == "recorded"
    book.now = MORNING
    assert book.answer(measured) == "duplicate"
    longer = forged([("meter/m-1", head_after(book, 4), bodies_of(readings(4, 7)))])
    assert book.answer(longer) == "clock-skew"


def test_a_registry_event_that_contradicts_refuses_the_envelope(book: Book) -> None:
    good = FeederAdded(feeder="f-7", name="South")
    bad = BuildingAdded(building="b-7", feeder="f-8", name="Arts")
    assert book.answer(book.sealed(OPERATOR, {"registry": [good, bad]})) == "contradiction"
    assert "f-7" not in book.registry.feeders
    repaired = msgspec.structs.replace(bad, feeder="f-7")
    assert book.answer(book.sealed(OPERATOR, {"registry": [good, repaired]})) == "recorded"


# --- opening ---------------------------------------------------------------------------------------------


def test_a_book_is_opened_by_its_own_service_and_nobody_else() -> None:
    book = Book()
    genesis = {"registry": [opening()]}
    assert book.answer(book.sealed(OPERATOR, genesis)) == NotPermitted.code
    assert book.answer(book.sealed("gw-1", {"meter/m-1": readings(0, 1)})) == NotPermitted.code
    assert book.answer(book.sealed(SERVICE, genesis, signer=STRANGER_KEY)) == NotPermitted.code
    unsigned = encode({**decode(book.sealed(SERVICE, genesis)), "signature": b64(bytes(64))})
    assert book.answer(unsigned) == BadSignature.code
    assert book.answer(book.sealed(SERVICE, genesis)) == "recorded"


@pytest.mark.parametrize(
    "runs",
    [
        {"registry": [opening(), opening()]},
        {"registry": [opening(), FeederAdded(feeder="f-1", name="")]},
        {"registry": [FeederAdded(feeder="f-1", name="")]},
        {"device/service": [opening()]},
        {"registry/x": [opening()]},
        {"registry": [opening()], "device/service": [ALARM]},
        {"device/service": [ALARM], "registry": [opening()]},
        {"registry": [msgspec.structs.replace(opening(), service_key=OPERATOR_KEY.public.bytes.hex())]},
    ],
)
def test_a_book_begins_with_its_opening_and_nothing_else(runs: dict[str, list[AnyEvent]]) -> None:
    book = Book()
    assert book.answer(book.sealed(SERVICE, runs)) == NotPermitted.code


def test_an_opening_is_for_its_own_community_and_at_its_own_place() -> None:
    book = Book()
    foreign = msgspec.structs.replace(opening(), community="town")
    assert book.answer(book.sealed(SERVICE, {"registry": [foreign]})) == "contradiction"
    later = {"registry": Head(1, bytes(32))}
    assert book.answer(book.sealed(SERVICE, {"registry": [opening()]}, heads=later)) == "sequence-gap"


def test_an_opening_sent_again_is_a_duplicate_and_another_one_is_refused(book: Book) -> None:
    again = book.sealed(SERVICE, {"registry": [opening()]}, heads={})
    assert book.answer(again) == "duplicate"
    renamed = msgspec.structs.replace(opening(), name="Other")
    assert book.answer(book.sealed(SERVICE, {"registry": [renamed]}, heads={})) == Fork.code
    assert book.answer(book.sealed(SERVICE, {"registry": [renamed]})) == "contradiction"


# --- the order of the codes --------------------------------------------------------------------------

FUTURE = encode(msgspec.structs.replace(reading(4), measured_at=NOW + timedelta(hours=1)))
MALFORMED_BODY = b'{"type":"meter-read/9"}'
SPACED_BODY = encode(reading(4)).replace(b",", b", ", 1)
AWAY = Head(9, bytes(32))
BROKEN = Head(4, bytes(32))
STALE = Head(1, bytes(32))
WRONG = b64(bytes(64))


def meter_run(head: Head, *bodies: bytes, stream: str = "meter/m-1") -> Runs:
    return [(stream, head, list(bodies))]


def by_operator(head: Head) -> bytes:
    """An envelope whose event contradicts the registry."""
    contradicting = encode(BuildingAdded(building="b-7", feeder="f-8", name="Arts"))
    runs = meter_run(head, contradicting, stream="registry")
    return forged(runs, device=OPERATOR, signer=OPERATOR_KEY)


@pytest.mark.parametrize(
    ("code", "envelope"),
    [
        # each is wrong in the way of its code and in ways that come later
        ("malformed", forged(meter_run(AWAY, MALFORMED_BODY), extra=1).replace(b",", b", ", 1)),
        ("not-canonical", forged(meter_run(AWAY, FUTURE), community="town").replace(b",", b", ", 1)),
        ("not-permitted", forged(meter_run(AWAY, MALFORMED_BODY), community="town", device="nobody")),
        ("unknown-device", forged(meter_run(AWAY, MALFORMED_BODY), device="nobody", signature=WRONG)),
        (
            "key-revoked",
            forged(meter_run(AWAY, MALFORMED_BODY), device="gw-0", signer=key(19), signature=WRONG),
        ),
        ("malformed", forged(meter_run(AWAY, MALFORMED_BODY, SPACED_BODY), signature=WRONG)),
        ("not-canonical", forged(meter_run(AWAY, SPACED_BODY, MALFORMED_BODY), signature=WRONG)),
        ("bad-signature", forged(meter_run(AWAY, FUTURE, stream="meter/m-2"), signature=WRONG)),
        ("not-permitted", forged(meter_run(AWAY, FUTURE, stream="meter/m-2"))),
        ("clock-skew", forged(meter_run(AWAY, FUTURE))),
        ("clock-skew", forged(meter_run(BROKEN, FUTURE))),
        ("clock-skew", forged(meter_run(STALE, FUTURE))),
        ("sequence-gap", by_operator(Head(99, bytes(32)))),
        ("chain-broken", by_operator(Head(1 + len(facts()) + 1, bytes(32)))),
        ("fork", by_operator(STALE)),
    ],
)
def test_the_first_fault_in_the_stated_order_is_the_answer(book: Book, code: str, envelope: bytes) -> None:
    book.take(book.sealed(OPERATOR, {"registry": [enrolled("gw-0", "gateway", key(19))]}))
    book.take(book.sealed("gw-0", {"device/gw-0": [rotated("gw-0", key(18))]}, signer=key(19)))
    assert book.answer(envelope) == code


def test_a_bad_body_is_named_by_its_stream_and_sequence(book: Book) -> None:
    good = bodies_of(readings(4, 6))
    for bad, code in ((MALFORMED_BODY, "malformed"), (SPACED_BODY, "not-canonical"), (FUTURE, "clock-skew")):
        envelope = forged([("meter/m-1", head_after(book, 4), [*good, bad, *good])])
        with pytest.raises(InStream) as refused:
            book.take(envelope)
        assert (refused.value.code, refused.value.stream, refused.value.sequence) == (code, "meter/m-1", 7)
        assert refused.value.where == "meter/m-1 7"


def test_an_examination_tells_whether_later_envelopes_depend_on_it(book: Book) -> None:
    runs: dict[str, list[AnyEvent]] = {"meter/m-1": readings(4, 5)}
    assert not book.examine(book.sealed("gw-1", runs)).changes_registry
    assert book.examine(book.sealed("gw-1", runs | {"device/gw-1": [ALARM]})).changes_registry
    assert book.examine(book.sealed(OPERATOR, {"registry": facts()[:1]})).changes_registry


def test_examining_changes_nothing(book: Book) -> None:
    before = book.snapshot()
    examine(book.sealed(OPERATOR, {"registry": facts()[:1]}), book.registry, book.now, SERVICE_KEY.public)
    assert book.snapshot() == before
