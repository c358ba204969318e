"""A log on an embedded database, with its key and its anchor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.audit import FileAnchor, Log, NoteSigner, Sequencer, install_guards
from gateway.db.metadata import metadata
from gateway.db.tables.audit import audit_event, checkpoint, pseudonym_key, tile
from gateway.db.work import Database

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TABLES = [audit_event, tile, checkpoint, pseudonym_key]


@dataclass
class World:
    database: Database
    signer: NoteSigner
    anchor: FileAnchor
    sequencer: Sequencer

    @property
    def keys(self):
        return [self.signer.verifier]

    def append(self, count: int = 1, *, start: int = 0, kind: str = "release.requested", **subjects: str) -> list[str]:
        """Commit events, one second apart, together."""
        with self.database.begin() as work:
            identifiers = [
                Log(work).append(
                    kind,
                    at=NOW + timedelta(seconds=number),
                    data={"number": number},
                    **({"release": f"rel-{number}"} | subjects),
                )
                for number in range(start, start + count)
            ]
            work.commit()
        return identifiers

    def grow(self, *counts: int) -> list[str]:
        """Append and sequence, once per count."""
        identifiers: list[str] = []
        for count in counts:
            identifiers += self.append(count, start=len(identifiers))
            assert self.sequencer.run_once(NOW) == count
        return identifiers


@pytest.fixture(scope="session")
def signer() -> NoteSigner:
    return NoteSigner("gate.example/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


@pytest.fixture
def world(tmp_path: Path, signer: NoteSigner) -> Iterator[World]:
    database = Database(f"sqlite:///{tmp_path / 'log.db'}")
    with database.engine.begin() as connection:
        metadata.create_all(connection, tables=TABLES)
        install_guards(connection)
    anchor = FileAnchor(tmp_path / "checkpoints.log")
    yield World(database, signer, anchor, Sequencer(database, signer=signer, anchor=anchor))
    database.dispose()
