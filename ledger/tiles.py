"""Tiles: the tree cut into pieces of 256 hashes (C2SP tlog-tiles), and proofs read from them.

Tile (level, index) holds the hashes of tree level 8 * level: 256 of them when full. Full tiles never change
and are what the store keeps; a partial tile is cut on demand. A proof touches two tiles a level at most,
so its cost grows with the logarithm of the tree.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ledger.errors import BadInput
from ledger.merkle import complete_root

WIDTH = 256
HASH_BYTES = 32
# Seven groups of digits reach beyond 2^63 leaves.
_PATH = re.compile(
    r"tile/(?P<level>entries|[0-9]{1,2})/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[0-9]{1,3}))?"
)


class TileMissing(BadInput):
    """A tile that the tree of this size does not have."""

    code = "tile-missing"


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile's place: its level, its index in the level and how many hashes it holds (1 to 256)."""

    level: int
    index: int
    width: int


def index_path(index: int) -> str:
    """`x001/x234/067` for 1234067: three-digit groups, all but the last with an `x`."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


def tile_path(tile: Tile, *, entries: bool = False) -> str:
    """`tile/<level>/<index>[.p/<width>]`, or the path of the entry bundle behind a level-0 tile."""
    level = "entries" if entries else str(tile.level)
    partial = "" if tile.width == WIDTH else f".p/{tile.width}"
    return f"tile/{level}/{index_path(tile.index)}{partial}"


def parse_tile_path(path: str) -> tuple[Tile, bool]:
    """The tile named by `path`, and whether its entry bundle is meant. Raises `TileMissing`."""
    match = _PATH.fullmatch(path)
    if match:
        entries = match["level"] == "entries"
        index = int(match["index"].replace("x", "").replace("/", ""))
        tile = Tile(0 if entries else int(match["level"]), index, int(match["width"] or WIDTH))
        # Each tile has one path only: no leading groups of zeros, no width of 0 or 256 spelt out.
        if tile.level < 64 and 0 < tile.width <= WIDTH and tile_path(tile, entries=entries) == path:
            return tile, entries
    raise TileMissing(f"{path!r} is not the path of a tile")


def tiles_of(size: int) -> Iterator[Tile]:
    """Every tile of a tree of `size`, level by level, the partial one last in its level."""
    level = 0
    while count := size >> (8 * level):
        full, rest = divmod(count, WIDTH)
        for index in range(full):
            yield Tile(level, index, WIDTH)
        if rest:
            yield Tile(level, full, rest)
        level += 1


def completed_tiles(before: int, after: int) -> Iterator[Tile]:
    """The full tiles that a tree gains when it grows from `before` to `after` leaves."""
    level = 0
    while (last := after >> (8 * (level + 1))) > 0:
        for index in range(before >> (8 * (level + 1)), last):
            yield Tile(level, index, WIDTH)
        level += 1


def tile_width(level: int, index: int, size: int) -> int:
    """How many hashes tile (level, index) has in a tree of `size`: 0 where there is none."""
    return max(0, min(WIDTH, (size >> (8 * level)) - index * WIDTH))


def tile_of_subtree(level: int, index: int) -> tuple[int, int, int, int]:
    """Where the complete subtree (level, index) is found: (tile level, tile index, first hash, hashes).

    The subtree's root is the `complete_root` of that many hashes of the tile.
    """
    tile_level, height = divmod(level, 8)
    first = index << height
    return tile_level, first // WIDTH, first % WIDTH, 1 << height


def subtree_from_tile(hashes: bytes, first: int, count: int) -> bytes:
    """The root over `count` hashes (a power of two) of a tile's bytes from hash `first` on."""
    ends = range(first * HASH_BYTES, (first + count) * HASH_BYTES, HASH_BYTES)
    return complete_root([hashes[at : at + HASH_BYTES] for at in ends])
