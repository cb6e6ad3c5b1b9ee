"""The growing end of a log: however it grows, its tiles and root are those of the tree."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.log_edge import LogEdge, split_peaks
from ledger.merkle import Frontier, complete_root, leaf_hash, root_hash
from ledger.tiles import WIDTH, completed_tiles

SIZE_MAX = 1_600
LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(66_000)]


def empty() -> LogEdge:
    """The edge of a log without leaves."""
    return LogEdge(Frontier(), [])


def reopened(edge: LogEdge, levels: list[list[bytes]]) -> LogEdge:
    """The edge as a writer reads it anew: peaks from the fence, hashes from the leaves and tiles."""
    partial = [
        levels[level][begin:end] for level, (begin, end) in enumerate(LogEdge.partial_ranges(edge.size))
    ]
    return LogEdge(Frontier(edge.size, split_peaks(edge.peaks())), partial)


def levels_of(size: int) -> list[list[bytes]]:
    """The hashes of every tile level of the log."""
    levels = [LEAVES[:size]]
    while len(levels[-1]) >= WIDTH:
        whole = len(levels[-1]) // WIDTH * WIDTH
        levels.append([complete_root(levels[-1][begin : begin + WIDTH]) for begin in range(0, whole, WIDTH)])
    return levels


CUTS = st.lists(st.integers(0, SIZE_MAX), max_size=12).map(sorted)


@settings(deadline=None)
@given(CUTS, st.sets(st.integers(0, 12)))
def test_any_batches_cut_the_same_tiles_also_when_the_edge_is_read_anew(
    cuts: list[int], reopen_at: set[int]
) -> None:
    edge = empty()
    for number, (begin, end) in enumerate(zip([0, *cuts], [*cuts, SIZE_MAX], strict=True)):
        if number in reopen_at:
            edge = reopened(edge, levels_of(begin))
        tiles = edge.append(LEAVES[begin:end])
        expected = list(completed_tiles(begin, end))
        assert sorted((tile.level, tile.index) for tile in tiles) == [(t.level, t.index) for t in expected]
        for tile in tiles:
            hashes = LEAVES[tile.index * WIDTH : (tile.index + 1) * WIDTH]
            assert (tile.hashes, tile.root) == (b"".join(hashes), root_hash(hashes))
        assert (edge.size, edge.root()) == (end, root_hash(LEAVES[:end]))


@pytest.mark.parametrize("begin", [65_535, 65_536, 65_279, 256, 0])
def test_a_tile_of_tiles_is_cut_when_its_last_leaf_comes(begin: int) -> None:
    edge = empty()
    edge.append(LEAVES[:begin])
    edge = reopened(edge, levels_of(begin))
    tiles = edge.append(LEAVES[begin:65_800])
    above = [tile for tile in tiles if tile.level == 1]
    assert [(tile.level, tile.index) for tile in above] == ([(1, 0)] if begin < 65_536 else [])
    for tile in above:
        assert tile.hashes == b"".join(levels_of(65_536)[1])
        assert tile.root == root_hash(LEAVES[:65_536])
    assert edge.root() == root_hash(LEAVES[:65_800])


@pytest.mark.parametrize(
    ("size", "ranges"),
    [
        (0, []),
        (1, [(0, 1)]),
        (255, [(0, 255)]),
        (256, [(256, 256), (0, 1)]),
        (700, [(512, 700), (0, 2)]),
        (65_536, [(65_536, 65_536), (256, 256), (0, 1)]),
        (65_537, [(65_536, 65_537), (256, 256), (0, 1)]),
    ],
)
def test_what_is_outside_of_full_tiles_is_read_level_by_level(
    size: int, ranges: list[tuple[int, int]]
) -> None:
    assert LogEdge.partial_ranges(size) == ranges
