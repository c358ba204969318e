"""Event rows, tiles of the Merkle tree, signed checkpoints, and the keys of pseudonyms.

Invariants:
    - A row of `audit_event` never changes, except that its `leaf_index` is set once; triggers refuse the rest
      (`gateway.audit.guards`).
    - The columns beside `payload` only make it searchable; each of them is derived from the payload and checked against it.
    - `pseudonym_key` is the only table of this room from which rows are deleted: that is erasure.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, Text, text

from gateway.db.metadata import Instant, metadata

__all__ = ["audit_event", "checkpoint", "pseudonym_key", "tile"]

audit_event = Table(
    "audit_event",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", String(80)),
    Column("release", String(64)),
    Column("ticket", String(64)),
    Column("dataset", String(64)),
    Column("token", String(64)),
    Column("payload", Text, nullable=False),
    Column("leaf_hash", LargeBinary(32), nullable=False),
    Column("leaf_index", BigInteger, unique=True),
)

# Most rows have few subjects: partial indexes keep an insert cheap. There is none of kinds or times: it would cost every
# act more than it saves a rare search, and identifiers sort by time already.
Index(
    "ix_audit_event_pending",
    audit_event.c.id,
    postgresql_where=text("leaf_index IS NULL"),
    sqlite_where=text("leaf_index IS NULL"),
)
for _name in ("actor", "release", "ticket", "dataset", "token"):
    Index(
        f"ix_audit_event_{_name}",
        audit_event.c[_name],
        audit_event.c.id,
        postgresql_where=text(f"{_name} IS NOT NULL"),
        sqlite_where=text(f"{_name} IS NOT NULL"),
    )

tile = Table(
    "tile",
    metadata,
    Column("key", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary(8192), nullable=False),
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("note", Text),
)

pseudonym_key = Table(
    "pseudonym_key",
    metadata,
    Column("principal", String(256), primary_key=True),
    Column("key", LargeBinary(32), nullable=False),
    Column("created_at", Instant, nullable=False),
)
