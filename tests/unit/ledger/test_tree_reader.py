"""Proofs made from stored tiles are the proofs of the whole tree."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.log_edge import FullTile, LogEdge
from ledger.merkle import Frontier, root_hash, verify_inclusion
from ledger.tiles import HASH_BYTES
from ledger.tree_reader import TreeReader

MOST = 66_000  # beyond 256 * 256, so that a third level has begun
LEAVES = [sha256(number.to_bytes(4, "big")).digest() for number in range(MOST)]


class Store:
    """The tiles of a log of some size, as the store keeps them."""

    def __init__(self, size: int) -> None:
        full = LogEdge(Frontier(), []).append(LEAVES[:size])
        self.tiles: dict[tuple[int, int], FullTile] = {(tile.level, tile.index): tile for tile in full}
        self.size = size
        self.fetched = 0

    async def full_tiles(
        self, community: str, places: Sequence[tuple[int, int]]
    ) -> Mapping[tuple[int, int], bytes]:
        self.fetched += len(places)
        return {place: self.tiles[place].hashes for place in places}

    async def leaves(self, community: str, begin: int, end: int) -> list[bytes]:
        return LEAVES[begin:end]

    async def tile_roots(self, community: str, level: int, begin: int, end: int) -> list[bytes]:
        return [self.tiles[level, index].root for index in range(begin, end)]


async def check(store: Store, indexes: Sequence[int]) -> None:
    reader = TreeReader(store, "campus", store.size)
    await reader.load(indexes)
    root = root_hash(LEAVES[: store.size])
    for index in indexes:
        verify_inclusion(index, store.size, LEAVES[index], reader.proof(index), root)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 1_100), data=st.data())
async def test_every_leaf_can_be_proven_from_tiles(size: int, data: st.DataObject) -> None:
    await check(Store(size), data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20)))


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, MOST])
async def test_tiles_of_all_levels_are_used(size: int) -> None:
    await check(Store(size), [0, 255, 256, 65_000, size - 1])


async def test_neighbours_share_their_tiles_and_old_ones_are_let_go() -> None:
    store = Store(MOST)
    reader = TreeReader(store, "campus", MOST)
    await reader.load(range(1_000, 1_256))
    few = store.fetched
    await reader.load(range(1_000, 1_256))
    assert store.fetched == few < 10
    for begin in range(0, MOST - 256, 256):
        await reader.load([begin])
        assert len(reader.proof(begin)[0]) == HASH_BYTES
