"""Vectors of one growing Merkle tree, by the recursive definitions of RFC 9162 section 2.1."""

from functools import cache
from hashlib import sha256
from typing import Any

from tests.vectors.primitives import split


@cache
def leaf(index: int) -> bytes:
    return sha256(b"\x00" + str(index).encode()).digest()


@cache
def mth(begin: int, end: int) -> bytes:
    """MTH(D[begin:end]), RFC 9162 section 2.1.1."""
    if begin == end:
        return sha256(b"").digest()
    if end - begin == 1:
        return leaf(begin)
    middle = begin + split(end - begin)
    return sha256(b"\x01" + mth(begin, middle) + mth(middle, end)).digest()


def path(index: int, begin: int, end: int) -> list[bytes]:
    """PATH(m, D_n), RFC 9162 section 2.1.3.1."""
    if end - begin == 1:
        return []
    middle = begin + split(end - begin)
    if index < middle:
        return [*path(index, begin, middle), mth(middle, end)]
    return [*path(index, middle, end), mth(begin, middle)]


def subproof(first: int, begin: int, end: int, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D_n, b), RFC 9162 section 2.1.4.1; `first` counts from leaf 0."""
    if first == end:
        return [] if whole else [mth(begin, end)]
    middle = begin + split(end - begin)
    if first <= middle:
        return [*subproof(first, begin, middle, whole), mth(middle, end)]
    return [*subproof(first, middle, end, False), mth(begin, middle)]


def tile(level: int, index: int, width: int) -> bytes:
    """C2SP tlog-tiles: MTH(D[(n * 256 + i) * 256**l : (n * 256 + i + 1) * 256**l]) for i < width."""
    span, first = 256**level, index * 256
    return b"".join(mth(at * span, (at + 1) * span) for at in range(first, first + width))


SIZES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129)
LARGE_SIZES = (255, 256, 257, 511, 512, 1000, 4095, 4096, 65535, 65536, 65537, 69_999, 70_000)
INCLUSIONS = (
    (0, 1),
    (0, 2),
    (1, 2),
    (2, 3),
    (3, 7),
    (6, 7),
    (7, 8),
    (8, 9),
    (100, 129),
    (255, 257),
    (256, 257),
)
LARGE_INCLUSIONS = ((0, 1000), (999, 1000), (65535, 65537), (65536, 65537), (12345, 70_000), (69_999, 70_000))
CONSISTENCIES = ((1, 2), (2, 3), (3, 4), (3, 7), (4, 7), (6, 7), (6, 8), (7, 8), (8, 9), (64, 129), (65, 129))
LARGE_CONSISTENCIES = (
    (1, 70_000),
    (256, 70_000),
    (257, 1000),
    (4096, 65536),
    (65535, 65537),
    (69_999, 70_000),
)
TILES = ((0, 0, 256), (0, 100, 256), (0, 272, 256), (0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1))


def tree_vectors() -> dict[str, Any]:
    return {
        "about": "One growing RFC 9162 tree; leaf i (from 0) is SHA-256(0x00 || i in ASCII decimal). All "
        "hashes in hex. Paths go from the leaf's side up. A tile's sha256 is that of its 32-byte hashes one "
        "after another, in the tree of 70,000 (C2SP tlog-tiles).",
        "roots": {str(size): mth(0, size).hex() for size in SIZES + LARGE_SIZES},
        "inclusion": [
            {"index": index, "size": size, "path": [node.hex() for node in path(index, 0, size)]}
            for index, size in INCLUSIONS + LARGE_INCLUSIONS
        ],
        "consistency": [
            {
                "first": first,
                "second": second,
                "path": [node.hex() for node in subproof(first, 0, second, True)],
            }
            for first, second in CONSISTENCIES + LARGE_CONSISTENCIES
        ],
        "tiles": [
            {
                "path": f"tile/{level}/{index:03d}" + (f".p/{width}" if width < 256 else ""),
                "sha256": sha256(tile(level, index, width)).hexdigest(),
            }
            for level, index, width in TILES
        ],
    }
