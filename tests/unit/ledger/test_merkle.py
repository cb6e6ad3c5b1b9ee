"""Roots and proofs are those of RFC 9162, and everything that it refuses is refused."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    complete_root,
    consistency_proof,
    consistency_ranges,
    fold,
    inclusion_proof,
    inclusion_proofs,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    path_root,
    range_hash,
    root_hash,
    subtree_of,
    subtrees,
    verify_consistency,
    verify_inclusion,
)
from tests.unit.ledger import rfc9162

SIZE_MAX = 70
LEAVES = [leaf_hash(str(index).encode()) for index in range(SIZE_MAX)]
ROOTS = [rfc9162.mth(LEAVES[:size]) for size in range(SIZE_MAX + 1)]
SUBTREE = subtree_of(LEAVES)
SIZES = range(1, SIZE_MAX + 1)


# --- what is generated -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(SIZE_MAX + 1))
def test_roots_are_those_of_the_recursive_definition(size: int) -> None:
    assert root_hash(LEAVES[:size]) == ROOTS[size]


@pytest.mark.parametrize("size", SIZES)
def test_every_leaf_of_every_tree_is_proven(size: int) -> None:
    for index in range(size):
        proof = inclusion_proof(SUBTREE, index, size)
        assert proof == rfc9162.path(index, LEAVES[:size])
        verify_inclusion(index, size, LEAVES[index], proof, ROOTS[size])


@pytest.mark.parametrize("size", range(SIZE_MAX + 1))
def test_all_leaves_proven_at_once_are_proven_as_one_by_one(size: int) -> None:
    paths = [inclusion_proof(SUBTREE, index, size) for index in range(size)]
    assert inclusion_proofs(LEAVES[:size]) == (ROOTS[size], paths)


@pytest.mark.parametrize("second", SIZES)
def test_every_older_tree_is_proven(second: int) -> None:
    for first in range(1, second + 1):
        proof = consistency_proof(SUBTREE, first, second)
        assert proof == rfc9162.proof(first, LEAVES[:second])
        verify_consistency(first, second, ROOTS[first], ROOTS[second], proof)


def test_subtrees_cover_their_range_once_from_left_to_right() -> None:
    for begin in range(SIZE_MAX):
        for end in range(begin, SIZE_MAX):
            spans = [(index << level, index + 1 << level) for level, index in subtrees(begin, end)]
            edges = [begin, *(stop for _, stop in spans)]
            assert edges[-1] == end
            assert spans == list(pairwise(edges))


def test_the_ranges_of_proofs_hash_to_their_trees() -> None:
    for begin, end in {
        ends for size in SIZES for index in range(size) for ends in inclusion_ranges(index, size)
    }:
        assert range_hash(SUBTREE, begin, end) == rfc9162.mth(LEAVES[begin:end])


def test_an_empty_tree_has_the_hash_of_nothing() -> None:
    assert root_hash([]) == fold([]) == Frontier().root() == EMPTY_ROOT == rfc9162.mth([])


def test_a_node_is_not_a_leaf() -> None:
    left, right = LEAVES[:2]
    assert node_hash(left, right) != leaf_hash(left + right)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (5, 5), (6, 5), (-1, 5)])
def test_there_is_no_path_to_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ProofError):
        inclusion_proof(SUBTREE, index, size)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 5), (6, 5), (-1, 5)])
def test_there_is_no_proof_between_trees_that_do_not_follow(first: int, second: int) -> None:
    with pytest.raises(ProofError):
        consistency_ranges(first, second)


# --- what is refused: RFC 9162 section 2.1.3.2 -------------------------------------------------------


def test_a_leaf_is_proven_at_its_own_index_only() -> None:
    for size in range(2, 20):
        for index in range(size):
            proof = inclusion_proof(SUBTREE, index, size)
            for other in range(-1, size + 2):
                if other != index:
                    with pytest.raises(ProofError):
                        verify_inclusion(other, size, LEAVES[index], proof, ROOTS[size])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (7, 7), (8, 7), (2**60, 7), (-1, 7)])
def test_an_index_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(ProofError, match="outside"):
        verify_inclusion(index, size, LEAVES[0], [], LEAVES[0])


def broken(proof: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Every small way in which a list of hashes can be wrong."""
    foreign = leaf_hash(b"foreign")
    for at in range(len(proof) + 1):
        yield f"a foreign hash at {at}", [*proof[:at], foreign, *proof[at:]]
        yield f"a hash of nothing at {at}", [*proof[:at], b"", *proof[at:]]
    for at, node in enumerate(proof):
        yield f"without hash {at}", [*proof[:at], *proof[at + 1 :]]
        yield f"hash {at} twice", [*proof[:at], node, *proof[at:]]
        yield f"hash {at} one byte short", [*proof[:at], node[:-1], *proof[at + 1 :]]
        yield f"hash {at} one byte long", [*proof[:at], node + b"\x00", *proof[at + 1 :]]
        for bit in (0, 100, 255):
            flipped = (int.from_bytes(node, "big") ^ 1 << bit).to_bytes(32, "big")
            yield f"hash {at} with bit {bit} flipped", [*proof[:at], flipped, *proof[at + 1 :]]
    for at in range(len(proof) - 1):
        yield f"hashes {at} and {at + 1} swapped", [*proof[:at], *proof[at : at + 2][::-1], *proof[at + 2 :]]
    if len(proof) > 1:
        yield "upside down", proof[::-1]


def refused(verify: Callable[..., None], *arguments: object) -> bool:
    """Whether a proof is refused."""
    try:
        verify(*arguments)
    except ProofError:
        return True
    return False


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 13, 64, 65, 70])
def test_a_broken_inclusion_proof_proves_nothing(size: int) -> None:
    for index in {0, 1, size // 2, size - 2, size - 1} & set(range(size)):
        proof = inclusion_proof(SUBTREE, index, size)
        for what, wrong in broken(proof):
            assert refused(verify_inclusion, index, size, LEAVES[index], wrong, ROOTS[size]), what


def test_a_proof_that_ends_too_early_or_too_late_is_told_apart() -> None:
    proof = inclusion_proof(SUBTREE, 4, 7)
    with pytest.raises(ProofError, match="too short"):
        path_root(4, 7, LEAVES[4], proof[:-1])
    with pytest.raises(ProofError, match="too long"):
        path_root(4, 7, LEAVES[4], [*proof, LEAVES[0]])
    with pytest.raises(ProofError, match="too long"):
        path_root(0, 1, LEAVES[0], [LEAVES[0]])


def test_a_wrong_leaf_or_root_is_refused() -> None:
    proof = inclusion_proof(SUBTREE, 4, 7)
    with pytest.raises(ProofError, match="another root"):
        verify_inclusion(4, 7, LEAVES[5], proof, ROOTS[7])
    with pytest.raises(ProofError, match="another root"):
        verify_inclusion(4, 7, LEAVES[4], proof, ROOTS[6])
    for leaf in (b"", LEAVES[4][:31], LEAVES[4] + b"\x00"):
        with pytest.raises(ProofError, match="32 bytes"):
            verify_inclusion(4, 7, leaf, proof, ROOTS[7])


def test_the_last_leaf_is_not_there_twice() -> None:
    # CVE-2012-2459: where an odd node is paired with itself, [a, b, c] and [a, b, c, c] have one root.
    three, four = LEAVES[:3], [*LEAVES[:3], LEAVES[2]]
    assert root_hash(three) != root_hash(four)
    proof = inclusion_proof(subtree_of(four), 3, 4)
    for size in (3, 4):
        with pytest.raises(ProofError):
            verify_inclusion(3, size, LEAVES[2], proof, root_hash(three))


def test_an_inner_node_is_no_leaf_of_a_smaller_tree() -> None:
    # The root over four leaves is no root over two leaves that are its inner nodes' preimages.
    inner = LEAVES[0] + LEAVES[1]
    with pytest.raises(ProofError):
        verify_inclusion(0, 2, leaf_hash(inner), [SUBTREE(1, 1)], ROOTS[4])


# --- what is refused: RFC 9162 section 2.1.4.2 -------------------------------------------------------


@pytest.mark.parametrize("second", [1, 2, 3, 5, 7, 8, 13, 64, 65, 70])
def test_a_broken_consistency_proof_proves_nothing(second: int) -> None:
    for first in {1, 2, 3, second // 2, second - 1, second} & set(range(1, second + 1)):
        proof = consistency_proof(SUBTREE, first, second)
        for what, wrong in broken(proof):
            assert refused(verify_consistency, first, second, ROOTS[first], ROOTS[second], wrong), what


def test_a_consistency_proof_fits_its_own_roots_only() -> None:
    for second in range(2, 20):
        for first in range(1, second):
            proof = consistency_proof(SUBTREE, first, second)
            # Where the older tree is complete, its root is where the proof starts from.
            blamed = "newer root" if first & (first - 1) == 0 else "older root"
            with pytest.raises(ProofError, match=blamed):
                verify_consistency(first, second, leaf_hash(b"other"), ROOTS[second], proof)
            with pytest.raises(ProofError, match="newer root"):
                verify_consistency(first, second, ROOTS[first], leaf_hash(b"other"), proof)
            with pytest.raises(ProofError):
                verify_consistency(first, second, ROOTS[second], ROOTS[first], proof)


def test_a_consistency_proof_fits_its_own_sizes_only() -> None:
    for second in range(2, 20):
        for first in range(1, second):
            proof = consistency_proof(SUBTREE, first, second)
            for other in set(range(-1, second + 2)) - {first}:
                with pytest.raises(ProofError):
                    verify_consistency(other, second, ROOTS[first], ROOTS[second], proof)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (0, 7), (7, 6), (-1, 3), (2**60, 2)])
def test_trees_that_do_not_follow_one_another_are_refused(first: int, second: int) -> None:
    for proof in ([], [EMPTY_ROOT]):
        with pytest.raises(ProofError, match="cannot extend"):
            verify_consistency(first, second, EMPTY_ROOT, ROOTS[1], proof)


def test_two_trees_of_one_size_have_one_root_and_need_no_proof() -> None:
    verify_consistency(5, 5, ROOTS[5], ROOTS[5], [])
    with pytest.raises(ProofError, match="one size"):
        verify_consistency(5, 5, ROOTS[5], ROOTS[6], [])
    with pytest.raises(ProofError, match="one size"):
        verify_consistency(5, 5, ROOTS[5], ROOTS[5], [ROOTS[5]])


def test_an_empty_proof_shows_no_growth() -> None:
    for first in (1, 2, 3, 4):
        with pytest.raises(ProofError, match="empty"):
            verify_consistency(first, 5, ROOTS[first], ROOTS[5], [])
        with pytest.raises(ProofError, match="empty"):
            verify_consistency(first, 5, ROOTS[first], ROOTS[first], [])


def test_a_root_of_another_length_is_refused() -> None:
    proof = consistency_proof(SUBTREE, 4, 7)
    for wrong in (b"", ROOTS[4][:31], ROOTS[4] + b"\x00"):
        with pytest.raises(ProofError, match="32 bytes"):
            verify_consistency(4, 7, wrong, ROOTS[7], proof)
        with pytest.raises(ProofError, match="32 bytes"):
            verify_consistency(4, 7, ROOTS[4], wrong, proof)


def test_a_log_that_changed_an_old_leaf_cannot_prove_its_growth() -> None:
    for changed in range(6):
        leaves = [*LEAVES[:changed], leaf_hash(b"changed"), *LEAVES[changed + 1 : 9]]
        proof = consistency_proof(subtree_of(leaves), 6, 9)
        with pytest.raises(ProofError):
            verify_consistency(6, 9, ROOTS[6], root_hash(leaves), proof)


# --- the right edge ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(SIZE_MAX + 1))
def test_an_edge_grown_in_two_steps_has_the_root_of_the_whole(size: int) -> None:
    for cut in range(size + 1):
        edge = Frontier()
        edge.extend(LEAVES[:cut])
        assert (edge.size, edge.root()) == (cut, ROOTS[cut])
        edge.extend(LEAVES[cut:size])
        assert (edge.size, edge.root()) == (size, ROOTS[size])


def test_an_edge_is_restored_from_its_peaks() -> None:
    for size in range(SIZE_MAX):
        edge = Frontier(size, [SUBTREE(level, index) for level, index in subtrees(0, size)])
        assert edge.root() == ROOTS[size]
        edge.extend(LEAVES[size:])
        assert edge.root() == ROOTS[SIZE_MAX]


@pytest.mark.parametrize(("size", "peaks"), [(0, 1), (1, 0), (3, 1), (4, 2), (7, 4)])
def test_an_edge_has_one_peak_for_each_bit_of_its_size(size: int, peaks: int) -> None:
    with pytest.raises(ValueError, match="peaks"):
        Frontier(size, LEAVES[:peaks])


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16])
def test_the_root_over_a_power_of_two(count: int) -> None:
    assert complete_root(LEAVES[:count]) == ROOTS[count]


@pytest.mark.parametrize("count", [3, 5, 6, 7, 12])
def test_there_is_no_complete_tree_over_another_count(count: int) -> None:
    with pytest.raises(ValueError, match="zip"):
        complete_root(LEAVES[:count])


@pytest.mark.parametrize("step", [1, 7, 255, 256, 257, 1000, 70_000])
def test_an_edge_tells_every_completed_tile_once_and_in_order(step: int) -> None:
    size = 70_000 if step > 256 else 2_000
    leaves = [leaf_hash(index.to_bytes(4, "big")) for index in range(size)]
    edge, told = Frontier(), []
    for begin in range(0, size, step):
        told += edge.extend(leaves[begin : begin + step])
    expected = []
    for index in range(size // 256):
        expected.append((8, rfc9162.mth(leaves[256 * index : 256 * (index + 1)])))
        if index % 256 == 255:
            expected.append((16, complete_root([root for level, root in expected[-256:] if level == 8])))
    assert told == expected
