"""Releases from request to withdrawal, their reviews, and the small jobs beside them (profiles, scans, leak traces)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, String, Table, UniqueConstraint

from gateway.db.metadata import Instant, Json, metadata

__all__ = ["job", "release", "review_vote", "worker"]

release = Table(
    "release",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("principal", String(128), nullable=False, index=True),
    Column("account_id", String(128), nullable=False),
    Column("ticket", String(64), nullable=False, index=True),
    Column("dataset", String(64), nullable=False, index=True),
    Column("dataset_version", Integer),
    Column("policy", String(64)),
    Column("policy_version", Integer),
    Column("policy_digest", String(64)),
    Column("status", String(16), nullable=False, index=True),
    Column("stage", String(64), nullable=False, default=""),
    Column("progress", Float, nullable=False, default=0.0),
    Column("request", Json, nullable=False),
    Column("request_digest", String(64), nullable=False, index=True),
    Column("signed_request", String(32768), nullable=False),
    Column("ticket_snapshot", Json),
    Column("ticket_checked_at", Instant),
    Column("decision_id", String(64), nullable=False),
    Column("decision", Json, nullable=False),
    Column("decision_facts", Json),
    Column("verdict", Json),
    Column("report_card", Json),
    Column("report_card_digest", String(64), index=True),
    Column("spent", Json),
    Column("generator_version", String(64)),
    Column("manifest_digest", String(64), index=True),
    Column("released_event_id", String(64)),
    Column("handover_event_id", String(64)),
    Column("failure", Json),
    Column("fence", BigInteger, nullable=False, default=0),
    Column("requested_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("released_at", Instant),
    Column("expires_at", Instant),
    Column("closed_at", Instant),
    Column("close_reason", String(16)),
    Index("ix_release_requested_at_id", "requested_at", "id"),
)

review_vote = Table(
    "review_vote",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("release_id", String(64), ForeignKey("release.id"), nullable=False, index=True),
    Column("reviewer", String(128), nullable=False),
    Column("account_id", String(128), nullable=False),
    Column("approve", Integer, nullable=False),
    Column("comment", String(4000), nullable=False),
    Column("at", Instant, nullable=False),
    UniqueConstraint("release_id", "account_id"),
)

job = Table(
    "job",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("requested_by", String(128), nullable=False),
    Column("status", String(16), nullable=False),
    Column("input", Json, nullable=False),
    Column("result", Json),
    Column("requested_at", Instant, nullable=False),
    Column("finished_at", Instant),
)

worker = Table(
    "worker",
    metadata,
    Column("executor", String(128), primary_key=True),
    Column("beat_at", Instant, nullable=False),
)
