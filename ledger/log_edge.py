"""The growing end of a log: what must be remembered to append leaves, cut tiles and know the root."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.merkle import Frontier
from ledger.tiles import HASH_BYTES, WIDTH


@dataclass(frozen=True, slots=True)
class FullTile:
    """A tile that will never change: its place, its 256 hashes and the root over them."""

    level: int
    index: int
    hashes: bytes
    root: bytes


class LogEdge:
    """The frontier of the tree, and the hashes of each level that do not fill a tile yet."""

    def __init__(self, frontier: Frontier, partial: Sequence[Sequence[bytes]]) -> None:
        self._frontier = frontier
        self._partial = [list(hashes) for hashes in partial]

    @staticmethod
    def partial_ranges(size: int) -> list[tuple[int, int]]:
        """Per tile level, which of its hashes [begin, end) a log of `size` has outside of full tiles."""
        ranges = []
        while size:
            ranges.append((size - size % WIDTH, size))
            size //= WIDTH
        return ranges

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._frontier.size

    def root(self) -> bytes:
        """The root over all leaves."""
        return self._frontier.root()

    def peaks(self) -> bytes:
        """The frontier's hashes in a row, as the store keeps them."""
        return b"".join(self._frontier.peaks)

    def append(self, leaves: Sequence[bytes]) -> list[FullTile]:
        """Append leaf hashes; returns the tiles that became full."""
        self._level(0).extend(leaves)
        tiles: list[FullTile] = []
        size = self._frontier.size
        for subtree_level, root in self._frontier.extend(leaves):
            level = subtree_level // Frontier.BLOCK_LEVEL - 1
            hashes = self._level(level)
            full, self._partial[level] = hashes[:WIDTH], hashes[WIDTH:]
            done = len([tile for tile in tiles if tile.level == level])
            index = (size >> (Frontier.BLOCK_LEVEL * (level + 1))) + done
            tiles.append(FullTile(level, index, b"".join(full), root))
            self._level(level + 1).append(root)
        return tiles

    def _level(self, level: int) -> list[bytes]:
        while len(self._partial) <= level:
            self._partial.append([])
        return self._partial[level]


def split_peaks(peaks: bytes) -> list[bytes]:
    """The frontier's hashes from the row that the store keeps."""
    return [peaks[at : at + HASH_BYTES] for at in range(0, len(peaks), HASH_BYTES)]
