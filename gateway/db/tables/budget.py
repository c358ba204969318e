"""Entries of the privacy ledger: added, never changed or deleted.

Invariants:
    - A reserve is settled at most once (unique `settles`), whatever two workers believe.
    - Exact numbers only: ε, δ, ρ and every point of a Rényi curve are decimal text.
    - Triggers (`gateway.budget.install_guards`) refuse UPDATE and DELETE on all five tables.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table

from gateway.db.metadata import Exact, Instant, Json, metadata

__all__ = ["budget_entry", "budget_filter", "budget_ledger", "budget_limit", "budget_member"]

Counter = BigInteger().with_variant(Integer, "sqlite")

budget_ledger = Table(
    "budget_ledger",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("opened_at", Instant, nullable=False),
)

budget_member = Table(
    "budget_member",
    metadata,
    Column("ledger", String(64), ForeignKey("budget_ledger.name"), primary_key=True),
    Column("dataset", String(64), primary_key=True, index=True),
    Column("at", Instant, nullable=False),
)

budget_entry = Table(
    "budget_entry",
    metadata,
    Column("id", Counter, primary_key=True, autoincrement=True),
    Column("entry_id", String(64), nullable=False, unique=True),
    Column("ledger", String(64), ForeignKey("budget_ledger.name"), nullable=False, index=True),
    Column("dataset", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("settles", String(64), unique=True),
    Column("release_id", String(64), nullable=False, index=True),
    Column("principal", String(128), nullable=False),
    Column("scope", String(32), nullable=False),
    Column("unit", String(128), nullable=False),
    Column("neighbours", String(16)),
    Column("method", String(256), nullable=False),
    Column("epsilon", Exact),
    Column("delta", Exact),
    Column("rho", Exact),
    Column("rdp", Json),
    Column("failure_delta", Exact),
    Column("outcome", String(16), nullable=False),
    Column("at", Instant, nullable=False),
)

budget_filter = Table(
    "budget_filter",
    metadata,
    Column("id", Counter, primary_key=True, autoincrement=True),
    Column("ledger", String(64), ForeignKey("budget_ledger.name"), nullable=False),
    Column("epsilon", Exact, nullable=False),
    Column("delta", Exact, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("order", Exact),
    Column("at", Instant, nullable=False),
    Index("ix_budget_filter_ledger", "ledger"),
)

budget_limit = Table(
    "budget_limit",
    metadata,
    Column("id", Counter, primary_key=True, autoincrement=True),
    Column("ledger", String(64), ForeignKey("budget_ledger.name"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("proposal", Counter, ForeignKey("budget_limit.id"), unique=True),
    Column("document_epsilon", Exact),
    Column("document_delta", Exact),
    Column("epsilon", Exact),
    Column("delta", Exact),
    Column("by", String(128), nullable=False),
    Column("reason", String(2000), nullable=False),
    Column("key", String(64)),
    Column("signed", String(8192)),
    Column("at", Instant, nullable=False),
)
