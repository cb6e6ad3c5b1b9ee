"""A receipt says what the ledger did, and nobody else can say it."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.canonical import Malformed, NotCanonical, decode, encode
from ledger.entry import Head
from ledger.errors import BadInput
from ledger.keys import SigningKey, b64
from ledger.merkle import ProofError
from ledger.receipt import (
    DUPLICATE,
    RECORDED,
    Answer,
    Refusal,
    StreamHead,
    addressed,
    read_receipt,
    sign_receipts,
)
from tests.unit.ledger.campus import COMMUNITY, NOW, SERVICE_KEY, STRANGER_KEY

SERVICE = SERVICE_KEY.public
HEAD = Head(96, bytes.fromhex("ab" * 32))


def answer(number: int, code: str = RECORDED) -> Answer:
    return Answer(
        code=code,
        community=COMMUNITY,
        device="gw-1",
        envelope=f"{number:064x}",
        heads=[StreamHead.of("meter/m-1", HEAD)],
        recorded_at=NOW + timedelta(seconds=number),
        refusal=None if code == RECORDED else Refusal(what="ไม่ต่อเนื่อง", sequence=99, stream="meter/m-1"),
    )


ANSWERS = [answer(0), answer(1, "sequence-gap"), answer(2, "fork"), answer(3), answer(4)]
RECEIPTS = sign_receipts(COMMUNITY, ANSWERS, SERVICE_KEY)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 33])
def test_every_receipt_of_a_batch_is_read_as_it_was_signed(count: int) -> None:
    answers = [answer(number) for number in range(count)]
    receipts = sign_receipts(COMMUNITY, answers, SERVICE_KEY)
    assert [read_receipt(receipt, COMMUNITY, SERVICE) for receipt in receipts] == answers


def test_one_signature_answers_a_batch() -> None:
    assert len({decode(receipt)["signature"] for receipt in RECEIPTS}) == 1


def test_a_receipt_is_canonical() -> None:
    for receipt, given_answer in zip(RECEIPTS, ANSWERS, strict=True):
        assert encode(decode(receipt)) == receipt
        assert encode(decode(receipt)["answer"]) == encode(given_answer)


@pytest.mark.parametrize(
    ("code", "safe"), [(RECORDED, True), (DUPLICATE, True), ("sequence-gap", False), ("fork", False)]
)
def test_only_what_is_in_the_book_is_safe(code: str, safe: bool) -> None:
    assert answer(0, code).is_safe is safe


def test_a_head_is_told_as_it_is() -> None:
    assert ANSWERS[0].heads[0].head() == HEAD


@pytest.mark.parametrize("key", [STRANGER_KEY, SigningKey(bytes(32))])
def test_a_receipt_of_another_ledger_answers_nothing(key: SigningKey) -> None:
    (forged,) = sign_receipts(COMMUNITY, [answer(0)], key)
    with pytest.raises(ProofError, match="not signed by this ledger"):
        read_receipt(forged, COMMUNITY, SERVICE)


def test_a_receipt_of_another_community_answers_nothing() -> None:
    with pytest.raises(ProofError):
        read_receipt(RECEIPTS[0], "town", SERVICE)
    # .. not even where the same service signed it: the community is under the signature.
    foreign = msgspec.structs.replace(answer(0), community="town")
    for signed_for in (COMMUNITY, "town"):
        (receipt,) = sign_receipts(signed_for, [foreign], SERVICE_KEY)
        with pytest.raises(ProofError):
            read_receipt(receipt, COMMUNITY, SERVICE)


def changes(receipt: bytes) -> Iterator[tuple[str, bytes]]:
    """The receipt with one thing changed, canonical."""
    parts = decode(receipt)

    def with_answer(**fields: object) -> bytes:
        return encode({**parts, "answer": {**parts["answer"], **fields}})

    yield "code", with_answer(code=DUPLICATE)
    yield "device", with_answer(device="gw-2")
    yield "envelope", with_answer(envelope="f" * 64)
    yield "heads", with_answer(heads=[])
    yield "head", with_answer(heads=[{**parts["answer"]["heads"][0], "sequence": 97}])
    yield "recorded_at", with_answer(recorded_at="2027-06-01T00:00:00Z")
    yield "refusal", with_answer(refusal={"what": "no"})
    yield "index", encode({**parts, "index": parts["index"] ^ 1})
    yield "index beyond", encode({**parts, "index": 5})
    yield "size", encode({**parts, "size": parts["size"] + 1})
    yield "size 0", encode({**parts, "size": 0})
    yield "path cut", encode({**parts, "path": parts["path"][:-1]})
    yield "path longer", encode({**parts, "path": [*parts["path"], "0" * 64]})
    yield "path reversed", encode({**parts, "path": parts["path"][::-1]})
    yield "path changed", encode({**parts, "path": ["0" * 64, *parts["path"][1:]]})
    yield "signature", encode({**parts, "signature": b64(bytes(64))})
    yield "signature empty", encode({**parts, "signature": ""})


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(changed, id=f"{number} {what}")
        for number in range(4)
        for what, changed in changes(RECEIPTS[number])
    ],
)
def test_no_changed_receipt_is_read(changed: bytes) -> None:
    with pytest.raises(ProofError):
        read_receipt(changed, COMMUNITY, SERVICE)


def test_an_answer_is_not_taken_for_another_of_its_batch() -> None:
    first, second = decode(RECEIPTS[0]), decode(RECEIPTS[1])
    with pytest.raises(ProofError):
        read_receipt(encode({**first, "answer": second["answer"]}), COMMUNITY, SERVICE)


PARTS = decode(RECEIPTS[0])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        RECEIPTS[0][:-1],
        RECEIPTS[0] + b"}",
        encode({**PARTS, "extra": 1}),
        encode({**PARTS, "index": -1}),
        encode({**PARTS, "index": 2**53}),
        encode({**PARTS, "size": "5"}),
        encode({**PARTS, "path": ["0" * 64] * 33}),
        encode({**PARTS, "path": ["AB" * 32]}),
        encode({**PARTS, "path": ["0" * 64 + "\n"]}),
        encode({**PARTS, "path": ["0" * 62]}),
        encode({**PARTS, "signature": "!"}),
        encode({**PARTS, "signature": PARTS["signature"].rstrip("=")}),
        encode({**PARTS, "answer": {**PARTS["answer"], "extra": 1}}),
        encode({**PARTS, "answer": {**PARTS["answer"], "envelope": "no hash"}}),
        encode({**PARTS, "answer": None}),
        b'{"answer":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"answer":{"heads":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    ],
)
def test_what_is_no_receipt_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_receipt(data, COMMUNITY, SERVICE)


def test_an_answer_has_one_spelling() -> None:
    with pytest.raises(NotCanonical):
        read_receipt(RECEIPTS[0].replace(b'"code":', b'"code": '), COMMUNITY, SERVICE)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_change_to_the_bytes_of_a_receipt_leaves_its_answer_or_is_refused(data: st.DataObject) -> None:
    receipt = bytearray(RECEIPTS[2])
    at = data.draw(st.integers(0, len(receipt) - 1))
    receipt[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    # White space around the answer is all that may change.
    with suppress(BadInput):
        assert read_receipt(bytes(receipt), COMMUNITY, SERVICE) == ANSWERS[2]


def test_whom_a_receipt_answers_is_known_before_who_signed_it() -> None:
    (receipt,) = sign_receipts(COMMUNITY, [answer(7)], STRANGER_KEY)
    assert addressed(receipt) == ("gw-1", answer(7).envelope)
    for junk in (b"", b"{}", b"\xff", b"[" * 5_000, b'{"answer":{"device":1,"envelope":"x"}}'):
        assert addressed(junk) is None
