"""Walk over all leaves once: rows against their payloads, rows against tiles, and the roots that both give.

Invariants:
    - Memory does not grow with the log, except for what is wrong with it. Time grows with what is there, never with what a
      checkpoint merely claims: where neither rows nor tiles are, the walk goes on at the next one.
    - Nothing is concluded here about who is right when row and tile differ; `verify_log` asks the signed roots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, type_coerce
from sqlalchemy.types import NullType

from gateway.audit.findings import FindingKind, Report
from gateway.audit.merkle import EMPTY_ROOT, HASH_SIZE, node_hash
from gateway.audit.rows import as_bytes, check_row, raw_columns
from gateway.audit.tiles import TILE_WIDTH, tile_key
from gateway.db.tables.audit import audit_event, tile
from gateway.db.work import Work

__all__ = ["Fold", "Walk", "check_pending", "check_strays", "walk_leaves"]

BATCH_TILES = 16
BATCH = BATCH_TILES * TILE_WIDTH
MAX_STRAYS = 100
GREATEST = 2**63 - 1
"""The greatest number that a column holds."""

_ROWS = raw_columns(audit_event)


class Fold:
    """The root of a growing tree in logarithmic memory."""

    def __init__(self) -> None:
        self._peaks: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        """Append a leaf hash."""
        level = 0
        while self._peaks and self._peaks[-1][0] == level:
            leaf = node_hash(self._peaks.pop()[1], leaf)
            level += 1
        self._peaks.append((level, leaf))

    def root(self) -> bytes:
        """Root of what was added."""
        if not self._peaks:
            return EMPTY_ROOT
        *others, (_, result) = self._peaks
        for _, peak in reversed(others):
            result = node_hash(peak, result)
        return result

    def copy(self) -> Fold:
        """An independent fold that goes on from here."""
        other = Fold()
        other._peaks = self._peaks.copy()
        return other


@dataclass(slots=True)
class Walk:
    """What a walk has seen.

    Attributes:
        size: Leaves walked.
        row_roots: Root that the rows give, by size; ends at the first missing row.
        tile_roots: Root that the tiles give, by size; ends at the first missing hash.
        rows: Hash of the row's payload where it differs from the tile, by index.
        tiles: Hash in the tile where it differs from the row, or where there is no row, by index.
        missing: Indices without a row.
        gaps: Long stretches (begin, end) with neither rows nor tiles; their indices do not stand in `missing`.
        tail: Behind this index there is no row.
        extent: Behind this index there is neither row nor hash.
    """

    size: int
    row_roots: dict[int, bytes] = field(default_factory=dict)
    tile_roots: dict[int, bytes] = field(default_factory=dict)
    rows: dict[int, bytes] = field(default_factory=dict)
    tiles: dict[int, bytes] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    tail: int = 0
    extent: int = 0

    def compare(self, index: int, row: bytes | None, held: bytes | None) -> None:
        """Note what stands at an index."""
        if row is None:
            self.missing.append(index)
        else:
            self.tail = index + 1
        if row is not None or held is not None:
            self.extent = index + 1
        if row != held:
            self.rows |= {} if row is None else {index: row}
            self.tiles |= {} if held is None else {index: held}


def walk_leaves(
    work: Work, *, size: int, sizes: set[int], report: Report, progress: Callable[[int, int], None] | None = None
) -> Walk:
    """Walk over the leaves.

    Args:
        work: A transaction with a stable view.
        size: How far: the greatest size that anything claims.
        sizes: Sizes whose roots are wanted.
        report: Takes findings about single rows.
        progress: Called with (leaves done, size).
    """
    walk = Walk(size)
    by_rows: Fold | None = Fold()
    by_tiles = by_rows  # one fold, as long as rows and tiles agree
    for begin, end, rows, tiles in _batches(work, size, report):
        if not rows and not tiles:
            walk.gaps.append((begin, end))
            by_rows = by_tiles = None
        for index, row, held in _pairs(begin, end, rows, tiles):
            found = None if row is None else _check_row(row, index, report)
            walk.compare(index, found, held)
            if by_rows is by_tiles and found != held:
                by_tiles = None if by_rows is None else by_rows.copy()
            by_tiles = _extend(by_rows, found) if by_rows is by_tiles else _extend(by_tiles, held)
            by_rows = by_tiles if by_rows is by_tiles else _extend(by_rows, found)
            if index + 1 in sizes:
                _note_root(walk.row_roots, by_rows, index + 1)
                _note_root(walk.tile_roots, by_tiles, index + 1)
        if progress is not None:
            progress(end, size)
    return walk


def check_pending(work: Work, report: Report) -> int:
    """Check the rows that wait for their leaf, and count them."""
    pending = work.execute(_ROWS.where(audit_event.c.leaf_index.is_(None)).order_by(audit_event.c.id))
    count = 0
    for row in pending:
        _check_row(row, None, report)
        count += 1
    return count


def check_strays(work: Work, size: int, report: Report) -> None:
    """Look for rows with an index that the tree does not have."""
    outside = (audit_event.c.leaf_index < 0) | (audit_event.c.leaf_index >= min(size, GREATEST))
    query = (
        select(type_coerce(audit_event.c.leaf_index, NullType()).label("leaf_index"))
        .where(outside)
        .order_by(audit_event.c.leaf_index)
        .limit(MAX_STRAYS)
    )
    for row in work.execute(query):
        index = row.leaf_index if isinstance(row.leaf_index, int) else None
        report.add(FindingKind.INSERTED, index, f"a row claims leaf {row.leaf_index!r}; the tree has {size} leaves")


def _extend(fold: Fold | None, value: bytes | None) -> Fold | None:
    if fold is None or value is None:
        return None
    fold.add(value)
    return fold


def _note_root(roots: dict[int, bytes], fold: Fold | None, size: int) -> None:
    if fold is not None:
        roots[size] = fold.root()


def _batches(work: Work, size: int, report: Report) -> Iterator[tuple[int, int, dict[int, Any], dict[int, bytes]]]:
    """Rows by index and tiles by number, one stretch after the other; one with neither reaches to the next that has some."""
    begin = 0
    while begin < size:
        end = min(begin + BATCH, size)
        within = (audit_event.c.leaf_index >= begin) & (audit_event.c.leaf_index < end)
        rows: dict[int, Any] = {}
        for row in work.execute(_ROWS.where(within).order_by(audit_event.c.id)):
            if not isinstance(row.leaf_index, int):
                report.add(FindingKind.INSERTED, None, f"the row {row.id!r} claims a leaf that is no whole number")
            elif rows.setdefault(row.leaf_index, row) is not row:
                report.add(FindingKind.INSERTED, row.leaf_index, f"a second row claims leaf {row.leaf_index}")
        first = begin // TILE_WIDTH
        query = raw_columns(tile).where(tile.c.key >= tile_key(0, first), tile.c.key < tile_key(0, first + BATCH_TILES))
        tiles = {row.key: as_bytes(row.data) for row in work.execute(query)}
        if not rows and not tiles:
            end = _next_begin(work, end, size)
        yield begin, end, rows, tiles
        begin = end


def _next_begin(work: Work, begin: int, size: int) -> int:
    """Where the next stretch with rows or tiles begins; `size` when there is none."""
    index, key = type_coerce(audit_event.c.leaf_index, NullType()), type_coerce(tile.c.key, NullType())
    rows = select(index).where(audit_event.c.leaf_index >= begin, audit_event.c.leaf_index < min(size, GREATEST))
    tiles = select(key).where(tile.c.key >= tile_key(0, begin // TILE_WIDTH), tile.c.key < tile_key(1, 0))
    row = work.execute(rows.order_by(audit_event.c.leaf_index).limit(1)).scalar_one_or_none()
    number = work.execute(tiles.order_by(tile.c.key).limit(1)).scalar_one_or_none()
    found = [row if isinstance(row, int) else size, number * TILE_WIDTH if isinstance(number, int) else size]
    return size if min(found) >= size else max(begin, min(found) // BATCH * BATCH)


def _pairs(begin: int, end: int, rows: dict[int, Any], tiles: dict[int, bytes]) -> Iterator[tuple[int, Any | None, bytes | None]]:
    """Index, row and hash in the tile of every leaf of a stretch; nothing of one without either."""
    for index in range(begin, end if rows or tiles else begin):
        offset = index % TILE_WIDTH * HASH_SIZE
        held = tiles.get(index // TILE_WIDTH, b"")[offset : offset + HASH_SIZE]
        yield index, rows.get(index), held if len(held) == HASH_SIZE else None


def _check_row(row: Any, index: int | None, report: Report) -> bytes:
    """Compare a row with its own payload; the payload is what the leaf commits to."""
    checked = check_row(row)
    if checked.wrong:
        place = f"the row of leaf {index}" if index is not None else f"the waiting row {row.id}"
        report.add(FindingKind.EDITED, index, f"{place} differs from its payload in: {', '.join(checked.wrong)}")
    return checked.leaf
