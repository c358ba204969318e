"""Verify the whole log and locate what is wrong with it.

Responsible for the conclusion: rows, tiles, heads and the anchor are compared, and where they differ the signed roots
decide who is right.

Invariants:
    - Nothing is repaired and nothing is written.
    - Whatever was changed in rows, tiles, heads or anchor gives at least one finding at its place; limits stand in
      docs/explanation/log.md.
    - The view is one snapshot, so a sequencer may go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import text

from gateway.audit.anchor import Anchor
from gateway.audit.cosigned import newest_cosigned
from gateway.audit.findings import FindingKind, Findings, Report
from gateway.audit.heads import Claim, check_stored, collect_claims
from gateway.audit.merkle import EMPTY_ROOT, HASH_SIZE
from gateway.audit.note import NoteVerifier
from gateway.audit.rows import as_bytes, raw_columns
from gateway.audit.tiles import TILE_BYTES, TILE_WIDTH, fold, tile_address
from gateway.audit.walk import Walk, check_pending, check_strays, walk_leaves
from gateway.db.tables.audit import tile
from gateway.db.work import Database, Work

__all__ = ["verify_log"]

TILES_AT_ONCE = 256
MAX_LEVELS = 7


def verify_log(
    database: Database,
    *,
    keys: Sequence[NoteVerifier],
    anchor: Anchor | None,
    witnesses: Sequence[NoteVerifier] = (),
    demanded: Sequence[NoteVerifier] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """Check every row, tile, checkpoint and published checkpoint.

    Args:
        database: Where the log is.
        keys: Trusted keys of the log, retired ones included; never taken from the database.
        anchor: Where checkpoints were published; None leaves out what only it can find (an old state restored).
        witnesses: Keys of witnesses; what they cosigned is told.
        demanded: Keys of witnesses whose cosignature the newest checkpoint must carry.
        progress: Called now and then with (leaves done, leaves in all).

    Returns:
        The findings; `ok` when there are none.

    Raises:
        NotRecorded: the database does not answer.
    """
    report = Report()
    before = () if anchor is None else tuple(anchor.notes())
    with database.read() as work:
        if not work.is_sqlite:
            work.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        after = None if anchor is None else frozenset(anchor.notes())  # read on both sides: a sequencer may publish meanwhile
        heads = collect_claims(work, keys=keys, published=before, published_since=after, report=report)
        head = max(heads.notes, default=0)
        trusted = {claim.size: claim.root for claim in heads.claims if claim.is_signed}
        size = max(head, *trusted, 0)
        sizes = {claim.size for claim in heads.claims}
        walk = walk_leaves(work, size=size, sizes=sizes, report=report, progress=progress)
        _judge_leaves(walk, trusted, report)
        _judge_claims(walk, heads.claims, report)
        check_stored(heads, walk.extent, report)
        check_strays(work, size, report)
        _check_tiles(work, walk.extent, report)
        pending = check_pending(work, report)
    signed = max(trusted, default=0)
    told = newest_cosigned(heads.signed, witnesses=witnesses, demanded=demanded, signed_size=signed, report=report)
    return Findings(
        size, report.sorted(), pending=pending, signed_size=signed, left_out=report.left_out, witnesses=told
    )  # fmt: skip


def _judge_leaves(walk: Walk, trusted: dict[int, bytes], report: Report) -> None:
    """Say what happened to each leaf where row and tile differ.

    A row whose hash the tiles hold elsewhere was moved; one whose hash they hold nowhere was edited or inserted; a hash
    that no row gives was edited away or deleted.
    """
    home = {value: index for index, value in walk.tiles.items()}
    given = set(walk.rows.values())
    moved = [index for index, value in sorted(walk.rows.items()) if value in home]
    lost = 0
    for index in sorted({*walk.rows, *walk.tiles, *walk.missing}):
        row, held = walk.rows.get(index), walk.tiles.get(index)
        is_lost = held is None or held not in given
        lost += is_lost
        if row is None or row in home:
            if is_lost and index < walk.tail:
                report.add(FindingKind.DELETED, index, f"the row of leaf {index} is missing")
        elif is_lost:
            _judge_single(walk, index, trusted, report)
        else:
            report.add(FindingKind.INSERTED, index, f"the row at {index} was never a leaf; the one that was stands elsewhere")
    _judge_missing(walk, trusted, report)
    lost += any(begin < walk.tail for begin, _ in walk.gaps)
    if moved and not lost and len(moved) == len(walk.rows):
        for index in moved:
            report.add(FindingKind.REORDERED, index, f"the row at {index} is that of leaf {home[walk.rows[index]]}")
    elif moved:
        report.add(
            FindingKind.REORDERED, moved[0], f"{len(moved)} rows from {moved[0]} to {moved[-1]} stand at other leaves' places"
        )


def _judge_missing(walk: Walk, trusted: dict[int, bytes], report: Report) -> None:
    """Long stretches without rows and tiles, and the end of the log."""
    for begin, end in walk.gaps:
        if begin < walk.tail:
            report.add(FindingKind.DELETED, begin, f"the rows of leaves {begin} to {end - 1} are missing, and so are their tiles")
    if walk.tail < walk.size:
        who = "" if max(trusted, default=0) > walk.tail else "; only a checkpoint without a trusted signature claims them"
        report.add(FindingKind.TRUNCATED, walk.tail, f"the rows of leaves {walk.tail} to {walk.size - 1} are missing{who}")


def _judge_single(walk: Walk, index: int, trusted: dict[int, bytes], report: Report) -> None:
    """Row and tile differ at one place: a signed root behind it says which of them is right."""
    if any(size > index and walk.row_roots.get(size) == root for size, root in trusted.items()):
        report.add(FindingKind.TAMPERED_TILE, index, f"the tile does not hold the hash of leaf {index}; its row is right")
    else:
        report.add(FindingKind.EDITED, index, f"the payload of leaf {index} is not what the tree holds")


def _judge_claims(walk: Walk, claims: Sequence[Claim], report: Report) -> None:
    """Compare every claimed root with what the leaves give."""
    good, told = 0, set()
    for claim in claims:
        if claim.size > walk.extent:
            continue  # told as truncated
        roots = (walk.row_roots.get(claim.size), walk.tile_roots.get(claim.size)) if claim.size else (EMPTY_ROOT,)
        if claim.root in roots:
            good = max(good, claim.size)
        elif (claim.size, claim.root) not in told:
            told.add((claim.size, claim.root))
            detail = f"the checkpoint of {claim.size} leaves ({claim.where}) has another root: leaves {good} to {claim.size - 1}"
            report.add(FindingKind.FORKED_CHECKPOINT, good, detail)


def _check_tiles(work: Work, extent: int, report: Report) -> None:
    """Compare every tile above the leaves with the tiles below it, and look for tiles that should not be, or are not there."""
    roots: dict[tuple[int, int], bytes] = {}
    due = dict.fromkeys(range(MAX_LEVELS), 0)
    for key, data in _tiles(work):
        if not isinstance(key, int):
            report.add(FindingKind.TAMPERED_TILE, None, f"a tile has the key {key!r}")
            continue
        level, index = tile_address(key)
        expected = max(0, min(_hashes(level, extent) - index * TILE_WIDTH, TILE_WIDTH)) * HASH_SIZE
        if expected == 0 or len(data) != expected:
            detail = f"tile {index} of level {level} has {len(data)} bytes instead of {expected}"
            report.add(FindingKind.TAMPERED_TILE, _first_leaf(level, index), detail)
        if len(data) == TILE_BYTES:
            roots[level, index] = fold(data)
        if level > 0:
            _check_parents(data, level, index, roots, report)
        if expected:
            _tell_missing(level, due[level], index, report)
            due[level] = index + 1
    for level, begin in due.items():
        _tell_missing(level, begin, -(-_hashes(level, extent) // TILE_WIDTH), report)


def _hashes(level: int, extent: int) -> int:
    """How many hashes stand in all tiles of a level; none at a level that no log reaches."""
    return extent // TILE_WIDTH**level if 0 <= level < MAX_LEVELS else 0


def _tell_missing(level: int, begin: int, end: int, report: Report) -> None:
    if begin < end:
        which = f"tile {begin}" if end == begin + 1 else f"each tile from {begin} to {end - 1}"
        report.add(FindingKind.TAMPERED_TILE, _first_leaf(level, begin), f"{which} of level {level} is missing")


def _tiles(work: Work) -> Iterator[tuple[Any, bytes]]:
    """All tiles by key, a few at a time."""
    query = raw_columns(tile).order_by(tile.c.key).limit(TILES_AT_ONCE)
    rows = work.execute(query).all()
    while rows:
        yield from ((row.key, as_bytes(row.data)) for row in rows)
        rows = work.execute(query.where(tile.c.key > rows[-1].key)).all()


def _first_leaf(level: int, index: int) -> int | None:
    """The first leaf below a tile; None for a level that no log reaches."""
    return index * TILE_WIDTH ** (level + 1) if 0 <= level < MAX_LEVELS else None


def _check_parents(data: bytes, level: int, index: int, roots: dict[tuple[int, int], bytes], report: Report) -> None:
    """Every hash of a tile is the root of a full tile one level below."""
    for place in range(len(data) // HASH_SIZE):
        child = index * TILE_WIDTH + place
        below = roots.pop((level - 1, child), None)
        if below is not None and below != data[place * HASH_SIZE : (place + 1) * HASH_SIZE]:
            detail = f"hash {place} of tile {index} of level {level} is not the root of the tile below it"
            report.add(FindingKind.TAMPERED_TILE, child * TILE_WIDTH**level, detail)
