"""Entries: the six lines of text that bind an event to its stream, its place and its body.

    energy-ledger/v1
    <community>
    <stream>
    <sequence, decimal, from 1>
    <previous entry hash of this stream, lowercase hex; 64 zeros for sequence 1>
    <SHA-256 of the body, lowercase hex>

The entry hash is SHA-256(0x00 || entry): at once the link of the stream's chain and the leaf hash of
RFC 9162 section 2.1.1, so the chain and the log can never tell different stories.
"""

import re
from hashlib import sha256
from typing import NamedTuple

import msgspec

FORMAT = "energy-ledger/v1"
NO_HASH = bytes(32)
"""What stands in for the previous hash before sequence 1."""

_NAME = r"(?!\.{1,2}(?:/|\Z))[a-z0-9._-]{1,64}"  # `.` and `..` are places, not names, in paths and URLs
_COMMUNITY = re.compile(_NAME)
_STREAM = re.compile(rf"{_NAME}(?:/{_NAME})?")


class Head(NamedTuple):
    """The newest link of a stream: its sequence (0 before the first event) and its entry hash."""

    sequence: int
    hash: bytes


EMPTY = Head(0, NO_HASH)


def is_name(text: str) -> bool:
    """Whether `text` may name a community, device, meter, building or feeder."""
    return _COMMUNITY.fullmatch(text) is not None


def is_stream(text: str) -> bool:
    """Whether `text` may name a stream: names of `[a-z0-9._-]`, at most one `/`."""
    return _STREAM.fullmatch(text) is not None


def stream_kind(stream: str) -> str:
    """The part of a stream's name before the `/`: `meter`, `device`, `registry`, .."""
    return stream.partition("/")[0]


def stream_subject(stream: str) -> str:
    """The part of a stream's name after the `/`: whose stream it is; empty for `registry` and its like."""
    return stream.partition("/")[2]


def entry_bytes(community: str, stream: str, sequence: int, previous: bytes, body_hash: bytes) -> bytes:
    """The leaf data of one event; `previous` and `body_hash` are 32 bytes each."""
    return (f"{FORMAT}\n{community}\n{stream}\n{sequence}\n{previous.hex()}\n{body_hash.hex()}\n").encode()


def entry_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry), 32 bytes (RFC 9162 section 2.1.1)."""
    return sha256(b"\x00" + entry).digest()


class Link(msgspec.Struct, frozen=True, gc=False):
    """One event's place in its chain, as 32-byte hashes."""

    body_hash: bytes
    entry_hash: bytes


def chain(community: str, stream: str, head: Head, bodies: list[bytes]) -> list[Link]:
    """The links that `bodies` form when they continue `stream` after `head`, in order.

    This is the hot loop of the writer and of the auditor, so it is `entry_bytes` and `entry_hash`
    written out: one format and two hashes an event.
    """
    prefix = f"{FORMAT}\n{community}\n{stream}\n"
    sequence, previous = head.sequence, head.hash.hex()
    links: list[Link] = []
    for body in bodies:
        sequence += 1
        body_hash = sha256(body).digest()
        leaf = sha256(f"\x00{prefix}{sequence}\n{previous}\n{body_hash.hex()}\n".encode()).digest()
        previous = leaf.hex()
        links.append(Link(body_hash, leaf))
    return links
