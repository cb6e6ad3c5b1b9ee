"""A block is a pure function of the event that sealed it, and commits to all blocks before."""

import json
from datetime import UTC, datetime
from hashlib import sha256

import msgspec
import pytest

from ledger.block import NO_BLOCK, block_bytes, block_hash
from ledger.canonical import decode
from ledger.events import BlockSealed

FIRST = BlockSealed(
    number=1, previous=NO_BLOCK, root="ab" * 32, sealed_at=datetime(2026, 6, 1, 1, tzinfo=UTC), size=4
)


def test_a_block_is_canonical_and_hashed_as_it_stands() -> None:
    data = block_bytes("campus", FIRST)
    assert decode(data) == json.loads(data)
    assert list(json.loads(data)) == ["community", "number", "previous", "root", "sealed_at", "size"]
    assert block_hash("campus", FIRST) == sha256(data).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"number": 2},
        {"previous": "cd" * 32},
        {"root": "cd" * 32},
        {"sealed_at": datetime(2026, 6, 1, 1, 0, 1, tzinfo=UTC)},
        {"size": 5},
    ],
    ids=str,
)
def test_every_part_of_a_block_is_in_its_hash(change: dict[str, object]) -> None:
    changed = msgspec.structs.replace(FIRST, **change)
    assert block_hash("campus", changed) != block_hash("campus", FIRST)


def test_two_communities_have_no_block_in_common() -> None:
    assert block_hash("campus", FIRST) != block_hash("town", FIRST)
