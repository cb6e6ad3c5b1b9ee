"""An entry binds an event to its stream, its place and all before it."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.entry import (
    EMPTY,
    NO_HASH,
    Head,
    Link,
    chain,
    entry_bytes,
    entry_hash,
    is_name,
    is_stream,
    stream_kind,
    stream_subject,
)
from ledger.merkle import leaf_hash

BODIES = st.lists(st.binary(max_size=30), min_size=1, max_size=8)
HEADS = st.builds(Head, st.integers(0, 2**53), st.binary(min_size=32, max_size=32))


@pytest.mark.parametrize("name", ["m-1", "a", "0", "feeder_1", "gw-1.north", "a" * 64])
def test_names_of_lower_case_digits_and_three_signs_pass(name: str) -> None:
    assert is_name(name)
    assert is_stream(name)
    assert is_stream(f"meter/{name}")


@pytest.mark.parametrize(
    "name",
    ["", "A", "a b", "a\n", "\na", "a/b/c", "/", "a/", "/a", "é", "มิเตอร์", "a" * 65, "a\x00", "a+b", "а"],
)
def test_other_names_do_not(name: str) -> None:
    assert not is_name(name)
    assert not is_stream(name)
    assert not is_stream(f"meter/{name}")


def test_a_stream_has_a_kind_and_perhaps_a_subject() -> None:
    assert (stream_kind("meter/m-1"), stream_subject("meter/m-1")) == ("meter", "m-1")
    assert (stream_kind("registry"), stream_subject("registry")) == ("registry", "")


def test_an_entry_is_six_lines() -> None:
    body = sha256(b"body").digest()
    entry = entry_bytes("campus", "meter/m-1", 7, NO_HASH, body)
    assert entry.decode() == f"energy-ledger/v1\ncampus\nmeter/m-1\n7\n{'0' * 64}\n{body.hex()}\n"


def test_an_entry_hash_is_the_leaf_hash_of_the_log() -> None:
    entry = entry_bytes("campus", "meter/m-1", 7, NO_HASH, NO_HASH)
    assert entry_hash(entry) == leaf_hash(entry) == sha256(b"\x00" + entry).digest()


@settings(max_examples=60, deadline=None)
@given(HEADS, BODIES)
def test_a_chain_is_entries_hashed_one_after_another(head: Head, bodies: list[bytes]) -> None:
    expected, previous = [], head.hash
    for sequence, body in enumerate(bodies, head.sequence + 1):
        digest = sha256(body).digest()
        previous = entry_hash(entry_bytes("campus", "meter/m-1", sequence, previous, digest))
        expected.append(Link(digest, previous))
    assert chain("campus", "meter/m-1", head, bodies) == expected


@settings(max_examples=60, deadline=None)
@given(BODIES, st.data())
def test_a_chain_can_be_continued_anywhere(bodies: list[bytes], data: st.DataObject) -> None:
    whole = chain("campus", "meter/m-1", EMPTY, bodies)
    cut = data.draw(st.integers(0, len(bodies)))
    first = chain("campus", "meter/m-1", EMPTY, bodies[:cut])
    head = Head(cut, first[-1].entry_hash) if first else EMPTY
    assert first + chain("campus", "meter/m-1", head, bodies[cut:]) == whole


@settings(max_examples=60, deadline=None)
@given(BODIES, st.data())
def test_a_changed_body_changes_every_hash_from_there_on(bodies: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(bodies) - 1))
    changed = [*bodies[:at], bodies[at] + b"x", *bodies[at + 1 :]]
    before, after = (chain("campus", "meter/m-1", EMPTY, run) for run in (bodies, changed))
    same = [one.entry_hash == other.entry_hash for one, other in zip(before, after, strict=True)]
    assert same == [index < at for index in range(len(bodies))]


@pytest.mark.parametrize(
    ("community", "stream", "head"),
    [
        ("other", "meter/m-1", EMPTY),
        ("campus", "meter/m-2", EMPTY),
        ("campus", "meter/m-1", Head(1, NO_HASH)),
        ("campus", "meter/m-1", Head(0, sha256(b"").digest())),
    ],
)
def test_a_link_depends_on_all_that_stands_in_its_entry(community: str, stream: str, head: Head) -> None:
    assert chain(community, stream, head, [b"{}"]) != chain("campus", "meter/m-1", EMPTY, [b"{}"])
