"""Artifacts of releases and the wrapped keys that open them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, LargeBinary, String, Table

from gateway.db.metadata import Instant, metadata

__all__ = ["artifact", "data_key"]

artifact = Table(
    "artifact",
    metadata,
    Column("release_id", String(64), ForeignKey("release.id"), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("media_type", String(128), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("location", String(512), nullable=False),
    Column("audience", String(16), nullable=False, default="requester"),
)

data_key = Table(
    "data_key",
    metadata,
    Column("subject", String(128), primary_key=True),
    Column("purpose", String(32), nullable=False),
    Column("wrapping_key_id", String(256), nullable=False),
    Column("wrapped", LargeBinary, nullable=True),
    Column("created_at", Instant, nullable=False),
    Column("destroyed_at", Instant),
)
