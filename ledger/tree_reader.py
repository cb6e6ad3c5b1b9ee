"""Proofs out of stored tiles, for a tree of a fixed size.

What a proof needs is fetched tile by tile (`load`), then made without waiting (`proof`). Tiles of the lowest
level are many and soon passed by, so only some are kept; those above them are few.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from ledger.merkle import (
    consistency_proof,
    consistency_ranges,
    fold,
    inclusion_proof,
    inclusion_ranges,
    node_hash,
    subtrees,
)
from ledger.tiles import HASH_BYTES, WIDTH, tile_of_subtree, tile_width

LEAF_TILES_MAX = 512


class TileSource(Protocol):
    """Where a log's hashes are kept."""

    async def full_tiles(
        self, community: str, places: Sequence[tuple[int, int]]
    ) -> Mapping[tuple[int, int], bytes]:
        """The hashes of full tiles, by (level, index)."""

    async def leaves(self, community: str, begin: int, end: int) -> list[bytes]:
        """Leaf hashes of the positions [begin, end)."""

    async def tile_roots(self, community: str, level: int, begin: int, end: int) -> list[bytes]:
        """Roots of the full tiles [begin, end) of a level."""


class TreeReader:
    """Proofs from one log as it was at `size`."""

    def __init__(self, source: TileSource, community: str, size: int) -> None:
        self._source = source
        self._community = community
        self._size = size
        self._tiles: dict[tuple[int, int], list[list[bytes]]] = {}

    async def load(self, indexes: Iterable[int]) -> None:
        """Fetch all that the proofs of these leaves need."""
        await self._load(tile for index in indexes for tile in self._tiles_for(index))

    async def _load(self, tiles: Iterable[tuple[int, int]]) -> None:
        wanted = set(tiles)
        kept = [tile for tile in self._tiles if tile[0] == 0]
        if len(kept) > LEAF_TILES_MAX:
            for tile in kept:
                del self._tiles[tile]
        missing = sorted(wanted - self._tiles.keys())
        full = [tile for tile in missing if tile_width(*tile, self._size) == WIDTH]
        fetched = await self._source.full_tiles(self._community, full) if full else {}
        for tile in missing:
            hashes = _cut(fetched[tile]) if tile in fetched else await self._partial(*tile)
            self._tiles[tile] = _pyramid(hashes)

    async def root(self) -> bytes:
        """The root of the tree."""
        peaks = list(subtrees(0, self._size))
        await self._load(tile_of_subtree(*peak)[:2] for peak in peaks)
        return fold([self._subtree(*peak) for peak in peaks])

    def proof(self, index: int) -> list[bytes]:
        """The audit path of leaf `index`, whose tiles were loaded."""
        return inclusion_proof(self._subtree, index, self._size)

    async def consistency(self, first: int) -> list[bytes]:
        """The proof that this tree extends the one of `first` leaves. Raises `ProofError`."""
        await self._load(self._tiles_in(consistency_ranges(first, self._size)))
        return consistency_proof(self._subtree, first, self._size)

    async def tile(self, level: int, index: int) -> bytes:
        """The hashes of a tile, side by side; none where the tree has no such tile."""
        if not tile_width(level, index, self._size):
            return b""
        await self._load([(level, index)])
        return b"".join(self._tiles[level, index][0])

    def _tiles_for(self, index: int) -> Iterator[tuple[int, int]]:
        return self._tiles_in(inclusion_ranges(index, self._size))

    def _tiles_in(self, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for begin, end in ranges:
            for level, number in subtrees(begin, end):
                tile_level, tile_index, _, _ = tile_of_subtree(level, number)
                yield tile_level, tile_index

    async def _partial(self, level: int, index: int) -> list[bytes]:
        begin = index * WIDTH
        end = begin + tile_width(level, index, self._size)
        if level == 0:
            return await self._source.leaves(self._community, begin, end)
        return await self._source.tile_roots(self._community, level - 1, begin, end)

    def _subtree(self, level: int, index: int) -> bytes:
        tile_level, tile_index, first, count = tile_of_subtree(level, index)
        return self._tiles[tile_level, tile_index][count.bit_length() - 1][first // count]


def _cut(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


def _pyramid(hashes: list[bytes]) -> list[list[bytes]]:
    """A tile's hashes and, level by level, the roots of all complete subtrees over them."""
    levels = [hashes]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])
    return levels
