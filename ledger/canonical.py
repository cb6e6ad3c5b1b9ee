"""Canonical JSON: the one form in which a body may be signed, stored and hashed.

RFC 8785 (JSON Canonicalization Scheme) narrowed to what a book of integers needs: objects with ASCII
keys, strings, booleans, arrays and integers with |n| < 2^53; no floats. For this subset an encoder
that sorts keys by code point writes exactly the bytes of RFC 8785, because for ASCII keys the
UTF-16 order that its section 3.2.3 asks for is the same.
"""

from typing import Any

import msgspec

from ledger.errors import BadInput

INTEGER_MAX = 2**53 - 1
"""Largest magnitude that every JSON reader keeps exact (RFC 7493, section 2.2)."""

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode


class Malformed(BadInput):
    """The bytes are not what their place in the book asks for."""

    code = "malformed"


class NotCanonical(BadInput):
    """The bytes say something that can be read, but are not its canonical form."""

    code = "not-canonical"


def encode(value: Any) -> bytes:
    """The canonical bytes of a struct, mapping or list that holds integers and strings only."""
    return _encode(value)


def decode(data: bytes) -> Any:
    """The value of canonical `data`.

    Raises `Malformed` when it is not JSON or holds a float, a large integer or a non-ASCII key, and
    `NotCanonical` when encoding the value again gives other bytes.
    """
    try:
        value = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"not JSON: {error}") from error
    fault = _fault(value, "$")
    if fault:
        raise Malformed(fault)
    if _encode(value) != data:
        raise NotCanonical(
            "the bytes are not the canonical form of their content",
            hint="sort the keys, write no white space, escape as RFC 8785 section 3.2.2 says",
        )
    return value


def _fault(value: Any, path: str) -> str:
    """What makes `value` unfit for the book, naming its path; empty when it fits."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not key.isascii():
                return f"{path}: the key {key!r} is not ASCII"
            if found := _fault(item, f"{path}.{key}"):
                return found
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if found := _fault(item, f"{path}[{index}]"):
                return found
    elif isinstance(value, float):
        return f"{path}: {value} is not an integer"
    elif isinstance(value, int) and abs(value) > INTEGER_MAX:
        return f"{path}: {value} does not fit in 53 bits"
    return ""
