"""Every column of every table of the log, for an event of every kind, on SQLite and PostgreSQL: a change is found at its place.

What is changed is read off the tables' own metadata: a new column is changed by itself, and a new table fails here until it is
said what its changes must lead to.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import BigInteger, Column, LargeBinary, String, Table, bindparam, select, update

from gateway.audit import FileAnchor, Log, NoteSigner, Sequencer, verify_log
from gateway.audit.kinds import KINDS
from gateway.db.metadata import Instant, metadata
from gateway.db.tables import audit as tables_of_the_log
from gateway.db.work import Database

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
POSTGRES = os.environ.get("TICKETGATE_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
SIGNER = NoteSigner("gate.example/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
SIZES = (7, 261, 261 + len(KINDS))
TABLES = {table.name: table for table in vars(tables_of_the_log).values() if isinstance(table, Table)}
COVERED = {"audit_event", "tile", "checkpoint"}
ERASABLE = {"pseudonym_key"}
"""Its keys are deleted on purpose; what a changed one cannot do is tested below."""
COLUMNS = [(table, column.name) for table in sorted(COVERED) for column in TABLES[table].columns]


@dataclass
class Victim:
    database: Database
    anchor: FileAnchor
    rows: dict[str, list[dict[str, Any]]]

    def found(self) -> set[tuple[str, int | None]]:
        found = verify_log(self.database, keys=[SIGNER.verifier], anchor=self.anchor)
        return {(finding.kind.value, finding.index) for finding in found.findings}

    @contextmanager
    def changed(self, table: Table, column: Column[Any], values: Mapping[Any, Any]) -> Iterator[None]:
        """These rows (by primary key) hold other values of a column, as long as the block lasts."""
        (primary,) = table.primary_key
        statement = update(table).where(primary == bindparam("place")).values({column.name: bindparam("other")})
        held = {row[primary.name]: row[column.name] for row in self.rows[table.name]}
        there = [{"place": key, "other": value} for key, value in values.items()]
        back = [{"place": value if column is primary else key, "other": held[key]} for key, value in values.items()]
        with self.database.engine.begin() as connection:
            assert connection.execute(statement, there).rowcount == len(there)
        try:
            yield
        finally:
            with self.database.engine.begin() as connection:
                assert connection.execute(statement, back).rowcount == len(back)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A log without guards: an event of every kind at its end, several tiles, three checkpoints."""
    folder: Path = tmp_path_factory.mktemp("log")
    name = f"tg_audit_{secrets.token_hex(6)}"
    is_sqlite = request.param == "sqlite"
    if not is_sqlite:
        with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
    database = Database(f"sqlite:///{folder / 'log.db'}" if is_sqlite else f"{POSTGRES}/{name}")
    metadata.create_all(database.engine, tables=list(TABLES.values()))
    anchor = FileAnchor(folder / "checkpoints.log")
    sequencer = Sequencer(database, signer=SIGNER, anchor=anchor)
    kinds = iter([*["log.read"] * SIZES[1], *KINDS])
    done = 0
    for size in SIZES:
        with database.begin() as work:
            for number in range(done, size):
                Log(work).append(
                    next(kinds), at=NOW + timedelta(seconds=number), actor=f"p{number % 3}", release=f"rel-{number}",
                    ticket="T-1", dataset="adult", token=f"tok-{number}", data={"number": number, "approver": "rob"},
                )  # fmt: skip
            work.commit()
        sequencer.run_once(NOW)
        done = size
    with database.read() as work:
        rows = {name: [dict(row) for row in work.execute(select(table)).mappings()] for name, table in TABLES.items()}
    yield Victim(database, anchor, rows)
    database.dispose()
    if not is_sqlite:
        with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def other_values(column: Column[Any], value: Any) -> Iterator[Any]:
    """Other values that the column takes."""
    if column.nullable and value is not None:
        yield None
    match column.type:
        case Instant():
            yield value + timedelta(microseconds=1)
            yield value - timedelta(days=1)
        case LargeBinary():
            yield bytes([value[0] ^ 1]) + value[1:]
            yield value[:-1]
        case BigInteger():
            yield value + 10_000
        case String():  # Text is one
            yield ("y" if value[0] == "x" else "x") + value[1:]
            yield value[:-1]


def test_no_table_of_the_log_is_forgotten() -> None:
    assert set(TABLES) == COVERED | ERASABLE
    assert set(TABLES) <= set(metadata.tables)


def test_the_log_holds_an_event_of_every_kind_and_is_good(victim: Victim) -> None:
    assert {row["kind"] for row in victim.rows["audit_event"]} == set(KINDS)
    assert len(victim.rows["tile"]) > 2
    assert [row["size"] for row in victim.rows["checkpoint"]] == list(SIZES)
    assert victim.found() == set()


@pytest.mark.parametrize("column", [name for table, name in COLUMNS if table == "audit_event" and name != "leaf_index"])
def test_a_column_of_an_event_of_every_kind(victim: Victim, column: str) -> None:
    """All kinds at once: each change must be found at its own leaf."""
    table = TABLES["audit_event"]
    ours = [row for row in victim.rows["audit_event"] if row["leaf_index"] >= SIZES[1]]
    choices = {row["id"]: list(other_values(table.c[column], row[column])) for row in ours}
    (count,) = {len(values) for values in choices.values()}
    assert count > 0
    for which in range(count):
        with victim.changed(table, table.c[column], {key: values[which] for key, values in choices.items()}):
            assert victim.found() == {("edited", row["leaf_index"]) for row in ours}


def test_the_place_of_an_event_of_every_kind(victim: Victim) -> None:
    table = TABLES["audit_event"]
    ours = {row["id"]: row["leaf_index"] + 10_000 for row in victim.rows["audit_event"] if row["leaf_index"] >= SIZES[1]}
    with victim.changed(table, table.c.leaf_index, ours):
        assert victim.found() == {("truncated", SIZES[1])} | {("inserted", index) for index in ours.values()}


@pytest.mark.parametrize(("name", "column"), [pair for pair in COLUMNS if pair[0] != "audit_event"])
def test_a_column_of_every_tile_and_checkpoint(victim: Victim, name: str, column: str) -> None:
    """One row after the other; the kind of the finding speaks of the right table."""
    table = TABLES[name]
    (primary,) = table.primary_key
    kinds = {
        "root": {"forked-checkpoint"},
        "note": {"bad-signature", "missing-checkpoint", "bad-anchor"},
        "data": {"tampered-tile"},
    }
    for row in victim.rows[name]:
        for value in other_values(table.c[column], row[column]):
            if (column, value, row[primary.name]) == ("note", None, SIZES[-1]):
                continue  # the newest row may lack its note for the moment before it is stored; the anchor has it
            with victim.changed(table, table.c[column], {row[primary.name]: value}):
                found = {kind for kind, _ in victim.found()}
            assert found, (row[primary.name], value)
            assert found <= kinds.get(column, found), (row[primary.name], value)


def test_a_changed_pseudonym_key_accuses_nobody(victim: Victim) -> None:
    """It is not under the tree, because it must be erasable: a changed one leads to no leaf, and the log stays good."""
    table = TABLES["pseudonym_key"]
    names = [row["principal"] for row in victim.rows["pseudonym_key"]]
    with victim.database.read() as work:
        acted = {name: len(Log(work).search(actor=name, limit=1000)) for name in names}
    assert [name for name, count in acted.items() if count == 0] == ["rob"]  # who never acted is named in data only
    others = {row["principal"]: bytes([row["key"][0] ^ 1]) + row["key"][1:] for row in victim.rows["pseudonym_key"]}
    with victim.changed(table, table.c.key, others):
        with victim.database.read() as work:
            assert [Log(work).search(actor=name) for name in names] == [[]] * len(names)
        assert victim.found() == set()
