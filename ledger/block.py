"""Blocks: sealed sizes of the log, chained, and small enough to be anchored elsewhere.

A block's bytes are canonical JSON of `community, number, previous, root, sealed_at, size`, its hash is the
SHA-256 of those bytes: a pure function of the book, since each block is sealed by an event in it.
"""

from hashlib import sha256

from ledger.canonical import encode
from ledger.clock import rfc3339
from ledger.events import BlockSealed

NO_BLOCK = "0" * 64
"""The `previous` of block 1."""


def block_bytes(community: str, sealed: BlockSealed) -> bytes:
    """The canonical bytes of the block that `sealed` recorded."""
    return encode(
        {
            "community": community,
            "number": sealed.number,
            "previous": sealed.previous,
            "root": sealed.root,
            "sealed_at": rfc3339(sealed.sealed_at),
            "size": sealed.size,
        }
    )


def unsealed_from(last: BlockSealed | None) -> int:
    """The first position of the log that no block seals after `last`, but for the event that sealed that."""
    return last.size + 1 if last else 0


def block_hash(community: str, sealed: BlockSealed) -> str:
    """SHA-256 of the block's bytes, in hex."""
    return sha256(block_bytes(community, sealed)).hexdigest()
