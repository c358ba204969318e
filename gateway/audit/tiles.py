"""The geometry of a tiled Merkle tree: 256 hashes of one level in one tile.

A tile at tile level L holds the hashes of perfect subtrees of 256**L leaves; what lies between is computed from it.
The right-most tile of each level is partial until it holds 256 hashes.

Invariants:
    - Pure: tiles come from a function and go back as a mapping.
    - A full tile never changes; a partial one only grows at its end.
    - A tile that does not hold what the size of the tree demands raises `VerificationFailed`: no proof is built on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256

from gateway.audit.merkle import HASH_SIZE, perfect_subtrees
from gateway.errors import VerificationFailed

__all__ = ["TILE_BYTES", "TILE_WIDTH", "TileReader", "fold", "grow", "subtree_hash", "tile_address", "tile_key", "tiles_of_range"]

TILE_WIDTH = 256
TILE_HEIGHT = 8
TILE_BYTES = TILE_WIDTH * HASH_SIZE
KEY_SHIFT = 56
WORTH_KEEPING = 16 * HASH_SIZE

TileReader = Callable[[int, int], bytes]
"""Gives the bytes of the tile at (tile level, tile index); b"" when there is none."""


def tile_key(level: int, index: int) -> int:
    """The key under which a tile is stored: level << 56 | index."""
    return level << KEY_SHIFT | index


def tile_address(key: int) -> tuple[int, int]:
    """Level and index of a stored tile."""
    return key >> KEY_SHIFT, key & ((1 << KEY_SHIFT) - 1)


def fold(hashes: bytes) -> bytes:
    """Root of the perfect tree over 2**k concatenated hashes."""
    return _fold(hashes) if len(hashes) < WORTH_KEEPING else _fold_once(hashes)


def _fold(hashes: bytes) -> bytes:
    while len(hashes) > HASH_SIZE:
        pairs = [hashes[at : at + 2 * HASH_SIZE] for at in range(0, len(hashes), 2 * HASH_SIZE)]
        hashes = b"".join([sha256(b"\x01" + pair).digest() for pair in pairs])
    return hashes


# Keyed by the very bytes, so a changed tile is never answered from memory.
_fold_once = lru_cache(maxsize=4096)(_fold)


def subtree_hash(read: TileReader, level: int, index: int) -> bytes:
    """Hash of the perfect subtree at (level above the leaves, index).

    Raises:
        VerificationFailed: the tile that should hold it is missing or too short.
    """
    tile_level, height = divmod(level, TILE_HEIGHT)
    first = index << height
    data = read(tile_level, first // TILE_WIDTH)
    offset = first % TILE_WIDTH * HASH_SIZE
    hashes = data[offset : offset + (HASH_SIZE << height)]
    if len(hashes) != HASH_SIZE << height:
        raise VerificationFailed(f"tile {first // TILE_WIDTH} of level {tile_level} of the log is missing or too short")
    return fold(hashes)


def tiles_of_range(begin: int, end: int) -> set[tuple[int, int]]:
    """Which tiles hold the perfect subtrees of a range, so that they can be fetched in one go."""
    return {(level // TILE_HEIGHT, (index << level % TILE_HEIGHT) // TILE_WIDTH) for level, index in perfect_subtrees(begin, end)}


def grow(read: TileReader, size: int, leaves: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
    """Append leaf hashes to a tree.

    Args:
        read: The tiles of the tree as it is.
        size: Leaves it has.
        leaves: Hashes to append, in order.

    Returns:
        The new bytes of every tile that changed, by (tile level, tile index).

    Raises:
        VerificationFailed: a partial tile does not hold what `size` demands.
    """
    changed: dict[tuple[int, int], bytes] = {}
    level, start, hashes = 0, size, b"".join(leaves)
    while hashes:
        index, fill = divmod(start, TILE_WIDTH)
        held = read(level, index) if fill else b""
        if len(held) != fill * HASH_SIZE:
            raise VerificationFailed(f"tile {index} of level {level} of the log does not hold {fill} hashes")
        buffer, parents = held + hashes, []
        for number, at in enumerate(range(0, len(buffer), TILE_BYTES), start=index):
            changed[level, number] = data = buffer[at : at + TILE_BYTES]
            if len(data) == TILE_BYTES:
                parents.append(fold(data))
        level, start, hashes = level + 1, index, b"".join(parents)
    return changed
