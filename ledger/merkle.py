"""The Merkle tree of RFC 9162 section 2.1: roots, proofs and their verification, as pure functions.

Hashes are 32 bytes. `size` counts leaves; `index` counts from 0. Generation reads subtree hashes through
a function that the caller gives, so that a list, a table of tiles or a web client can stand behind it.
Verification follows the RFC's own algorithms step by step and refuses all that they refuse.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from hashlib import sha256

from ledger.errors import BadInput

EMPTY_ROOT = sha256(b"").digest()
"""The hash of an empty tree: the hash of an empty string (RFC 9162 section 2.1.1)."""

Subtree = Callable[[int, int], bytes]
"""`subtree(level, index)`: the root over leaves [index * 2^level, (index + 1) * 2^level)."""


class ProofError(BadInput):
    """A proof does not prove what it is said to prove."""

    code = "proof-invalid"


def leaf_hash(data: bytes) -> bytes:
    """HASH(0x00 || data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """HASH(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def subtrees(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The complete subtrees (level, index) that cover leaves [begin, end), from left to right.

    For [0, n) these are the peaks of the tree; for the ranges that proofs need (begin aligned to the
    power of two below the range's length) they are what the recursion of section 2.1.1 splits into.
    """
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        yield level, begin >> level
        begin += 1 << level


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over complete subtrees given from left to right: joined from the right (k < n <= 2k)."""
    if not hashes:
        return EMPTY_ROOT
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


def range_hash(subtree: Subtree, begin: int, end: int) -> bytes:
    """MTH(D[begin:end])."""
    return fold([subtree(level, index) for level, index in subtrees(begin, end)])


def root_hash(leaves: Sequence[bytes]) -> bytes:
    """MTH over leaf hashes."""
    return range_hash(subtree_of(leaves), 0, len(leaves))


def subtree_of(leaves: Sequence[bytes]) -> Subtree:
    """The subtrees of a tree whose leaf hashes are all at hand; each node is hashed once at most."""

    @cache
    def subtree(level: int, index: int) -> bytes:
        if level == 0:
            return leaves[index]
        return node_hash(subtree(level - 1, 2 * index), subtree(level - 1, 2 * index + 1))

    return subtree


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (k < n <= 2k)."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """The leaf ranges whose hashes prove leaf `index` in a tree of `size`, from the leaf's sibling up.

    PATH(m, D_n) of section 2.1.3.1. Raises `ProofError` unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ProofError(f"there is no leaf {index} in a tree of {size}")
    begin, end, ranges = 0, size, []
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin = middle
    return ranges[::-1]


def consistency_ranges(first: int, second: int) -> list[tuple[int, int]]:
    """The leaf ranges whose hashes prove that the tree of `first` is a prefix of that of `second`.

    PROOF(m, D_n) of section 2.1.4.1; empty when both are the same. Raises `ProofError` unless
    0 < first <= second.
    """
    if not 0 < first <= second:
        raise ProofError(f"there is no consistency proof from {first} to {second}")
    begin, end, ranges, complete = 0, second, [], True
    while first != end:
        middle = begin + _split(end - begin)
        if first <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin, complete = middle, False
    if not complete:
        ranges.append((begin, end))
    return ranges[::-1]


def inclusion_proof(subtree: Subtree, index: int, size: int) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size`."""
    return [range_hash(subtree, *ends) for ends in inclusion_ranges(index, size)]


def inclusion_proofs(leaves: Sequence[bytes]) -> tuple[bytes, list[list[bytes]]]:
    """MTH over some leaf hashes and the audit path of each; every node is hashed once."""
    paths: list[list[bytes]] = [[] for _ in leaves]

    def join(begin: int, end: int) -> bytes:
        if end - begin == 1:
            return leaves[begin]
        middle = begin + _split(end - begin)
        left, right = join(begin, middle), join(middle, end)
        for path in paths[begin:middle]:
            path.append(right)
        for path in paths[middle:end]:
            path.append(left)
        return node_hash(left, right)

    return (join(0, len(leaves)) if leaves else EMPTY_ROOT), paths


def consistency_proof(subtree: Subtree, first: int, second: int) -> list[bytes]:
    """The proof that the tree of `second` leaves extends that of `first`."""
    return [range_hash(subtree, *ends) for ends in consistency_ranges(first, second)]


def _check_hashes(proof: Sequence[bytes]) -> None:
    if any(len(node) != 32 for node in proof):
        raise ProofError("every hash in a proof is 32 bytes")


def path_root(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root to which `proof` leads from `leaf` (a leaf hash) at `index` of a tree of `size`.

    Steps 1 to 4 of RFC 9162 section 2.1.3.2. Raises `ProofError` where they fail.
    """
    _check_hashes([leaf, *proof])
    # 1. Compare leaf_index against tree_size. If leaf_index >= tree_size, fail.
    if not 0 <= index < size:
        raise ProofError(f"index {index} is outside a tree of {size}")
    # 2. Set fn to leaf_index and sn to tree_size - 1.  3. Set r to hash.
    fn, sn, r = index, size - 1, leaf
    # 4. For each value p in the inclusion_path:
    for p in proof:
        # a. If sn is 0, stop the iteration and fail.
        if sn == 0:
            raise ProofError("the proof is too long")
        # b. If LSB(fn) is set, or if fn equals sn: r = HASH(0x01 || p || r), then skip set zeros of fn.
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while fn & 1 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        # c. Right-shift both fn and sn one time.
        fn, sn = fn >> 1, sn >> 1
    # 5. Compare sn to 0.
    if sn != 0:
        raise ProofError("the proof is too short")
    return r


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Return if `proof` shows `leaf` (a leaf hash) at `index` of the tree of `size` with `root`.

    RFC 9162 section 2.1.3.2: steps 1 to 4 in `path_root`, here step 5. Raises `ProofError` otherwise.
    """
    # 5. Compare r against the root_hash.
    if path_root(index, size, leaf, proof) != root:
        raise ProofError("the proof leads to another root")


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> None:
    """Return if `proof` shows that the tree of `second` leaves extends that of `first`.

    The steps are those of RFC 9162 section 2.1.4.2, with its precondition 0 < first < second; for equal
    sizes the roots must be equal and the proof empty. Raises `ProofError` otherwise.
    """
    _check_hashes([first_root, second_root, *proof])
    if first == second and first > 0:
        if proof or first_root != second_root:
            raise ProofError("two trees of one size have one root and need no proof")
        return
    if not 0 < first < second:
        raise ProofError(f"a tree of {second} cannot extend a tree of {first}")
    # 1. If consistency_path is an empty array, stop and fail.
    if not proof:
        raise ProofError("the proof is empty")
    # 2. If first is an exact power of 2, prepend first_hash to the consistency_path array.
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    # 3. Set fn to first - 1 and sn to second - 1.
    fn, sn = first - 1, second - 1
    # 4. If LSB(fn) is set, right-shift both fn and sn equally until LSB(fn) is not set.
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    # 5. Set both fr and sr to the first value in the consistency_path array.
    fr = sr = path[0]
    # 6. For each subsequent value c in the consistency_path array:
    for c in path[1:]:
        # a. If sn is 0, stop the iteration and fail.
        if sn == 0:
            raise ProofError("the proof is too long")
        # b. If LSB(fn) is set, or if fn is equal to sn: both take c from the left.
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while fn & 1 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        # c. Finally, right-shift both fn and sn one time.
        fn, sn = fn >> 1, sn >> 1
    # 7. Verify that fr equals first_hash, sr equals second_hash and sn is 0.
    if sn != 0:
        raise ProofError("the proof is too short")
    if fr != first_root:
        raise ProofError("the proof does not lead to the older root")
    if sr != second_root:
        raise ProofError("the proof does not lead to the newer root")


class Frontier:
    """The right edge of a growing tree: the roots of its complete subtrees, largest first.

    Appending n leaves costs n hashes; at most log2(size) hashes are held.
    """

    BLOCK_LEVEL = 8
    """Leaves are taken in aligned blocks of 2^8, so that no root of a tile is passed over."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if len(peaks) != size.bit_count():
            raise ValueError(f"a tree of {size} has {size.bit_count()} peaks, not {len(peaks)}")
        self.size = size
        self.peaks = list(peaks)

    def extend(self, leaves: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Append leaf hashes.

        Returns (level, root) of every complete subtree at levels 8, 16, .. that came to be, in order: what
        the tiles of a log hand up to the level above them.
        """
        begin = 0
        completed: list[tuple[int, bytes]] = []
        while begin < len(leaves):
            level = min((len(leaves) - begin).bit_length() - 1, self.BLOCK_LEVEL)
            if self.size:
                level = min(level, (self.size & -self.size).bit_length() - 1)
            completed += self._add(complete_root(leaves[begin : begin + (1 << level)]), level)
            begin += 1 << level
        return completed

    def _add(self, peak: bytes, level: int) -> list[tuple[int, bytes]]:
        """Append the root of a complete subtree of 2^level leaves; `size` is a multiple of 2^level."""
        completed = [(level, peak)] if level == self.BLOCK_LEVEL else []
        carry = self.size >> level
        self.size += 1 << level
        while carry & 1:
            peak = node_hash(self.peaks.pop(), peak)
            carry >>= 1
            level += 1
            if level % self.BLOCK_LEVEL == 0:
                completed.append((level, peak))
        self.peaks.append(peak)
        return completed

    def root(self) -> bytes:
        """The root of the tree as it stands."""
        return fold(self.peaks)


def complete_root(leaves: Sequence[bytes]) -> bytes:
    """The root over a power of two of leaf hashes, level by level."""
    level: Sequence[bytes] = leaves
    while len(level) > 1:
        pairs = iter(level)
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return level[0]
