"""The tables of the ledger whose rows stay as they are. Invariants: see `gateway.db.guards`."""

from __future__ import annotations

from sqlalchemy import Connection

from gateway.db.guards import keep_rows

__all__ = ["install_guards"]

TABLES = ("budget_ledger", "budget_entry", "budget_filter", "budget_limit", "budget_member")


def install_guards(connection: Connection) -> None:
    """Create the triggers; the caller commits."""
    keep_rows(connection, "budget", TABLES, what="the privacy ledger")
