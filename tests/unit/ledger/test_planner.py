"""What a batch of envelopes does to a book, decided without a store."""

from datetime import timedelta
from hashlib import sha256

import msgspec
import pytest

from ledger.admission import InStream
from ledger.entry import EMPTY, Head
from ledger.errors import BadInput
from ledger.events import BuildingAdded, FeederAdded
from ledger.log_edge import LogEdge
from ledger.merkle import EMPTY_ROOT, Frontier, root_hash
from ledger.note import Verifier, open_checkpoint
from ledger.planner import Item, Plan, RunHeader
from ledger.registry import OPERATOR
from tests.unit.ledger.campus import (
    COMMUNITY,
    LOG_KEY,
    NOW,
    Book,
    campus,
    enrolled,
    key,
    readings,
    rotated,
)

ORIGIN = "ledger.example/campus"


def item(book: Book, device: str, envelope: bytes) -> Item:
    """An envelope as the writer hands it on."""
    try:
        return Item(device, envelope, book.examine(envelope))
    except BadInput as error:
        return Item(device, envelope, error)


def plan_of(book: Book, size: int = 100) -> Plan:
    """An empty plan against the book."""
    return Plan(COMMUNITY, NOW, size, book.registry)


@pytest.fixture
def book() -> Book:
    """A book that knows the campus, ten days after its first morning."""
    book = campus()
    book.now = NOW + timedelta(days=10)
    return book


def test_events_get_the_next_positions_in_the_order_of_the_envelopes(book: Book) -> None:
    plan = plan_of(book)
    both = book.sealed("gw-1", {"meter/m-1": readings(0, 3)})
    other = book.sealed("gw-2", {"meter/m-2": readings(0, 2)})
    for device, envelope in (("gw-1", both), ("gw-2", other)):
        plan.take(item(book, device, envelope), book.heads, {})
    assert [row[1] for row in plan.events] == [100, 101, 102, 103, 104]
    assert [(row[2], row[3]) for row in plan.events] == [
        ("meter/m-1", 1), ("meter/m-1", 2), ("meter/m-1", 3), ("meter/m-2", 1), ("meter/m-2", 2),
    ]  # fmt: skip
    assert [row[7] for row in plan.events] == [100, 100, 100, 103, 103], "each tells its envelope"
    assert [(row[1], row[2]) for row in plan.envelopes] == [(100, "gw-1"), (103, "gw-2")]
    assert [answer.code for answer in plan.answers] == ["recorded", "recorded"]


def test_an_envelope_can_be_written_out_again_from_what_is_kept_of_it(book: Book) -> None:
    plan = plan_of(book)
    plan.take(item(book, "gw-1", book.sealed("gw-1", {"meter/m-1": readings(0, 3)})), book.heads, {})
    (row,) = plan.envelopes
    assert msgspec.json.decode(row[5], type=list[RunHeader]) == [RunHeader(1, 3, "0" * 64, "meter/m-1")]


def test_an_answer_tells_the_heads_after_the_envelope(book: Book) -> None:
    plan = plan_of(book)
    first = book.sealed("gw-1", {"meter/m-1": readings(0, 3)})
    plan.take(item(book, "gw-1", first), book.heads, {})
    plan.take(item(book, "gw-1", first), book.heads, {})
    heads = [{head.stream: head.head() for head in answer.heads} for answer in plan.answers]
    assert heads[0] == heads[1] == {"meter/m-1": plan.heads["meter/m-1"]}
    assert [answer.code for answer in plan.answers] == ["recorded", "duplicate"]
    assert plan.answers[0].envelope == sha256(first).hexdigest()


def test_what_an_earlier_envelope_of_the_plan_appended_counts_for_the_later_ones(book: Book) -> None:
    plan = plan_of(book)
    first = book.sealed("gw-1", {"meter/m-1": readings(0, 3)})
    early = item(book, "gw-1", first)
    plan.take(early, book.heads, {})
    second = book.sealed("gw-1", {"meter/m-1": readings(3, 5)}, heads=plan.heads)
    plan.take(item(book, "gw-1", second), book.heads, {})
    assert plan.heads["meter/m-1"].sequence == 5
    assert plan.overlapping(early, book.heads) == [("meter/m-1", 3)], "behind the head now"
    assert plan.touches([("meter/m-1", 3)])
    assert not plan.touches([("meter/m-2", 1)])


def test_what_ends_before_the_head_is_compared_with_what_is_recorded(book: Book) -> None:
    book.take(first := book.sealed("gw-1", {"meter/m-1": readings(0, 3)}))
    book.take(book.sealed("gw-1", {"meter/m-1": readings(3, 9)}))
    again = item(book, "gw-1", first)
    places = plan_of(book).overlapping(again, book.heads)
    assert places == [("meter/m-1", 3)]
    for recorded, code in ((book.recorded[places[0]], "duplicate"), (bytes(32), "fork")):
        plan = plan_of(book)
        plan.take(again, book.heads, {places[0]: recorded})
        assert [answer.code for answer in plan.answers] == [code]
        assert plan.events == []


def test_only_the_new_end_of_an_envelope_is_appended(book: Book) -> None:
    book.take(book.sealed("gw-1", {"meter/m-1": readings(0, 3)}))
    longer = book.sealed("gw-1", {"meter/m-1": readings(0, 5)}, heads={})
    plan = plan_of(book)
    plan.take(item(book, "gw-1", longer), book.heads, {})
    assert [(row[1], row[3]) for row in plan.events] == [(100, 4), (101, 5)]
    assert msgspec.json.decode(plan.envelopes[0][5])[0]["first"] == 1, "the signature covers all of it"


def test_a_refused_envelope_is_kept_whole_and_changes_nothing_else(book: Book) -> None:
    plan = plan_of(book)
    gapped = book.sealed("gw-1", {"meter/m-1": readings(5, 6)}, heads={"meter/m-1": Head(5, bytes(32))})
    refused = item(book, "gw-1", gapped)
    plan.take(refused, book.heads, {})
    plan.take(Item("gw-7", b"\0junk", InStream(BadInput("odd"), "meter/m-2", 7)), book.heads, {})
    assert (plan.events, plan.envelopes, plan.heads, plan.size) == ([], [], {}, 100)
    assert [row[2] for row in plan.quarantine] == ["sequence-gap", "bad-input"]
    assert [row[7] for row in plan.quarantine] == [gapped, b"\0junk"]
    assert plan.parked == {"meter/m-1"}, "only what waits for its predecessors is parked"
    told = plan.answers[0]
    assert told.refusal is not None
    assert (told.refusal.stream, told.refusal.sequence) == ("meter/m-1", 6)
    assert [head.head() for head in told.heads] == [EMPTY]


def test_a_key_that_counts_no_more_is_told_of_what_is_in_the_book_and_of_no_head_otherwise(
    book: Book,
) -> None:
    rotation = book.sealed("gw-1", {"device/gw-1": [rotated("gw-1", key(20))]})
    book.take(rotation)
    plan, size = plan_of(book), len(book.leaves)
    late = book.sealed("gw-1", {"meter/m-1": readings(0, 1)})
    for envelope in (rotation, late):
        plan.take(item(book, "gw-1", envelope), book.heads, {})
    assert [answer.code for answer in plan.answers] == ["duplicate", "key-revoked"]
    assert [[head.stream for head in answer.heads] for answer in plan.answers] == [["device/gw-1"], []]
    assert (plan.events, [row[2] for row in plan.quarantine]) == ([], ["key-revoked"])
    assert (plan.registry, len(book.leaves)) == (book.registry, size)


def test_a_registry_is_changed_by_a_whole_envelope_or_not_at_all(book: Book) -> None:
    plan, before = plan_of(book), book.registry
    good = book.sealed(OPERATOR, {"registry": [FeederAdded(feeder="f-2", name="")]})
    plan.take(item(book, OPERATOR, good), book.heads, {})
    assert "f-2" in plan.registry.feeders
    assert "f-2" not in before.feeders, "the state is only changed by the commit"
    half = [FeederAdded(feeder="f-3", name=""), BuildingAdded(building="b-9", feeder="f-9", name="")]
    plan = plan_of(book)
    plan.take(item(book, OPERATOR, book.sealed(OPERATOR, {"registry": half})), book.heads, {})
    assert plan.registry is before
    assert [(row[2], row[5]) for row in plan.quarantine] == [
        ("contradiction", book.heads["registry"].sequence + 2)
    ]


def test_a_batch_grows_the_log_by_its_events_and_signs_it(book: Book) -> None:
    edge = LogEdge(Frontier(), [])
    edge.append(book.leaves)
    plan = plan_of(book, size=len(book.leaves))
    plan.take(item(book, "gw-1", book.sealed("gw-1", {"meter/m-1": readings(0, 300)})), book.heads, {})
    batch = plan.batch(edge, ORIGIN, LOG_KEY)
    leaves = [*book.leaves, *(row[5] for row in plan.events)]
    assert (batch.before, batch.after.size) == (len(book.leaves), len(leaves))
    checkpoint = open_checkpoint(batch.after.checkpoint, Verifier(ORIGIN, LOG_KEY.public))
    assert (checkpoint.size, checkpoint.root) == (len(leaves), root_hash(leaves))
    assert [(row[1], row[2]) for row in batch.tiles] == [(0, 0)]


def test_a_batch_without_events_leaves_the_log_as_it_is(book: Book) -> None:
    edge = LogEdge(Frontier(), [])
    plan = plan_of(book, size=0)
    plan.take(Item("gw-1", b"junk", BadInput("odd")), book.heads, {})
    batch = plan.batch(edge, ORIGIN, LOG_KEY)
    assert (batch.after.size, batch.after.root, batch.after.checkpoint, batch.tiles) == (
        0,
        EMPTY_ROOT,
        "",
        [],
    )


def test_an_overlap_applies_only_its_new_events_to_the_registry(book: Book) -> None:
    before = dict(book.heads)
    known = [FeederAdded(feeder="f-8", name="8"), enrolled("gw-8", "gateway", key(88))]
    longer = [*known, FeederAdded(feeder="f-9", name="9")]
    plan = plan_of(book)
    for events in (known, longer):
        envelope = book.sealed(OPERATOR, {"registry": events}, heads=before)
        plan.take(item(book, OPERATOR, envelope), book.heads, {})
    assert [answer.code for answer in plan.answers] == ["recorded", "recorded"]
    assert "f-9" in plan.registry.feeders
    assert len(plan.events) == 3
