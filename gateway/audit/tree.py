"""The Merkle tree as it stands in the database: tiles, checkpoints, proofs.

Invariants:
    - Reading never writes; only the sequencer calls `grow` and `add_checkpoint`.
    - A proof is built from tiles only; a missing or short tile raises and is never papered over.
    - An event counts as included only when a signed checkpoint covers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, func, insert, select, text, update

from gateway.audit.merkle import EMPTY_ROOT, consistency_ranges, inclusion_ranges, range_hash, verify_consistency
from gateway.audit.note import Checkpoint
from gateway.audit.tiles import grow, subtree_hash, tile_key, tiles_of_range
from gateway.db.tables.audit import audit_event, checkpoint, tile
from gateway.db.work import Work
from gateway.errors import NotFound

__all__ = [
    "Head",
    "Tree",
    "add_head",
    "continues",
    "event_is_included",
    "has_note",
    "newest_head",
    "newest_signed",
    "prove_consistency",
    "prove_inclusion",
    "set_indices",
    "set_note",
    "signed_covering",
]

# Statements are built once: building them costs more than running them.
_TILES = select(tile.c.key, tile.c.data).where(tile.c.key.in_(bindparam("keys", expanding=True)))
_NEWEST = select(checkpoint).order_by(checkpoint.c.size.desc()).limit(1)
_NEWEST_SIGNED = _NEWEST.where(checkpoint.c.note.is_not(None))
_SET_INDEX = update(audit_event).where(audit_event.c.id == bindparam("event")).values(leaf_index=bindparam("place"))
_SET_INDICES = text(
    "UPDATE audit_event SET leaf_index = given.place "
    "FROM unnest(CAST(:events AS text[]), CAST(:places AS bigint[])) AS given(event, place) WHERE audit_event.id = given.event"
)
_PUT_TILE = text("INSERT INTO tile (key, data) VALUES (:key, :data) ON CONFLICT (key) DO UPDATE SET data = excluded.data")


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint row.

    Attributes:
        size: Leaves in the tree.
        root: Its root.
        note: The signed checkpoint; None for the moment until it is signed, or for ever when a larger one was signed instead.
    """

    size: int
    root: bytes
    note: str | None


class Tree:
    """The tiles, as one transaction sees them."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._tiles: dict[tuple[int, int], bytes] = {}

    def root(self, size: int) -> bytes:
        """Root of the tree at a size that it has, or had."""
        return self.hashes([(0, size)])[0]

    def hashes(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Hashes of subtrees over ranges of leaves."""
        self._fetch({address for begin, end in ranges for address in tiles_of_range(begin, end)})
        return [range_hash(lambda level, index: subtree_hash(self.read, level, index), begin, end) for begin, end in ranges]

    def grow(self, size: int, leaves: Sequence[bytes]) -> bytes:
        """Append leaf hashes to a tree of `size` leaves.

        Returns:
            The new root.
        """
        changed = grow(self.read, size, leaves)
        if changed:
            rows = [{"key": tile_key(*address), "data": data} for address, data in changed.items()]
            self._work.execute(_PUT_TILE, rows)
            self._tiles.update(changed)
        return self.root(size + len(leaves))

    def read(self, level: int, index: int) -> bytes:
        """Bytes of a tile; empty when there is none."""
        self._fetch({(level, index)})
        return self._tiles[level, index]

    def _fetch(self, addresses: Iterable[tuple[int, int]]) -> None:
        wanted = {tile_key(*address): address for address in addresses if address not in self._tiles}
        if wanted:
            found = self._work.execute(_TILES, {"keys": list(wanted)})
            held = {row.key: bytes(row.data) for row in found}
            self._tiles.update({address: held.get(key, b"") for key, address in wanted.items()})


def newest_head(work: Work) -> Head:
    """The largest tree, signed or not; of size 0 when there is none."""
    return _head(work, signed=False) or Head(size=0, root=EMPTY_ROOT, note=None)


def newest_signed(work: Work) -> Head | None:
    """The largest tree with a signed checkpoint."""
    return _head(work, signed=True)


def signed_covering(work: Work, index: int) -> Head | None:
    """The smallest signed checkpoint that covers a leaf: the same answer at any later time."""
    query = (
        select(checkpoint).where(checkpoint.c.size > index, checkpoint.c.note.is_not(None)).order_by(checkpoint.c.size).limit(1)
    )
    row = work.execute(query).first()
    return None if row is None else Head(row.size, bytes(row.root), row.note)


def event_is_included(work: Work, event_id: str) -> int | None:
    """Leaf index of an event that a signed checkpoint covers; None while it waits or when it is unknown."""
    index: int | None = work.execute(select(audit_event.c.leaf_index).where(audit_event.c.id == event_id)).scalar_one_or_none()
    if index is None:
        return None
    size = work.execute(select(func.max(checkpoint.c.size)).where(checkpoint.c.note.is_not(None))).scalar_one()
    return index if size is not None and index < size else None


def prove_inclusion(work: Work, index: int, size: int) -> list[bytes]:
    """Inclusion proof of a leaf in the tree at a size.

    Raises:
        NotFound: the log has no such leaf, or is not that large.
    """
    if not 0 <= index < size <= newest_head(work).size:
        raise NotFound(f"the log has no leaf {index} in a tree of {size} leaves")
    return Tree(work).hashes(inclusion_ranges(index, size))


def prove_consistency(work: Work, old: int, new: int) -> list[bytes]:
    """Consistency proof between two sizes.

    Raises:
        NotFound: the log is not that large, or the earlier size is not between 1 and the later one.
    """
    if not 0 < old <= new <= newest_head(work).size:
        raise NotFound(f"the log cannot prove that {new} leaves continue {old}")
    return Tree(work).hashes(consistency_ranges(old, new))


def continues(work: Work, old: Checkpoint, head: Head) -> bool:
    """Whether the log with this head continues a checkpoint; everything continues the empty log."""
    if not 0 < old.size <= head.size:
        return old.size == 0
    proof = prove_consistency(work, old.size, head.size)
    return verify_consistency(old=old.size, new=head.size, old_root=old.root, new_root=head.root, proof=proof)


def add_head(work: Work, head: Head) -> None:
    """Store the head that the sequencer made."""
    work.execute(insert(checkpoint).values(size=head.size, root=head.root, note=head.note))


def has_note(work: Work, size: int) -> bool:
    """Whether the signed checkpoint of a size is stored."""
    return work.execute(select(checkpoint.c.note).where(checkpoint.c.size == size)).scalar_one_or_none() is not None


def set_note(work: Work, size: int, note: str) -> None:
    """Store the signed checkpoint of a size, once."""
    work.execute(update(checkpoint).where(checkpoint.c.size == size, checkpoint.c.note.is_(None)).values(note=note))


def set_indices(work: Work, first: int, identifiers: Sequence[str]) -> None:
    """Give consecutive leaf indices to events."""
    places = range(first, first + len(identifiers))
    if work.is_sqlite:
        work.execute(_SET_INDEX, [{"event": name, "place": place} for name, place in zip(identifiers, places, strict=True)])
    else:
        work.execute(_SET_INDICES, {"events": list(identifiers), "places": list(places)})


def _head(work: Work, *, signed: bool) -> Head | None:
    row = work.execute(_NEWEST_SIGNED if signed else _NEWEST).first()
    return None if row is None else Head(row.size, bytes(row.root), row.note)
