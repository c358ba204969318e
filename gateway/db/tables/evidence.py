"""Keyed fingerprints of released tables, by which a leaked file is found."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, LargeBinary, String, Table

from gateway.db.metadata import metadata

__all__ = ["release_fingerprint"]

release_fingerprint = Table(
    "release_fingerprint",
    metadata,
    Column("release_id", String(64), ForeignKey("release.id"), primary_key=True),
    Column("fence", BigInteger, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)
