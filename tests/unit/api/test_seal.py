"""The seal of what the store keeps: the tag by which a request is known again."""

from hypothesis import given
from hypothesis import strategies as st

from api.seal import Seal
from ledger.keys import SigningKey

SERVICE = SigningKey(b"s" * 32)


@given(st.binary(), st.binary())
def test_a_tag_is_the_same_for_the_same_under_the_same_key_alone(what: bytes, other: bytes) -> None:
    seal = Seal("answer-seal", "campus", SERVICE)
    assert seal.tag(what) == Seal("answer-seal", "campus", SERVICE).tag(what)
    assert (seal.tag(what) == seal.tag(other)) == (what == other)
    elsewhere = [
        Seal("webhook-seal", "campus", SERVICE), Seal("answer-seal", "city", SERVICE),
        Seal("answer-seal", "campus", SigningKey(b"t" * 32)),
    ]  # fmt: skip
    assert seal.tag(what) not in [each.tag(what) for each in elsewhere]


@given(st.binary(max_size=2_000), st.text(max_size=50))
def test_what_is_sealed_opens_where_it_was_sealed(what: bytes, place: str) -> None:
    seal = Seal("answer-seal", "campus", SERVICE)
    assert seal.open(place, seal.close(place, what)) == what
