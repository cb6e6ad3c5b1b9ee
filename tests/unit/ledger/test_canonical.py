"""Canonical JSON has one spelling for each value, and only values that every reader keeps exact."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.canonical import DEPTH_MAX, INTEGER_MAX, Malformed, NotCanonical, decode, encode
from ledger.errors import BadInput

INTEGERS = st.integers(-INTEGER_MAX, INTEGER_MAX)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.text(st.characters(max_codepoint=127))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_what_was_encoded_is_decoded_and_spelt_as_another_encoder_spells_it(value: Any) -> None:
    data = encode(value)
    # Another implementation, not another path through the same one.
    assert data == json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    assert decode(data) == value
    assert encode(decode(data)) == data


@settings(max_examples=150, deadline=None)
@given(VALUES, st.data())
def test_one_more_space_anywhere_is_not_the_same_bytes(value: Any, data: st.DataObject) -> None:
    canonical = encode(value)
    at = data.draw(st.integers(0, len(canonical)))
    spaced = canonical[:at] + b" " + canonical[at:]
    # Within a string, a space makes another value; elsewhere it is refused.
    with suppress(BadInput):
        assert decode(spaced) != value


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40) | TEXTS.map(str.encode))
def test_any_bytes_are_decoded_to_what_encodes_to_them_or_refused(data: bytes) -> None:
    try:
        value = decode(data)
    except BadInput:
        return
    assert encode(value) == data


@pytest.mark.parametrize("number", [INTEGER_MAX, -INTEGER_MAX, 0])
def test_integers_of_53_bits_pass(number: int) -> None:
    assert abs(number) in (0, 9_007_199_254_740_991)
    assert decode(encode([number])) == [number]


@pytest.mark.parametrize(
    "text", [str(2**53), str(-(2**53)), str(2**64), str(-(2**64)), "1" + "0" * 400, "9" * 4000, "9" * 5000]
)
def test_larger_integers_are_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        decode(f'{{"a":[{text}]}}'.encode())


@pytest.mark.parametrize("text", ["1.0", "-0.0", "1e5", "1E-5", "0.1", "1e400", "NaN", "-Infinity"])
def test_floats_are_malformed_however_they_are_spelt(text: str) -> None:
    with pytest.raises(Malformed):
        decode(f"[{text}]".encode())


def test_the_path_of_what_does_not_fit_is_named() -> None:
    with pytest.raises(Malformed, match=r"\$\.a\[1\]\.b: 1\.5 is not an integer"):
        decode(b'{"a":[0,{"b":1.5}]}')
    with pytest.raises(Malformed, match=r"\$\.a: the key 'é' is not ASCII"):
        decode('{"a":{"é":1}}'.encode())


def test_nesting_ends_at_a_fixed_depth() -> None:
    for opens, closes in ((b"[", b"]"), (b'{"a":', b"}")):
        assert decode(opens * DEPTH_MAX + b"1" + closes * DEPTH_MAX)
        with pytest.raises(Malformed, match="nested deeper"):
            decode(opens * (DEPTH_MAX + 1) + b"1" + closes * (DEPTH_MAX + 1))


@pytest.mark.parametrize("levels", [10_000, 1_000_000])
@pytest.mark.parametrize(("opens", "closes"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_malformed_and_crashes_nothing(levels: int, opens: bytes, closes: bytes) -> None:
    with pytest.raises(Malformed):
        decode(opens * levels + b"1" + closes * levels)
    with pytest.raises(Malformed):
        decode(opens * levels)


@pytest.mark.parametrize(
    "data",
    [
        b'"\\ud800"',
        b'"\\udc00"',
        b'"\\udc00\\ud800"',
        b'"\\ud800x"',
        b'"\\ud800\\u0041"',
        b'{"\\ud800":1}',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b'"\xc0\x80"',
        b'"\xf4\x90\x80\x80"',
        b'{"a\xff":1}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_what_is_not_utf_8_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data)


@pytest.mark.parametrize("data", [b'{"a":1,"a":2}', b'{"a":1,"a":1}', b'[{"b":1,"\\u0062":1}]'])
def test_a_key_stands_once(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        decode(data)


def test_a_refusal_is_short_however_long_the_input() -> None:
    long = "x" * 100_000
    for data in (f'{{"{long}é":1}}', f'{{"{long}":1.5}}', f"[{'9' * 4000}]"):
        with pytest.raises(Malformed) as refused:
            decode(data.encode())
        assert len(str(refused.value)) < 400
