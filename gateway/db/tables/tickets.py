"""Table of the file registry of tickets; with Jira it stays empty."""

from __future__ import annotations

from sqlalchemy import Column, String, Table

from gateway.db.metadata import Instant, Json, metadata

__all__ = ["ticket"]

ticket = Table(
    "ticket",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("type", String(64), nullable=False),
    Column("status", String(64), nullable=False),
    Column("dataset", String(64)),
    Column("assignee", String(128)),
    Column("approver", String(128)),
    Column("approved_at", Instant),
    Column("changed_at", Instant, nullable=False),
    Column("extra", Json, nullable=False),
)
