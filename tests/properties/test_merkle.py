"""What holds of every Merkle tree, however large and however it grew."""

from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ledger.merkle import (
    Frontier,
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    path_root,
    root_hash,
    subtree_of,
    verify_consistency,
    verify_inclusion,
)
from tests.unit.ledger import rfc9162

SIZE_MAX = 1_500
LEAVES = [leaf_hash(index.to_bytes(4, "big")) for index in range(SIZE_MAX)]
SUBTREE = subtree_of(LEAVES)

SIZES = st.integers(1, SIZE_MAX)
HASHES = st.binary(min_size=32, max_size=32)


class Change(NamedTuple):
    """One change to a list of hashes: at `at`, `removed` hashes give way to `added`."""

    at: int
    removed: int
    added: list[bytes]

    def of(self, proof: list[bytes]) -> list[bytes]:
        at = self.at % (len(proof) + 1)
        return [*proof[:at], *self.added, *proof[at + self.removed :]]


CHANGES = st.builds(
    Change,
    st.integers(0, 12),
    st.integers(0, 3),
    st.lists(HASHES | st.binary(max_size=40) | st.sampled_from(LEAVES[:4]), max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_leaf_is_proven_as_the_recursion_proves_it(data: st.DataObject) -> None:
    size = data.draw(SIZES)
    index = data.draw(st.integers(0, size - 1))
    proof, root = inclusion_proof(SUBTREE, index, size), rfc9162.mth(LEAVES[:size])
    assert proof == rfc9162.path(index, LEAVES[:size])
    assert path_root(index, size, LEAVES[index], proof) == root
    verify_inclusion(index, size, LEAVES[index], proof, root)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_growth_is_proven_as_the_recursion_proves_it(data: st.DataObject) -> None:
    second = data.draw(SIZES)
    first = data.draw(st.integers(1, second))
    proof = consistency_proof(SUBTREE, first, second)
    assert proof == rfc9162.proof(first, LEAVES[:second])
    verify_consistency(first, second, rfc9162.mth(LEAVES[:first]), rfc9162.mth(LEAVES[:second]), proof)


@settings(max_examples=150, deadline=None)
@given(st.data(), CHANGES)
def test_no_changed_path_leads_to_the_root(data: st.DataObject, change: Change) -> None:
    size = data.draw(SIZES)
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(SUBTREE, index, size)
    changed = change.of(proof)
    assume(changed != proof)
    with pytest.raises(ProofError):
        verify_inclusion(index, size, LEAVES[index], changed, root_hash(LEAVES[:size]))


@settings(max_examples=150, deadline=None)
@given(st.data(), CHANGES)
def test_no_changed_proof_shows_the_growth(data: st.DataObject, change: Change) -> None:
    second = data.draw(SIZES)
    first = data.draw(st.integers(1, second))
    proof = consistency_proof(SUBTREE, first, second)
    changed = change.of(proof)
    assume(changed != proof)
    with pytest.raises(ProofError):
        verify_consistency(first, second, root_hash(LEAVES[:first]), root_hash(LEAVES[:second]), changed)


@settings(max_examples=150, deadline=None)
@given(st.integers(-5, 2**62), st.integers(-5, 2**62), st.lists(st.binary(max_size=40), max_size=70))
def test_whatever_is_sent_as_a_proof_is_refused_in_one_way(index: int, size: int, proof: list[bytes]) -> None:
    with pytest.raises(ProofError):
        verify_inclusion(index, size, LEAVES[0], proof, LEAVES[1])
    with pytest.raises(ProofError):
        verify_consistency(index, size, LEAVES[0], LEAVES[1], proof)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=6))
def test_an_edge_grown_in_any_steps_is_the_tree(steps: list[int]) -> None:
    edge = Frontier()
    for step in steps:
        edge.extend(LEAVES[edge.size : edge.size + step])
    assert edge.size == min(sum(steps), SIZE_MAX)
    assert edge.root() == root_hash(LEAVES[: edge.size])
    assert len(edge.peaks) == edge.size.bit_count()


@settings(max_examples=40, deadline=None)
@given(st.lists(SIZES, min_size=2, max_size=5))
def test_growth_is_transitive_and_every_old_leaf_stays_proven(steps: list[int]) -> None:
    sizes = sorted(steps)
    roots = [root_hash(LEAVES[:size]) for size in sizes]
    for at in range(len(sizes)):
        for later in range(at, len(sizes)):
            proof = consistency_proof(SUBTREE, sizes[at], sizes[later])
            verify_consistency(sizes[at], sizes[later], roots[at], roots[later], proof)
        last = sizes[at] - 1
        verify_inclusion(last, sizes[-1], LEAVES[last], inclusion_proof(SUBTREE, last, sizes[-1]), roots[-1])
