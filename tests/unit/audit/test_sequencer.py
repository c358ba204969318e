"""The sequencer: gap-free indices, signing after commit, refusal to sign anything that does not continue the anchor."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, text
from structlog.testing import capture_logs

from gateway.audit import (
    Checkpoint,
    FileAnchor,
    NoteSigner,
    Sequencer,
    check_anchor,
    event_is_included,
    newest_signed,
    prove_consistency,
    prove_inclusion,
    signed_covering,
    verify_log,
)
from gateway.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from gateway.audit.tree import Tree, newest_head
from gateway.db.tables.audit import audit_event, checkpoint
from gateway.errors import NotFound, NotRecorded, VerificationFailed

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def drop_guards(world) -> None:
    with world.database.begin() as work:
        for name in work.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all():
            work.execute(text(f"DROP TRIGGER {name}"))
        work.commit()


def execute(world, statement: str) -> None:
    with world.database.begin() as work:
        work.execute(text(statement))
        work.commit()


def test_nothing_to_do(world):
    assert world.sequencer.run_once(NOW) == 0
    with world.database.read() as work:
        assert newest_signed(work) is None
        assert newest_head(work).size == 0
    assert world.anchor.newest() is None


def test_growing_by_nothing_changes_nothing(world):
    world.grow(3)
    with world.database.begin() as work:
        assert Tree(work).grow(3, []) == newest_head(work).root


def test_events_become_leaves_in_order(world):
    identifiers = world.grow(3, 1, 300)
    with world.database.read() as work:
        indices = dict(work.execute(select(audit_event.c.id, audit_event.c.leaf_index)).all())
        assert [indices[identifier] for identifier in identifiers] == list(range(304))
        head = newest_signed(work)
        assert Checkpoint.verify(head.note, world.keys) == Checkpoint("gate.example/log", 304, head.root)
        assert Tree(work).root(304) == head.root
    assert world.anchor.newest() == head.note
    assert len(list(world.anchor.notes())) == 3


def test_rows_that_another_sequencer_took_meanwhile(world):
    assert world.sequencer._sequence(NOW) == 0


def test_a_batch_at_a_time(world):
    world.append(10)
    small = Sequencer(world.database, signer=world.signer, anchor=world.anchor, batch=5)
    assert small.run_once(NOW) == 10
    with world.database.read() as work:
        assert work.execute(select(checkpoint.c.size)).scalars().all() == [5, 10]
        notes = dict(work.execute(select(checkpoint.c.size, checkpoint.c.note)).all())
    assert notes[5] is None
    assert notes[10] is not None
    assert verify_log(world.database, keys=world.keys, anchor=world.anchor).ok


def test_proofs_of_every_leaf(world):
    world.grow(5, 260, 3)
    with world.database.read() as work:
        head = newest_signed(work)
        rows = work.execute(select(audit_event).order_by(audit_event.c.leaf_index)).all()
        for row in rows[::17]:
            proof = prove_inclusion(work, row.leaf_index, head.size)
            leaf = leaf_hash(row.payload.encode())
            assert verify_inclusion(index=row.leaf_index, size=head.size, leaf=leaf, proof=proof, root=head.root)
        old = work.execute(select(checkpoint).where(checkpoint.c.size == 5)).one()
        proof = prove_consistency(work, 5, head.size)
        assert verify_consistency(old=5, new=head.size, old_root=old.root, new_root=head.root, proof=proof)
        assert signed_covering(work, 0).size == 5
        assert signed_covering(work, 5).size == 265
        assert signed_covering(work, head.size) is None


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 4), (0, 0)])
def test_no_inclusion_proof_outside_the_log(world, index: int, size: int):
    world.grow(3)
    with world.database.read() as work, pytest.raises(NotFound):
        prove_inclusion(work, index, size)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (3, 4), (3, 2)])
def test_no_consistency_proof_outside_the_log(world, old: int, new: int):
    world.grow(3)
    with world.database.read() as work, pytest.raises(NotFound):
        prove_consistency(work, old, new)


def test_included_only_once_signed(world, monkeypatch):
    (identifier,) = world.append(1)
    with world.database.read() as work:
        assert event_is_included(work, identifier) is None
        assert event_is_included(work, "unknown") is None

    def fail(_note: str) -> None:
        raise NotRecorded("the anchor is full")

    monkeypatch.setattr(world.anchor, "publish", fail)
    with pytest.raises(NotRecorded):
        world.sequencer.run_once(NOW)
    with world.database.read() as work:
        assert newest_head(work).size == 1
        assert event_is_included(work, identifier) is None
    monkeypatch.undo()
    assert world.sequencer.run_once(NOW) == 0
    with world.database.read() as work:
        assert event_is_included(work, identifier) == 0


def test_a_crash_between_publishing_and_storing_heals(world, monkeypatch):
    world.grow(2)
    world.append(1, start=2)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gateway.audit.sequencer.set_note", crash)
    with pytest.raises(KeyboardInterrupt):
        world.sequencer.run_once(NOW)
    monkeypatch.undo()
    assert verify_log(world.database, keys=world.keys, anchor=world.anchor).ok
    world.append(1, start=3)
    assert world.sequencer.run_once(NOW) == 1
    assert verify_log(world.database, keys=world.keys, anchor=world.anchor).ok
    assert len(list(world.anchor.notes())) == 3


def test_crashes_one_after_another_heal(world, monkeypatch):
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    for start in range(3):
        world.append(1, start=start)
        real = Sequencer._store
        # heals what the crash before left, then crashes itself between publishing and storing
        monkeypatch.setattr(
            Sequencer,
            "_store",
            lambda self, size, note, now=start, real=real: crash() if size == now + 1 else real(self, size, note),
        )
        with pytest.raises(KeyboardInterrupt):
            world.sequencer.run_once(NOW)
        monkeypatch.undo()
    assert world.sequencer.run_once(NOW) == 0
    assert verify_log(world.database, keys=world.keys, anchor=world.anchor).ok
    assert len(list(world.anchor.notes())) == 3


def test_the_same_crash_without_new_events_heals_too(world, monkeypatch):
    world.append(2)
    monkeypatch.setattr("gateway.audit.sequencer.set_note", lambda *_: None)
    world.sequencer.run_once(NOW)
    monkeypatch.undo()
    assert world.sequencer.run_once(NOW) == 0
    with world.database.read() as work:
        assert newest_signed(work).note == world.anchor.newest()
    assert len(list(world.anchor.notes())) == 1


def test_waiting_long_is_said(world):
    world.append(1)
    with capture_logs() as lines:
        world.sequencer.run_once(NOW + timedelta(minutes=5))
    assert [(line["event"], line["seconds"]) for line in lines] == [("events waited long for their leaf", 300.0)]


def test_tampered_tiles_stop_the_sequencer(world):
    world.grow(3)
    drop_guards(world)
    execute(world, "UPDATE tile SET data = zeroblob(96)")
    world.append(1, start=3)
    with pytest.raises(VerificationFailed, match="do not give the root"):
        world.sequencer.run_once(NOW)


def test_a_truncated_database_is_not_signed_over(world):
    world.grow(3, 3)
    drop_guards(world)
    # an attacker puts the database back to three leaves and lets other history grow
    execute(world, "DELETE FROM checkpoint WHERE size > 3")
    execute(world, "DELETE FROM audit_event WHERE leaf_index >= 3")
    execute(world, "UPDATE tile SET data = substr(data, 1, 96)")
    with pytest.raises(VerificationFailed, match="truncated, or an old backup"):
        check_anchor(world.database, keys=world.keys, anchor=world.anchor)
    world.append(1, start=90)
    with pytest.raises(VerificationFailed, match="does not continue the published one"):
        world.sequencer.run_once(NOW)
    world.append(5, start=91)
    with pytest.raises(VerificationFailed, match="does not continue the published one"):
        world.sequencer.run_once(NOW)
    with pytest.raises(VerificationFailed, match="does not continue the published log"):
        check_anchor(world.database, keys=world.keys, anchor=world.anchor)
    findings = verify_log(world.database, keys=world.keys, anchor=world.anchor)
    assert {"forked-checkpoint"} <= {finding.kind.value for finding in findings.findings}


def test_start_up_check(world, tmp_path):
    check_anchor(world.database, keys=world.keys, anchor=world.anchor)
    world.grow(3)
    check_anchor(world.database, keys=world.keys, anchor=world.anchor)
    with pytest.raises(VerificationFailed, match="empty or gone"):
        check_anchor(world.database, keys=world.keys, anchor=FileAnchor(tmp_path / "elsewhere.log"))
    with pytest.raises(VerificationFailed, match="no trusted key"):
        check_anchor(world.database, keys=[], anchor=world.anchor)
    world.append(2, start=3)
    check_anchor(world.database, keys=world.keys, anchor=world.anchor)


def test_a_published_empty_log_proves_nothing_and_hinders_nothing(world):
    world.anchor.publish(world.signer.sign(Checkpoint("gate.example/log", 0, newest_root(world)).to_text()))
    check_anchor(world.database, keys=world.keys, anchor=world.anchor)
    world.grow(1)
    check_anchor(world.database, keys=world.keys, anchor=world.anchor)
    assert verify_log(world.database, keys=world.keys, anchor=world.anchor).ok


def newest_root(world) -> bytes:
    with world.database.read() as work:
        return newest_head(work).root


def test_key_rotation(world):
    world.grow(2)
    fresh = NoteSigner("gate.example/log", Ed25519PrivateKey.generate())
    world.append(1, start=2)
    with pytest.raises(VerificationFailed, match="no trusted key"):
        Sequencer(world.database, signer=fresh, anchor=world.anchor).run_once(NOW)
    rotated = Sequencer(world.database, signer=fresh, anchor=world.anchor, trusted=(world.signer.verifier,))
    assert rotated.run_once(NOW) == 0
    keys = [fresh.verifier, world.signer.verifier]
    assert verify_log(world.database, keys=keys, anchor=world.anchor).ok
    assert not verify_log(world.database, keys=[fresh.verifier], anchor=world.anchor).ok
