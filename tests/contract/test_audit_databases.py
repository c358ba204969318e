"""The log keeps the same promises on SQLite and on PostgreSQL: order, guards, verification under a running sequencer."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from gateway.audit import (
    Checkpoint,
    FileAnchor,
    Log,
    NoteSigner,
    ObjectAnchor,
    Sequencer,
    check_anchor,
    install_guards,
    newest_signed,
    tlog_proof,
    verify_log,
    verify_tlog_proof,
)
from gateway.audit.export import FORMATS, export_lines
from gateway.audit.guards import drop_insert_guard
from gateway.audit.merkle import leaf_hash
from gateway.audit.note import Signature
from gateway.db import upgrade_schema
from gateway.db.grants import grant_downloads
from gateway.db.metadata import metadata
from gateway.db.tables.audit import audit_event, checkpoint, pseudonym_key, tile
from gateway.db.work import Database
from gateway.errors import NotRecorded, VerificationFailed

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
        "witnesses": [],
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


def row_of(database: Database, **changes: Any) -> dict[str, Any]:
    """A row of an event as the gateway writes it, not yet inserted; with other columns."""
    with database.begin() as work:
        event = Log(work).append("release.requested", at=NOW, release="forged", data={"x": 1})
        row = dict(work.execute(select(audit_event).where(audit_event.c.id == event)).mappings().one())
    return row | changes


def insert_row(database: Database, **changes: Any) -> None:
    """Insert past the gateway."""
    row = row_of(database, **changes)
    with database.begin() as work:
        work.execute(insert(audit_event).values(row))
        work.commit()


NEVER_WRITTEN: list[dict[str, Any]] = [
    {"leaf_index": 0},
    {"leaf_index": 2**62},
    {"leaf_hash": b""},
    {"leaf_hash": bytes(31)},
    {"leaf_hash": bytes(64)},
]
ON_SQLITE: list[dict[str, Any]] = [
    {"at": text("'2026-03-01T12:00:00.000000'")},
    {"at": text("'2026-03-01 12:00:00.000000+05:00'")},
    {"id": text("x'00'")},
    {"payload": text("x'00'")},
]
ON_POSTGRES: list[dict[str, Any]] = [
    {"at": datetime(1969, 12, 31, tzinfo=UTC)},
    {"at": text("CAST('infinity' AS timestamptz)")},
    {"at": text("CAST('20000-01-01' AS timestamptz)")},
]


def test_a_row_that_the_gateway_never_writes_is_refused(database: Database):
    for changes in [*NEVER_WRITTEN, *(ON_SQLITE if database.is_sqlite else ON_POSTGRES)]:
        with pytest.raises(IntegrityError, match="audit_event takes rows"):
            insert_row(database, **changes)
    with database.read() as work:
        assert work.execute(select(audit_event)).all() == []


FORGERIES: list[tuple[dict[str, Any], list[str]]] = [
    ({"leaf_hash": bytes(32)}, ["leaf_hash"]),
    ({"payload": "{}"}, ["leaf_hash", "payload"]),
    ({"payload": '{"x":\n1}'}, ["leaf_hash", "payload"]),
    ({"payload": "[" * 100_000}, ["leaf_hash", "payload"]),
    ({"payload": ""}, ["leaf_hash", "payload"]),
    ({"kind": "no.such-kind"}, ["kind"]),
    ({"release": "another"}, ["release"]),
    ({"id": "not an identifier of ours"}, ["id"]),
]


def test_forged_rows_hold_nothing_up_and_are_said(database: Database, sequencer: Sequencer, tmp_path: Path):
    """Whoever may insert rows can forge them; the log goes on, says so, and can still be read and exported."""
    append(database, 2)
    for changes, _ in FORGERIES:
        insert_row(database, **changes)
    append(database, 2, start=2)
    count = 4 + len(FORGERIES)
    with capture_logs() as lines:
        assert sequencer.run_once(NOW) == count
    assert len([line for line in lines if line["event"] == "a row is not what its own payload says"]) == len(FORGERIES)
    assert sequencer.run_once(NOW) == 1  # what was said is a leaf too
    with database.read() as work:
        places = dict(work.execute(select(audit_event.c.id, audit_event.c.leaf_index)).all())
        (said,) = Log(work).search(kind="log.row-disputed")
        pages = [Log(work).entries(limit=100), Log(work).search(limit=100)]
        assert [len(page) for page in pages] == [count + 1, count + 1]
    told = {row["leaf"]: row["columns"] for row in said.data["rows"]}
    assert said.data["count"] == len(FORGERIES)
    assert sorted(told.values()) == sorted(columns for _, columns in FORGERIES)
    assert places["not an identifier of ours"] in told
    found = verify_log(database, keys=[SIGNER.verifier], anchor=FileAnchor(tmp_path / "checkpoints.log"))
    assert {(item.kind.value, item.index) for item in found.findings} == {("edited", index) for index in told}
    for name in FORMATS:
        lines_out = list(export_lines(pages[0], name))
        assert [line.count("\n") for line in lines_out] == [1] * (count + 1)
    assert [json.loads(line)["index"] for line in export_lines(pages[0], "jsonl")] == list(range(count + 1))


def test_a_payload_in_another_spelling_is_disputed(database: Database, sequencer: Sequencer):
    """It says the same and its hash is right; but whoever reads lines would find another event behind its line break."""
    payload = row_of(database)["payload"].replace(",", ",\n")
    insert_row(database, payload=payload, leaf_hash=leaf_hash(payload.encode()), id=json.loads(payload)["id"])
    sequencer.run_once(NOW)
    with database.read() as work:
        (said,) = Log(work).search(kind="log.row-disputed")
    assert said.data["rows"] == [{"leaf": 0, "columns": ["payload"]}]


def test_the_owner_can_set_a_derived_column_right(database: Database, sequencer: Sequencer, tmp_path: Path):
    """The operator's way out of docs/how-to/verify-the-log.md: the payload stays, what is derived from it is set right."""
    insert_row(database, leaf_hash=bytes(32))
    sequencer.run_once(NOW)
    anchor = FileAnchor(tmp_path / "checkpoints.log")
    assert not verify_log(database, keys=[SIGNER.verifier], anchor=anchor).ok
    with database.engine.begin() as connection:
        if database.is_sqlite:
            connection.connection.create_function("leaf_of", 1, lambda payload: leaf_hash(payload.encode()))
            guard = "SELECT sql FROM sqlite_master WHERE name = 'audit_event_guard_update'"
            statement = connection.exec_driver_sql(guard).scalar_one()
            connection.exec_driver_sql("DROP TRIGGER audit_event_guard_update")
            connection.exec_driver_sql("UPDATE audit_event SET leaf_hash = leaf_of(payload) WHERE leaf_index = 0")
            connection.exec_driver_sql(statement)
        else:
            connection.exec_driver_sql("ALTER TABLE audit_event DISABLE TRIGGER audit_event_guard_update")
            connection.exec_driver_sql(
                r"UPDATE audit_event SET leaf_hash = sha256('\x00'::bytea || convert_to(payload, 'UTF8')) WHERE leaf_index = 0"
            )
            connection.exec_driver_sql("ALTER TABLE audit_event ENABLE TRIGGER audit_event_guard_update")
    assert sequencer.run_once(NOW) == 1
    assert verify_log(database, keys=[SIGNER.verifier], anchor=anchor).ok
    with database.read() as work:
        assert len(Log(work).search(kind="log.row-disputed")) == 1


def test_a_place_that_nobody_gave_is_told(database: Database, sequencer: Sequencer):
    append(database, 2)
    sequencer.run_once(NOW)
    with database.engine.begin() as connection:
        drop_insert_guard(connection)
    insert_row(database, leaf_index=2)
    append(database, 1, start=3)
    with pytest.raises(VerificationFailed, match="a row claims leaf 2, which was given to none"):
        sequencer.run_once(NOW)


@pytest.mark.services
def test_a_role_that_may_only_insert_cannot_name_a_place(postgres: str, tmp_path: Path):
    database = Database(postgres)
    upgrade_schema(database)
    role = f"downloads_{secrets.token_hex(6)}"
    narrow = Database(postgres.replace("postgres@", f"{role}@"))
    try:
        with psycopg.connect(postgres, autocommit=True) as owner:
            owner.execute(f'CREATE ROLE "{role}" LOGIN')  # type: ignore[arg-type]
        with database.begin() as work:
            grant_downloads(work, role)
            work.commit()
        append(narrow, 2)
        with pytest.raises(NotRecorded, match="InsufficientPrivilege"):
            insert_row(narrow, leaf_index=0)
        row = row_of(narrow, leaf_hash=bytes(32))
        with narrow.begin() as work:
            work.execute(insert(audit_event).values({name: value for name, value in row.items() if name != "leaf_index"}))
            work.commit()
        running = Sequencer(database, signer=SIGNER, anchor=FileAnchor(tmp_path / "checkpoints.log"))
        assert [running.run_once(NOW), running.run_once(NOW)] == [3, 1]
    finally:
        narrow.dispose()
        database.dispose()
        with psycopg.connect(postgres, autocommit=True) as owner:
            owner.execute(f'DROP OWNED BY "{role}"')  # type: ignore[arg-type]
            owner.execute(f'DROP ROLE "{role}"')  # type: ignore[arg-type]


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


# --- several sequencers, and an anchor that is gone --------------------------------------------------------------------------


class Bucket(ObjectAnchor):
    """An object store without a lock of its own; `meanwhile` happens once, after its newest object was asked for."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.meanwhile: Callable[[], object] | None = None
        super().__init__(put_new=self.put_new, get=self.objects.get, list_names=lambda: sorted(self.objects))

    def put_new(self, name: str, raw: bytes) -> bool:
        return self.objects.setdefault(name, raw) is raw

    def newest(self) -> str | None:
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            act()
        return super().newest()


class Slow:
    """A witness during whose answer something else happens; its cosignature is never the same twice."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def cosign(self, note: str, **_: object) -> str:
        self.act()
        return note + Signature("witness.example/w1", secrets.token_bytes(4), secrets.token_bytes(72)).to_line()


def is_good(database: Database, anchor: ObjectAnchor, leaves: int) -> bool:
    found = verify_log(database, keys=[SIGNER.verifier], anchor=anchor)
    return found.findings == () and (found.leaves, found.signed_size) == (leaves, leaves)


def test_a_sequencer_that_is_overtaken_while_it_asks_a_witness_is_quiet(database: Database):
    anchor = Bucket()
    other = Sequencer(database, signer=SIGNER, anchor=anchor)

    def overtake() -> None:
        append(database, 2, start=3)
        assert other.run_once(NOW) == 2

    append(database, 3)
    assert Sequencer(database, signer=SIGNER, anchor=anchor, witness=Slow(overtake)).run_once(NOW) == 3
    assert is_good(database, anchor, 5)
    append(database, 1, start=5)
    assert other.run_once(NOW) == 1
    assert is_good(database, anchor, 6)


def test_a_sequencer_that_is_overtaken_before_it_looks_at_the_anchor_is_quiet(database: Database):
    anchor = Bucket()
    mine, other = (Sequencer(database, signer=SIGNER, anchor=anchor) for _ in range(2))
    append(database, 3)
    mine.run_once(NOW)
    append(database, 1, start=3)

    def overtake() -> None:
        append(database, 2, start=4)
        assert other.run_once(NOW) == 2

    anchor.meanwhile = overtake
    assert mine.run_once(NOW) == 1
    assert is_good(database, anchor, 6)


def test_of_two_cosigned_notes_of_one_tree_the_published_one_is_stored(database: Database):
    anchor = Bucket()
    other = Sequencer(database, signer=SIGNER, anchor=anchor, witness=Slow(lambda: None))
    append(database, 3)
    Sequencer(database, signer=SIGNER, anchor=anchor, witness=Slow(lambda: other.run_once(NOW))).run_once(NOW)
    assert len(anchor.objects) == 1
    assert is_good(database, anchor, 3)


def test_an_overtaken_sequencer_still_tells_a_fork(database: Database):
    """The larger tree that stands there is of another history."""
    anchor = Bucket()
    forged = SIGNER.sign(Checkpoint("gate.example/log", 9, bytes(32)).to_text())
    append(database, 3)
    running = Sequencer(database, signer=SIGNER, anchor=anchor, witness=Slow(lambda: anchor.publish(forged)))
    for _ in range(2):
        with pytest.raises(VerificationFailed, match="9 leaves"):
            running.run_once(NOW)
    append(database, 20, start=3)
    with pytest.raises(VerificationFailed, match="does not continue the published one"):
        running.run_once(NOW)
    with database.read() as work:
        assert newest_signed(work) is None


@pytest.mark.parametrize("left", [0, 1])
def test_an_anchor_that_was_removed_or_set_back_is_never_signed_over(
    database: Database, sequencer: Sequencer, tmp_path: Path, left: int
):
    for start in (0, 3):
        append(database, 3, start=start)
        sequencer.run_once(NOW)
    path = tmp_path / "checkpoints.log"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:left]))
    append(database, 2, start=6)
    said = "the anchor is empty or gone" if left == 0 else "a log of 6 leaves was published, but the anchor holds one of 3"
    for _ in range(2):
        with pytest.raises(VerificationFailed, match=said):
            sequencer.run_once(NOW)
    with pytest.raises(VerificationFailed, match=said):
        check_anchor(database, keys=[SIGNER.verifier], anchor=FileAnchor(path))
    assert path.read_text() == "".join(lines[:left])
    # The way back of docs/how-to/verify-the-log.md: what was published stands in the database, one note a row.
    with database.read() as work:
        notes = work.execute(
            select(checkpoint.c.note).where(checkpoint.c.note.is_not(None)).order_by(checkpoint.c.size)
        ).scalars()
        path.write_text("".join(json.dumps(note) + "\n" for note in notes))
    assert path.read_text() == "".join(lines)
    assert sequencer.run_once(NOW) == 0
    assert verify_log(database, keys=[SIGNER.verifier], anchor=FileAnchor(path)).ok
