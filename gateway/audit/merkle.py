"""Merkle trees as RFC 9162, section 2.1, defines them: hashes, which nodes a proof is made of, and verification.

Invariants:
    - Pure: nothing here reads a database, a clock or a file.
    - A verification is a value, never an exception: malformed proofs are simply not proofs.
    - A consistency proof from the empty tree proves nothing and is refused.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from hashlib import sha256

__all__ = [
    "EMPTY_ROOT",
    "HASH_SIZE",
    "consistency_ranges",
    "inclusion_ranges",
    "leaf_hash",
    "node_hash",
    "perfect_subtrees",
    "range_hash",
    "verify_consistency",
    "verify_inclusion",
]

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(payload: bytes) -> bytes:
    """Hash of a leaf: SHA-256(0x00 ‖ payload)."""
    return sha256(b"\x00" + payload).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


def perfect_subtrees(begin: int, end: int) -> list[tuple[int, int]]:
    """Split the leaves `begin..end-1` into perfect subtrees, left to right.

    Args:
        begin: First leaf; zero, or a multiple of the greatest power of two not above `end - begin`.
        end: One past the last leaf.

    Returns:
        (level, index) of each subtree; its leaves are `index << level` and the `2**level - 1` that follow.
    """
    nodes = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        nodes.append((level, begin >> level))
        begin += 1 << level
    return nodes


def range_hash(node: Callable[[int, int], bytes], begin: int, end: int) -> bytes:
    """Hash of the subtree over the leaves `begin..end-1`, from the hashes of perfect subtrees.

    Args:
        node: Gives the hash of the perfect subtree at (level, index).
        begin: As in `perfect_subtrees`.
        end: One past the last leaf; `begin == end` gives the root of the empty tree.
    """
    hashes = [node(level, index) for level, index in perfect_subtrees(begin, end)]
    if not hashes:
        return EMPTY_ROOT
    result = hashes.pop()
    while hashes:
        result = node_hash(hashes.pop(), result)
    return result


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Which ranges of leaves the inclusion proof of a leaf is made of, in the proof's order (RFC 9162, 2.1.3.1).

    Args:
        index: The leaf, 0 ≤ index < size.
        size: Leaves in the tree.

    Raises:
        ValueError: the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    begin, end = 0, size
    ranges = []
    while end - begin > 1:
        split = begin + _largest_power_below(end - begin)
        if index < split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((begin, split))
            begin = split
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """Which ranges of leaves the consistency proof between two sizes is made of (RFC 9162, 2.1.4.1).

    Args:
        old: Earlier size, at least 1.
        new: Later size, at least `old`.

    Raises:
        ValueError: the sizes are not in that order, or the earlier tree is empty.
    """
    if not 0 < old <= new:
        raise ValueError(f"there is no consistency proof from size {old} to size {new}")
    begin, end = 0, new
    ranges = []
    while old != end:
        split = begin + _largest_power_below(end - begin)
        if old <= split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((begin, split))
            begin = split
    if begin > 0:
        ranges.append((begin, end))
    return ranges[::-1]


def verify_inclusion(*, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof shows that `leaf` stands at `index` in the tree of `size` leaves with `root` (RFC 9162, 2.1.3.2).

    Args:
        index: Zero-based place of the leaf.
        size: Leaves in the tree.
        leaf: Hash of the leaf (`leaf_hash`).
        proof: Sibling hashes, from the leaf's upwards.
        root: Root of the tree.
    """
    if not 0 <= index < size or not _are_hashes([leaf, root, *proof]):
        return False
    place, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            result = node_hash(sibling, result)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and hmac.compare_digest(result, root)


def verify_consistency(*, old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the tree with `new_root` continues the tree with `old_root` (RFC 9162, 2.1.4.2).

    Args:
        old: Earlier size; from 0 nothing can be proved and the answer is no.
        new: Later size.
        old_root: Root at the earlier size.
        new_root: Root at the later size.
        proof: Hashes, as `consistency_ranges` orders them; empty when the sizes are equal.
    """
    if not 0 < old <= new:
        return False
    if old == new:
        return not proof and hmac.compare_digest(old_root, new_root)
    if not _are_hashes([old_root, new_root, *proof]):
        return False
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not proof:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and hmac.compare_digest(before, old_root) and hmac.compare_digest(after, new_root)


def _largest_power_below(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def _are_hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == HASH_SIZE for value in values)
