"""A fresh log on SQLite or PostgreSQL, with a table of acts beside it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from gateway.audit import FileAnchor, Log, NoteSigner, Sequencer, install_guards
from gateway.db.metadata import metadata
from gateway.db.tables.audit import audit_event, checkpoint, pseudonym_key, tile
from gateway.db.work import Database

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
POSTGRES = os.environ.get("TICKETGATE_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")


@dataclass
class Site:
    """Where a log is; each process opens its own connections."""

    url: str
    folder: Path

    @property
    def signer(self) -> NoteSigner:
        return NoteSigner("gate.example/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))

    @property
    def anchor(self) -> FileAnchor:
        return FileAnchor(self.folder / "checkpoints.log")

    def open(self) -> Database:
        return Database(self.url, pool_size=2)

    def sequencer(self, database: Database) -> Sequencer:
        return Sequencer(database, signer=self.signer, anchor=self.anchor, batch=64)

    def act(self, database: Database, name: str) -> None:
        """Do something and record it, in one transaction."""
        with database.begin() as work:
            work.execute(text("INSERT INTO act (name) VALUES (:name)"), {"name": name})
            Log(work).append("release.requested", at=NOW, actor=f"p{len(name) % 7}", release=name)
            work.commit()


@contextmanager
def make_site(kind: str, folder: Path) -> Iterator[Site]:
    name = f"tg_audit_{secrets.token_hex(6)}"
    is_sqlite = kind == "sqlite"
    if not is_sqlite:
        with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
    url = f"sqlite:///{folder / 'log.db'}" if is_sqlite else f"{POSTGRES}/{name}"
    database = Database(url)
    with database.engine.begin() as connection:
        metadata.create_all(connection, tables=[audit_event, tile, checkpoint, pseudonym_key])
        connection.execute(text("CREATE TABLE act (name VARCHAR(64) PRIMARY KEY)"))
        install_guards(connection)
    database.dispose()
    yield Site(url, folder)
    if not is_sqlite:
        with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with make_site(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def sqlite_site(tmp_path: Path) -> Iterator[Site]:
    with make_site("sqlite", tmp_path) as made:
        yield made


@pytest.fixture
def postgres_site(tmp_path: Path) -> Iterator[Site]:
    with make_site("postgresql", tmp_path) as made:
        yield made
