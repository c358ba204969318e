"""Registered dataset cards and applied policies, by version. Rows are added, never changed."""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table, UniqueConstraint

from gateway.db.metadata import Instant, Json, metadata

__all__ = ["dataset", "policy"]

dataset = Table(
    "dataset",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("card", Json, nullable=False),
    Column("source", String(2048), nullable=False),
    Column("source_digest", String(64)),
    Column("registered_at", Instant, nullable=False),
    Column("registered_by", String(128), nullable=False),
)

policy = Table(
    "policy",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("document", Json, nullable=False),
    Column("applied_at", Instant, nullable=False),
    Column("applied_by", String(128), nullable=False),
    UniqueConstraint("name", "digest"),
)
