"""Canonical JSON: the one form in which a body may be signed, stored and hashed.

RFC 8785 (JSON Canonicalization Scheme) narrowed to what a book of integers needs: objects with ASCII
keys, strings, booleans, null, arrays and integers with |n| < 2^53; no floats. For this subset an encoder
that sorts keys by code point writes exactly the bytes of RFC 8785, because for ASCII keys the
UTF-16 order that its section 3.2.3 asks for is the same.
"""

from typing import Any

import msgspec

from ledger.errors import BadInput

INTEGER_MAX = 2**53 - 1
"""Largest magnitude that every JSON reader keeps exact (RFC 7493, section 2.2)."""

DEPTH_MAX = 64
"""Deepest nesting that is read: a fixed number, so that the same bytes are judged alike on every machine."""

_WORDS_MAX = 300

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All that msgspec raises for bytes that do not decode."""

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode


class Malformed(BadInput):
    """The bytes are not what their place in the book asks for."""

    code = "malformed"

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        # A decoder's words may quote the input: cut, so that the answer to a large message is not as large.
        super().__init__(what[:_WORDS_MAX], where=where, hint=hint)


class NotCanonical(BadInput):
    """The bytes say something that can be read, but are not its canonical form."""

    code = "not-canonical"


def encode(value: Any) -> bytes:
    """The canonical bytes of a struct, mapping or list that holds integers and strings only."""
    return _encode(value)


def decode(data: bytes) -> Any:
    """The value of canonical `data`.

    Raises `Malformed` when it is not JSON, holds a float, a large integer or a non-ASCII key, or is nested
    too deep, and `NotCanonical` when encoding the value again gives other bytes.
    """
    try:
        value = _decode(data)
    except UNREADABLE as error:
        raise Malformed(f"not JSON: {error}") from error
    fault = _fault(value, "$", DEPTH_MAX)
    if fault:
        raise Malformed(fault)
    if _encode(value) != data:
        raise NotCanonical(
            "the bytes are not the canonical form of their content",
            hint="sort the keys, write no white space, escape as RFC 8785 section 3.2.2 says",
        )
    return value


def _fault(value: Any, path: str, depth: int) -> str:
    """What makes `value` unfit for the book, naming its path; empty when it fits."""
    if isinstance(value, dict | list) and not depth:
        return f"{path}: nested deeper than {DEPTH_MAX}"
    if isinstance(value, dict):
        for key, item in value.items():
            if not key.isascii():
                return f"{path}: the key {key!r} is not ASCII"
            if found := _fault(item, f"{path}.{key}", depth - 1):
                return found
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if found := _fault(item, f"{path}[{index}]", depth - 1):
                return found
    elif isinstance(value, float):
        return f"{path}: {value} is not an integer"
    elif isinstance(value, int) and abs(value) > INTEGER_MAX:
        return f"{path}: the integer takes {value.bit_length()} bits, of which 53 are exact everywhere"
    return ""
