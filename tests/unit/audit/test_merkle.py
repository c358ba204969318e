"""Merkle proofs against public vectors and against an independent tree written from the RFC's recursive definitions."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audit.merkle import (
    EMPTY_ROOT,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    perfect_subtrees,
    range_hash,
    verify_consistency,
    verify_inclusion,
)
from gateway.audit.tiles import fold, grow, subtree_hash, tile_address, tile_key, tiles_of_range
from gateway.audit.walk import Fold
from gateway.errors import VerificationFailed

VECTORS = Path(__file__).parents[4] / "shared" / "vectors" / "merkle-rfc6962" / "testdata"
needs_vectors = pytest.mark.skipif(not VECTORS.exists(), reason="the shared folder with the public Merkle vectors is not there")


# --- the independent tree: RFC 9162, 2.1.1 to 2.1.4, word for word -----------------------------------------------------


def split(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def mth(leaves: list[bytes]) -> bytes:
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], known: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if known else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], known), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


class Tiles:
    """Tiles in memory, grown in portions."""

    def __init__(self, leaves: list[bytes], portions: list[int]) -> None:
        self.held: dict[tuple[int, int], bytes] = {}
        done = 0
        for portion in [*portions, len(leaves)]:
            chunk = leaves[done : done + portion]
            self.held |= grow(self.read, done, [leaf_hash(leaf) for leaf in chunk])
            done += len(chunk)

    def read(self, level: int, index: int) -> bytes:
        return self.held.get((level, index), b"")

    def node(self, level: int, index: int) -> bytes:
        return subtree_hash(self.read, level, index)

    def hashes(self, ranges: list[tuple[int, int]]) -> list[bytes]:
        return [range_hash(self.node, begin, end) for begin, end in ranges]


def make_leaves(count: int) -> list[bytes]:
    return [str(number).encode() for number in range(count)]


# --- vectors -----------------------------------------------------------------------------------------------------------


def vectors(folder: str) -> list[Path]:
    return sorted((VECTORS / folder).rglob("*.json")) if VECTORS.exists() else []


@pytest.mark.shared
@needs_vectors
def test_all_vectors_are_there():
    assert (len(vectors("inclusion")), len(vectors("consistency"))) == (98, 98)


@pytest.mark.shared
@needs_vectors
@pytest.mark.parametrize("file", vectors("inclusion"), ids=lambda file: "-".join(file.parts[-2:]))
def test_inclusion_vector(file: Path):
    case = json.loads(file.read_text())
    shown = verify_inclusion(
        index=case["leafIdx"],
        size=case["treeSize"],
        leaf=b64decode(case["leafHash"] or ""),
        proof=[b64decode(value) for value in case["proof"] or []],
        root=b64decode(case["root"] or ""),
    )
    assert shown is not case["wantErr"]


@pytest.mark.shared
@needs_vectors
@pytest.mark.parametrize("file", vectors("consistency"), ids=lambda file: "-".join(file.parts[-2:]))
def test_consistency_vector(file: Path):
    case = json.loads(file.read_text())
    shown = verify_consistency(
        old=case["size1"],
        new=case["size2"],
        old_root=b64decode(case["root1"] or ""),
        new_root=b64decode(case["root2"] or ""),
        proof=[b64decode(value) for value in case["proof"] or []],
    )
    assert shown is not case["wantErr"]


# --- equality with the independent tree ---------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.integers(1, 700))
def test_tiles_equal_the_recursive_tree(data: st.DataObject, size: int):
    leaves = make_leaves(size)
    tiles = Tiles(leaves, data.draw(st.lists(st.integers(0, 300), max_size=6)))
    root = range_hash(tiles.node, 0, size)
    assert root == mth(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = tiles.hashes(inclusion_ranges(index, size))
    assert proof == path(index, leaves)
    assert verify_inclusion(index=index, size=size, leaf=leaf_hash(leaves[index]), proof=proof, root=root)
    old = data.draw(st.integers(1, size))
    proof = tiles.hashes(consistency_ranges(old, size))
    assert proof == subproof(old, leaves[:size], True)
    assert verify_consistency(old=old, new=size, old_root=mth(leaves[:old]), new_root=root, proof=proof)


def test_every_proof_of_small_trees():
    leaves = make_leaves(20)
    tiles = Tiles(leaves, [7])
    for size in range(1, 21):
        root = mth(leaves[:size])
        for index in range(size):
            proof = tiles.hashes(inclusion_ranges(index, size))
            assert proof == path(index, leaves[:size])
            assert verify_inclusion(index=index, size=size, leaf=leaf_hash(leaves[index]), proof=proof, root=root)
        for old in range(1, size + 1):
            proof = tiles.hashes(consistency_ranges(old, size))
            assert proof == subproof(old, leaves[:size], True)
            assert verify_consistency(old=old, new=size, old_root=mth(leaves[:old]), new_root=root, proof=proof)


def test_a_tree_with_a_full_second_level():
    leaves = make_leaves(65_536 + 300)
    tiles = Tiles(leaves, [1000, 64_000])
    assert range_hash(tiles.node, 0, len(leaves)) == mth(leaves)
    assert (2, 0) in tiles.held
    assert tiles.hashes(inclusion_ranges(65_600, len(leaves))) == path(65_600, leaves)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), size=st.integers(2, 300))
def test_no_changed_proof_verifies(data: st.DataObject, size: int):
    leaves = make_leaves(size)
    tiles = Tiles(leaves, [])
    root, index = mth(leaves), data.draw(st.integers(0, size - 1))
    proof = tiles.hashes(inclusion_ranges(index, size))
    place, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
    changed = proof.copy()
    changed[place] = (int.from_bytes(changed[place]) ^ 1 << bit).to_bytes(32)
    leaf = leaf_hash(leaves[index])
    assert not verify_inclusion(index=index, size=size, leaf=leaf, proof=changed, root=root)
    assert not verify_inclusion(index=index, size=size, leaf=leaf, proof=proof[:-1], root=root)
    assert not verify_inclusion(index=index, size=size, leaf=leaf, proof=[*proof, root], root=root)
    assert not verify_inclusion(index=(index + 1) % size, size=size, leaf=leaf, proof=proof, root=root)


# --- edges --------------------------------------------------------------------------------------------------------------


def test_the_empty_tree():
    assert range_hash(lambda _level, _index: b"", 0, 0) == EMPTY_ROOT == mth([])
    assert perfect_subtrees(0, 0) == []
    assert grow(lambda _level, _index: b"", 0, []) == {}
    assert Fold().root() == EMPTY_ROOT


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3)])
def test_no_inclusion_outside_the_tree(index: int, size: int):
    with pytest.raises(ValueError, match="has no leaf"):
        inclusion_ranges(index, size)
    assert not verify_inclusion(index=index, size=size, leaf=EMPTY_ROOT, proof=[], root=EMPTY_ROOT)


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 3), (4, 3), (-1, 3)])
def test_no_consistency_from_nothing_or_backwards(old: int, new: int):
    with pytest.raises(ValueError, match="no consistency proof"):
        consistency_ranges(old, new)
    assert not verify_consistency(old=old, new=new, old_root=EMPTY_ROOT, new_root=EMPTY_ROOT, proof=[])


def test_hashes_of_another_length_prove_nothing():
    leaf = leaf_hash(b"0")
    assert verify_inclusion(index=0, size=1, leaf=leaf, proof=[], root=leaf)
    assert not verify_inclusion(index=0, size=1, leaf=leaf[:31], proof=[], root=leaf[:31])
    assert not verify_consistency(old=1, new=2, old_root=leaf + b"0", new_root=node_hash(leaf, leaf), proof=[leaf])


def test_a_longer_consistency_proof_is_refused():
    leaves = make_leaves(8)
    proof = [*subproof(3, leaves, True), EMPTY_ROOT]
    assert not verify_consistency(old=3, new=8, old_root=mth(leaves[:3]), new_root=mth(leaves), proof=proof)


def test_missing_and_short_tiles_raise():
    tiles = Tiles(make_leaves(300), [])
    tiles.held[0, 0] = tiles.held[0, 0][:-32]
    with pytest.raises(VerificationFailed, match="missing or too short"):
        tiles.node(8 - 1, 1)
    tiles.held[0, 1] = b""
    with pytest.raises(VerificationFailed, match="does not hold 44 hashes"):
        grow(tiles.read, 300, [EMPTY_ROOT])


def test_tile_addresses():
    assert tile_key(0, 5) == 5
    assert tile_address(tile_key(3, 12)) == (3, 12)
    assert tiles_of_range(0, 65_536 + 256 + 3) == {(2, 0), (1, 1), (0, 257)}
    assert fold(EMPTY_ROOT) == EMPTY_ROOT
    assert fold(EMPTY_ROOT * 2) == node_hash(EMPTY_ROOT, EMPTY_ROOT)
