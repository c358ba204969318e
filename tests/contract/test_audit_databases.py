"""The log keeps the same promises on SQLite and on PostgreSQL: order, guards, verification under a running sequencer."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from gateway.audit import FileAnchor, Log, NoteSigner, Sequencer, install_guards, tlog_proof, verify_log, verify_tlog_proof
from gateway.db.metadata import metadata
from gateway.db.tables.audit import audit_event, checkpoint, pseudonym_key, tile
from gateway.db.work import Database

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
POSTGRES = os.environ.get("TICKETGATE_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
SIGNER = NoteSigner("gate.example/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    name = f"tg_audit_{secrets.token_hex(6)}"
    is_sqlite = request.param == "sqlite"
    if not is_sqlite:
        with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
    opened = Database(f"sqlite:///{tmp_path / 'log.db'}" if is_sqlite else f"{POSTGRES}/{name}")
    with opened.engine.begin() as connection:
        metadata.create_all(connection, tables=[audit_event, tile, checkpoint, pseudonym_key])
        install_guards(connection)
    yield opened
    opened.dispose()
    if not is_sqlite:
        with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sequencer(database: Database, tmp_path: Path) -> Sequencer:
    return Sequencer(database, signer=SIGNER, anchor=FileAnchor(tmp_path / "checkpoints.log"))


def append(database: Database, count: int, *, start: int = 0) -> list[str]:
    with database.begin() as work:
        given = [
            Log(work).append(
                "release.requested", at=NOW + timedelta(seconds=number), actor="ana", release=f"r{number}", data={"x": number / 7}
            )
            for number in range(start, start + count)
        ]
        work.commit()
    return given


def test_a_log_from_event_to_proof(database: Database, sequencer: Sequencer, tmp_path: Path):
    identifiers = append(database, 300)
    assert sequencer.run_once(NOW) == 300
    identifiers += append(database, 5, start=300)
    assert sequencer.run_once(NOW) == 5
    assert verify_log(database, keys=[SIGNER.verifier], anchor=FileAnchor(tmp_path / "checkpoints.log")).to_json() == {
        "ok": True, "leaves": 305, "signed_size": 305, "pending": 0, "findings": [], "left_out": 0,
    }  # fmt: skip
    with database.read() as work:
        log = Log(work)
        assert [entry.id for entry in log.entries(limit=1000)] == identifiers
        assert [entry.index for entry in log.search(actor="ana", since=NOW + timedelta(seconds=303))] == [303, 304]
        assert log.of_release("r7")[0].data == {"x": 1}
        proof = tlog_proof(work, identifiers[7])
    assert proof is not None
    assert verify_tlog_proof(proof, keys=[SIGNER.verifier]).document["subjects"]["release"] == "r7"


def test_rows_that_commit_late_are_not_forgotten(database: Database, sequencer: Sequencer):
    """Commit order is not identifier order: an older row that commits after a younger one still becomes a leaf."""
    if database.is_sqlite:
        append(database, 1, start=10)
        sequencer.run_once(NOW)
        append(database, 1, start=5)
    else:
        with database.begin() as late:
            Log(late).append("release.requested", at=NOW, release="late")
            append(database, 1, start=10)
            assert sequencer.run_once(NOW) == 1
            late.commit()
    assert sequencer.run_once(NOW) == 1
    with database.read() as work:
        assert [entry.index for entry in Log(work).entries()] == [0, 1]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET payload = 'x'",
        "UPDATE audit_event SET release = NULL WHERE leaf_index = 0",
        "UPDATE audit_event SET leaf_index = 7 WHERE leaf_index = 0",
        "UPDATE audit_event SET leaf_index = NULL WHERE leaf_index = 0",
        "UPDATE audit_event SET leaf_index = 9, kind = 'release.read' WHERE leaf_index IS NULL",
        "DELETE FROM audit_event WHERE leaf_index = 0",
        "DELETE FROM audit_event WHERE leaf_index IS NULL",
        "UPDATE checkpoint SET root = leaf_hash FROM audit_event WHERE leaf_index = 0",
        "UPDATE checkpoint SET note = NULL",
        "UPDATE checkpoint SET note = 'other'",
        "UPDATE checkpoint SET size = 9",
        "DELETE FROM checkpoint",
        "DELETE FROM tile",
        "UPDATE tile SET key = 9",
        "UPDATE tile SET data = leaf_hash FROM audit_event WHERE leaf_index = 1",
        "TRUNCATE audit_event",
        "TRUNCATE tile",
        "TRUNCATE checkpoint",
    ],
)
def test_the_database_itself_refuses(database: Database, sequencer: Sequencer, statement: str):
    append(database, 2)
    sequencer.run_once(NOW)
    append(database, 1, start=2)
    if database.is_sqlite and statement.startswith("TRUNCATE"):
        statement = statement.replace("TRUNCATE", "DELETE FROM")  # SQLite has no TRUNCATE
    with database.read() as work:
        before = [work.execute(select(table)).all() for table in (audit_event, tile, checkpoint)]
    with pytest.raises(IntegrityError, match="append-only"), database.begin() as work:
        work.execute(text(statement))
    with database.read() as work:
        assert [work.execute(select(table)).all() for table in (audit_event, tile, checkpoint)] == before


def test_the_guards_let_the_log_go_on(database: Database, sequencer: Sequencer):
    for start in range(0, 30, 10):
        append(database, 10, start=start)
        assert sequencer.run_once(NOW) == 10


def test_one_place_is_given_once(database: Database, sequencer: Sequencer):
    append(database, 2)
    sequencer.run_once(NOW)
    append(database, 1, start=2)
    with pytest.raises(IntegrityError), database.begin() as work:
        work.execute(text("UPDATE audit_event SET leaf_index = 1 WHERE leaf_index IS NULL"))


def test_verification_while_the_log_grows(
    database: Database, sequencer: Sequencer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The view is one snapshot; what is appended, sequenced and published meanwhile is no finding."""
    monkeypatch.setattr("gateway.audit.walk.BATCH_TILES", 1)
    monkeypatch.setattr("gateway.audit.walk.BATCH", 256)
    append(database, 500)
    sequencer.run_once(NOW)
    grown = []

    def grow(done: int, _size: int) -> None:
        append(database, 3, start=10_000 + done)
        grown.append(sequencer.run_once(NOW))

    found = verify_log(database, keys=[SIGNER.verifier], anchor=FileAnchor(tmp_path / "checkpoints.log"), progress=grow)
    assert found.findings == ()
    assert found.leaves == 500
    assert grown == [3, 3]
