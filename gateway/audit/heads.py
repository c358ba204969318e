"""Everything that claims to be the head of the log at some size: rows, signed notes, and the anchor outside the database.

Invariants:
    - A root is trusted only when a trusted key signed it; an unsigned row is a claim to be checked, nothing more.
    - What the anchor holds, the database must hold as well; and the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gateway.audit.anchor import Anchor
from gateway.audit.findings import FindingKind, Report
from gateway.audit.note import Checkpoint, NoteVerifier, SignedNote
from gateway.audit.rows import as_bytes, raw_columns
from gateway.audit.tree import Head, continues, newest_head, newest_signed
from gateway.db.tables.audit import checkpoint
from gateway.db.work import Database, Work
from gateway.errors import VerificationFailed

__all__ = ["Claim", "Heads", "check_anchor", "check_stored", "collect_claims"]


@dataclass(frozen=True, slots=True)
class Claim:
    """That the tree has a root at a size.

    Attributes:
        size: Leaves.
        root: The claimed root.
        where: "database" or "anchor".
        is_signed: Whether a trusted key signed it.
    """

    size: int
    root: bytes
    where: str
    is_signed: bool


@dataclass(frozen=True, slots=True)
class Heads:
    """All claims about the log.

    Attributes:
        claims: By size.
        notes: What each row of the database holds, by size.
        signed: Notes that a trusted key signed, wherever they stand, with their sizes.
    """

    claims: Sequence[Claim]
    notes: Mapping[int, str | None]
    signed: Mapping[str, int]


def collect_claims(
    work: Work,
    *,
    keys: Sequence[NoteVerifier],
    published: Sequence[str],
    published_since: AbstractSet[str] | None,
    report: Report,
) -> Heads:
    """Read and check all notes; compare the database's with the anchor's.

    Args:
        work: A transaction.
        keys: Trusted keys of the log, retired ones included.
        published: Notes of the anchor, read before this transaction.
        published_since: The same, read after this transaction began; None when there is no anchor to compare with.
        report: Takes the findings.

    Returns:
        All claims, by size, and the stored notes.
    """
    rows = _readable(work, report)
    anchored = _anchored(published, keys, report)
    known = dict(zip(published, anchored, strict=True))
    claims = [claim for claim in anchored if claim is not None]
    by_note = {note: claim.size for note, claim in known.items() if claim is not None}
    for row in rows:
        if row.note is not None:
            signed = known.get(row.note) or _verified(row.note, keys, where="database", report=report)
            if signed is not None:
                claims.append(signed)
                by_note[row.note] = signed.size
                _compare(signed, row.size, row.root, report)
        claims.append(Claim(row.size, row.root, "database", is_signed=False))
    notes = {row.size: row.note for row in rows}
    if published_since is not None:
        _check_published(published_since, notes, report)
    return Heads(sorted(claims, key=lambda claim: claim.size), notes, by_note)


def check_stored(heads: Heads, extent: int, report: Report) -> None:
    """Every published checkpoint has its row; the newest row may lack its note for the moment before it is stored.

    Args:
        heads: What was collected.
        extent: Leaves that the database has at all; what lies behind them is truncated, which is told elsewhere.
        report: Takes the findings.
    """
    newest = max(heads.notes, default=0)
    for size in sorted({claim.size for claim in heads.claims if claim.where == "anchor" and 0 < claim.size <= extent}):
        if size not in heads.notes:
            report.add(FindingKind.MISSING_CHECKPOINT, size - 1, f"the published checkpoint of {size} leaves has no row")
        elif heads.notes[size] is None and size != newest:
            report.add(FindingKind.MISSING_CHECKPOINT, size - 1, f"the row of the checkpoint of {size} leaves has lost its note")


def check_anchor(database: Database, *, keys: Sequence[NoteVerifier], anchor: Anchor) -> None:
    """At start-up: the database must continue the newest published checkpoint.

    Finds a truncated log and an old backup that was restored, in milliseconds; `verify_log` looks at everything.

    Raises:
        VerificationFailed: it does not, or the anchor lacks what the database knows to be published.
    """
    with database.read() as work:
        signed = newest_signed(work)
    newest = anchor.newest()  # a sequencer may run: what is signed in the database was published before
    if newest is None:
        if signed is not None:
            raise VerificationFailed("the log was published before, but the anchor is empty or gone")
        return
    old = Checkpoint.verify(newest, keys)
    if signed is not None and old.size < signed.size:
        raise VerificationFailed(f"a log of {signed.size} leaves was published, but the anchor holds one of {old.size}")
    with database.read() as work:
        head = newest_head(work)
        if old.size > head.size:
            raise VerificationFailed(
                f"the anchor holds a log of {old.size} leaves, the database {head.size}: truncated, or an old backup was restored"
            )
        if not continues(work, old, head):
            raise VerificationFailed(f"the database does not continue the published log of {old.size} leaves")


def _readable(work: Work, report: Report) -> list[Head]:
    """The rows of checkpoints; what cannot be one is told and left out."""
    heads = []
    for row in work.execute(raw_columns(checkpoint).order_by(checkpoint.c.size)):
        if isinstance(row.size, int) and isinstance(row.note, str | None) and row.size >= 0:
            heads.append(Head(row.size, as_bytes(row.root), row.note))
        else:
            report.add(FindingKind.FORKED_CHECKPOINT, None, f"the row of the checkpoint of {row.size!r} leaves cannot be one")
    return heads


def _verified(note: str, keys: Sequence[NoteVerifier], *, where: str, report: Report) -> Claim | None:
    """The claim of a note, when a trusted key signed it; findings otherwise."""
    try:
        signed = Checkpoint.verify(note, keys)
    except VerificationFailed as error:
        kind, size = _what_is_wrong(note, keys)
        if kind is FindingKind.BAD_SIGNATURE and where == "anchor":
            kind = FindingKind.BAD_ANCHOR
        report.add(kind, None if size is None else max(size - 1, 0), f"a checkpoint of the {where}: {error.detail}")
        return None
    return Claim(signed.size, signed.root, where, is_signed=True)


def _what_is_wrong(note: str, keys: Sequence[NoteVerifier]) -> tuple[FindingKind, int | None]:
    """Tell a foreign key from a broken note, and say at which size if the note still says so."""
    try:
        parsed = SignedNote.parse(note)
        size = Checkpoint.parse(parsed.text).size
    except VerificationFailed:
        return FindingKind.BAD_SIGNATURE, None
    is_ours = any(key.owns(signature) for key in keys for signature in parsed.signatures)
    return (FindingKind.BAD_SIGNATURE if is_ours else FindingKind.SWAPPED_KEY), size


def _compare(signed: Claim, size: int, root: bytes, report: Report) -> None:
    if (signed.size, signed.root) != (size, root):
        report.add(
            FindingKind.FORKED_CHECKPOINT,
            max(min(signed.size, size) - 1, 0),
            f"the row of the checkpoint of {size} leaves holds a note about {signed.size} leaves or another root",
        )


def _anchored(published: Sequence[str], keys: Sequence[NoteVerifier], report: Report) -> list[Claim | None]:
    claims: list[Claim | None] = []
    newest = -1
    for note in published:
        claim = _verified(note, keys, where="anchor", report=report)
        claims.append(claim)
        if claim is not None:
            if claim.size <= newest:
                report.add(FindingKind.BAD_ANCHOR, max(claim.size - 1, 0), f"the anchor goes back to {claim.size} leaves")
            newest = max(newest, claim.size)
    return claims


def _check_published(published: AbstractSet[str], notes: Mapping[int, str | None], report: Report) -> None:
    """Every stored note was published first."""
    for size, note in notes.items():
        if note is not None and note not in published:
            report.add(FindingKind.BAD_ANCHOR, max(size - 1, 0), f"the anchor lacks the checkpoint of {size} leaves")
