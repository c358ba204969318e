"""The one writer of the tree: gives event rows their leaf indices, grows the tiles, signs and publishes checkpoints.

Invariants:
    - Indices have no gaps and are given once; a leader lock keeps a second sequencer out.
    - The leaf hash is computed from the payload. A row that is not what its payload says becomes a leaf all the same, because a
      row that waited for ever would hold up nobody but us; it is said aloud, in an event of its own.
    - Rows are found by `leaf_index IS NULL`, never by an identifier watermark: transactions commit in any order.
    - Indices, tiles and the new head are one transaction; the signature follows after its commit.
    - Nothing is signed that is smaller than, or inconsistent with, the newest checkpoint outside the database (the anchor); and
      nothing while the anchor lacks what the database knows to be published.
    - A checkpoint counts as signed only once the anchor has it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, text

from gateway.audit.anchor import Anchor, Overtaken
from gateway.audit.event import moment_of
from gateway.audit.log import Log
from gateway.audit.note import Checkpoint, NoteSigner, NoteVerifier
from gateway.audit.rows import check_row, raw_columns
from gateway.audit.tree import (
    Head,
    Tree,
    add_head,
    continues,
    has_note,
    newest_head,
    newest_signed,
    prove_consistency,
    set_indices,
    set_note,
)
from gateway.audit.witness import Witness
from gateway.db.tables.audit import audit_event
from gateway.db.work import Database, Work
from gateway.errors import VerificationFailed
from gateway.telemetry import logger

__all__ = ["Sequencer"]

LEADER_LOCK = 0x7467_6C6F_67  # "tglog"
BATCH = 4096
SLOW = timedelta(seconds=60)
MAX_DISPUTED = 50
_WAITING = raw_columns(audit_event).where(audit_event.c.leaf_index.is_(None)).order_by(audit_event.c.id)


class Sequencer:
    """Makes leaves of event rows."""

    def __init__(
        self,
        database: Database,
        *,
        signer: NoteSigner,
        anchor: Anchor,
        trusted: tuple[NoteVerifier, ...] = (),
        witness: Witness | None = None,
        batch: int = BATCH,
    ) -> None:
        """Keep what is needed.

        Args:
            database: Where events and tiles are.
            signer: The log's own key; its name is the origin.
            anchor: Where checkpoints are published.
            trusted: Earlier keys of the log, so that the newest published checkpoint is still believed after a rotation.
            witness: Cosigns checkpoints before they are published.
            batch: Rows taken in one transaction.
        """
        self._database, self._signer, self._anchor, self._witness = database, signer, anchor, witness
        self._keys = (signer.verifier, *trusted)
        self._batch = batch

    def run_once(self, now: datetime) -> int:
        """Make leaves of all rows that wait, then sign and publish the new head.

        Args:
            now: The present, to notice events that waited too long.

        Returns:
            How many leaves were made.

        Raises:
            NotRecorded: the database or the anchor did not take it; the next call goes on.
            VerificationFailed: tiles, database and anchor do not agree; nothing is signed until a person has looked.
        """
        total = 0
        while self._has_pending(now):
            count = self._sequence(now)
            total += count
            if count < self._batch:
                break
        self._sign_newest()
        return total

    def _has_pending(self, now: datetime) -> bool:
        # Looking first keeps an idle sequencer from taking the one write lock of SQLite.
        with self._database.read() as work:
            oldest = work.execute(_WAITING.limit(1)).first()
        if oldest is None:
            return False
        began = moment_of(oldest.id)
        if began is not None and now - began > SLOW:
            logger("audit").warning("events waited long for their leaf", seconds=(now - began).total_seconds())
        return True

    def _sequence(self, now: datetime) -> int:
        disputed: list[dict[str, Any]] = []
        with self._database.begin() as work:
            if not _leads(work):
                return 0
            head = newest_head(work)
            rows = work.execute(_WAITING.limit(self._batch)).all()
            if rows:
                checked = [check_row(row) for row in rows]
                tree = Tree(work)
                if tree.root(head.size) != head.root:
                    raise VerificationFailed(f"the tiles of the log do not give the root of its {head.size} leaves")
                _refuse_taken(work, head.size, head.size + len(rows))
                root = tree.grow(head.size, [row.leaf for row in checked])
                set_indices(work, head.size, [row.id for row in rows])
                add_head(work, Head(size=head.size + len(rows), root=root, note=None))
                disputed = [
                    {"leaf": index, "columns": list(row.wrong)} for index, row in enumerate(checked, head.size) if row.wrong
                ]
                if disputed:
                    data = {"count": len(disputed), "rows": disputed[:MAX_DISPUTED]}
                    Log(work).append("log.row-disputed", at=now, data=data)
                work.commit()
        for row in disputed[:MAX_DISPUTED]:
            logger("audit").error("a row is not what its own payload says", leaf=row["leaf"], columns=row["columns"])
        return len(rows)

    def _sign_newest(self) -> None:
        with self._anchor.exclusive():
            with self._database.read() as work:
                head = newest_head(work)
                if head.note is not None or head.size == 0:
                    return
                signed = newest_signed(work)
                published = self._anchor.newest()  # after the database: what is signed there was published before
                if published is None and signed is not None:
                    raise VerificationFailed("the log was published before, but the anchor is empty or gone")
                old = None if published is None else self._checked(work, head, signed, published)
                if old is not None and old.size > head.size:
                    return  # overtaken, and nothing is wrong with that
                is_stored = old is None or has_note(work, old.size)
                note = published if published and old and old.size == head.size else self._signed(work, head)
            if published is not None and old is not None and not is_stored:
                self._store(old.size, published)  # a crash came between publishing and storing
            try:
                standing = self._anchor.publish(note)
            except Overtaken as overtaken:
                self._check_overtaken(overtaken)
                return
            Checkpoint.verify(standing, self._keys)
            self._store(head.size, standing)

    def _store(self, size: int, note: str) -> None:
        with self._database.begin() as work:
            set_note(work, size, note)
            work.commit()

    def _checked(self, work: Work, head: Head, signed: Head | None, published: str) -> Checkpoint:
        """The newest published checkpoint, once the database is known to continue it; larger than `head` if we were overtaken."""
        old = Checkpoint.verify(published, self._keys)
        if signed is not None and old.size < signed.size:
            raise VerificationFailed(f"a log of {signed.size} leaves was published, but the anchor holds one of {old.size}")
        if old.size > head.size:
            self._check_overtaken(VerificationFailed(_other(head, old)))
        elif not continues(work, old, head):
            raise VerificationFailed(_other(head, old))
        return old

    def _check_overtaken(self, otherwise: VerificationFailed) -> None:
        """The anchor holds a larger tree than we saw: fine when the database, read anew, continues it.

        Raises:
            VerificationFailed: it does not: the log was truncated or forked.
        """
        published = self._anchor.newest()
        with self._database.read() as work:
            if published is None or not continues(work, Checkpoint.verify(published, self._keys), newest_head(work)):
                raise otherwise

    def _signed(self, work: Work, head: Head) -> str:
        note = self._signer.sign(Checkpoint(self._signer.verifier.name, head.size, head.root).to_text())
        if self._witness is None:
            return note
        return self._witness.cosign(note, size=head.size, prove=lambda old: prove_consistency(work, old, head.size))


def _other(head: Head, old: Checkpoint) -> str:
    return f"the log ({head.size} leaves) does not continue the published one ({old.size} leaves)"


def _refuse_taken(work: Work, begin: int, end: int) -> None:
    """Refuse to go on when rows claim places that this sequencer is about to give.

    Raises:
        VerificationFailed: one does; the guards of the database let nobody but the owner of the tables write it.
    """
    taken = select(audit_event.c.leaf_index).where(audit_event.c.leaf_index >= begin, audit_event.c.leaf_index < end)
    found = work.execute(taken.order_by(audit_event.c.leaf_index).limit(1)).scalar_one_or_none()
    if found is not None:
        raise VerificationFailed(f"a row claims leaf {found}, which was given to none: it was written past the gateway")


def _leads(work: Work) -> bool:
    """Whether this transaction is the one sequencer; on SQLite the write lock already says so."""
    if work.is_sqlite:
        return True
    return bool(work.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LEADER_LOCK}).scalar_one())
