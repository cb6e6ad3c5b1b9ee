"""Tiles have one path each, hold what the specification says, and are enough for every proof."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.merkle import Subtree, consistency_proof, inclusion_proof, leaf_hash, range_hash, subtree_of
from ledger.tiles import (
    HASH_BYTES,
    WIDTH,
    Tile,
    TileMissing,
    completed_tiles,
    index_path,
    parse_tile_path,
    subtree_from_tile,
    tile_of_subtree,
    tile_path,
    tile_width,
    tiles_of,
)

LEAVES = [leaf_hash(index.to_bytes(4, "big")) for index in range(70_000)]
TILES = st.builds(Tile, st.integers(0, 63), st.integers(0, 10**12), st.integers(1, WIDTH))


@settings(max_examples=200, deadline=None)
@given(TILES, st.booleans())
def test_a_path_is_read_as_it_was_written(tile: Tile, entries: bool) -> None:
    if entries:
        tile = Tile(0, tile.index, tile.width)
    assert parse_tile_path(tile_path(tile, entries=entries)) == (tile, entries)


def test_a_tile_is_of_hashes_unless_its_entries_are_asked_for() -> None:
    assert tile_path(Tile(0, 7, WIDTH)) == "tile/0/007"
    assert tile_path(Tile(1, 7, 3)) == "tile/1/007.p/3"
    assert tile_path(Tile(0, 7, 3), entries=True) == "tile/entries/007.p/3"


@pytest.mark.parametrize(
    ("index", "path"),
    [(0, "000"), (7, "007"), (999, "999"), (1000, "x001/000"), (1_000_000, "x001/x000/000")],
)
def test_an_index_is_cut_into_groups_of_three(index: int, path: str) -> None:
    assert index_path(index) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/100/000",
        "tile/-1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/999",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/entries/000.p/0",
        "tile/data/000",
        "tile/0/٠٠١",
        "tile/٠/000",
        "tile/0/x001/x002/x003/x004/x005/x006/x007/008",
        f"tile/0/{'x001/' * 1_600}001",
        "tile/0/../../etc/passwd",
    ],
)
def test_another_path_names_no_tile(path: str) -> None:
    with pytest.raises(TileMissing):
        parse_tile_path(path)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="tile/entries0123456789x.p-", max_size=30).map("tile/".__add__))
def test_any_text_names_one_tile_or_none(path: str) -> None:
    try:
        tile, entries = parse_tile_path(path)
    except TileMissing:
        return
    assert tile_path(tile, entries=entries) == path


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000])
def test_the_tiles_of_a_tree_are_those_that_have_hashes(size: int) -> None:
    tiles = list(tiles_of(size))
    assert len(set(tiles)) == len(tiles)
    assert all(tile.width == tile_width(tile.level, tile.index, size) > 0 for tile in tiles)
    for level in range(4):
        count = sum(tile.width for tile in tiles if tile.level == level)
        # "The partial tile at level l for a tree of size s has floor(s / 256**l) mod 256 entries."
        assert count == size // 256**level
        assert tile_width(level, count // 256 + 1, size) == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=6))
def test_the_completed_tiles_of_every_step_are_the_full_tiles_in_the_end(steps: list[int]) -> None:
    sizes = [0, *sorted(steps)]
    gained = [tile for before, after in pairwise(sizes) for tile in completed_tiles(before, after)]
    assert len(set(gained)) == len(gained)
    assert set(gained) == {tile for tile in tiles_of(sizes[-1]) if tile.width == WIDTH}


def tile_store(size: int) -> dict[tuple[int, int], bytes]:
    """The bytes of all tiles of a tree, made from the tiles below as a log makes them."""
    store: dict[tuple[int, int], bytes] = {}
    for tile in tiles_of(size):
        first = tile.index * WIDTH
        if tile.level == 0:
            hashes = LEAVES[first : first + tile.width]
        else:
            below = [store[tile.level - 1, index] for index in range(first, first + tile.width)]
            hashes = [subtree_from_tile(data, 0, WIDTH) for data in below]
        store[tile.level, tile.index] = b"".join(hashes)
    return store


def subtree_in(store: dict[tuple[int, int], bytes]) -> Subtree:
    """The subtrees of a tree of which only tiles are at hand."""

    def subtree(level: int, index: int) -> bytes:
        tile_level, tile_index, first, count = tile_of_subtree(level, index)
        return subtree_from_tile(store[tile_level, tile_index], first, count)

    return subtree


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 1_000, 70_000])
def test_proofs_from_tiles_are_proofs_from_leaves(size: int) -> None:
    from_tiles, from_leaves = subtree_in(tile_store(size)), subtree_of(LEAVES)
    assert range_hash(from_tiles, 0, size) == range_hash(from_leaves, 0, size)
    for index in {0, 1, 255, 256, size // 2, size - 1} & set(range(size)):
        assert inclusion_proof(from_tiles, index, size) == inclusion_proof(from_leaves, index, size)
        assert consistency_proof(from_tiles, index + 1, size) == consistency_proof(
            from_leaves, index + 1, size
        )


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.integers(0, 2**30))
def test_a_subtree_lies_within_one_tile(level: int, index: int) -> None:
    tile_level, tile_index, first, count = tile_of_subtree(level, index)
    assert first + count <= WIDTH
    assert first % count == 0
    # The same leaves, counted through the tile and through the subtree.
    span = 256**tile_level
    assert (tile_index * WIDTH + first) * span == index << level
    assert count * span == 1 << level


def test_a_tile_is_cut_at_hashes() -> None:
    data = b"".join(LEAVES[:8])
    assert subtree_from_tile(data, 5, 1) == LEAVES[5]
    assert subtree_from_tile(data, 4, 4) == subtree_of(LEAVES)(2, 1)
    assert len(data) == 8 * HASH_BYTES
