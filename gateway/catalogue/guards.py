"""The tables of the catalogue whose rows stay as they are. Invariants: see `gateway.db.guards`."""

from __future__ import annotations

from sqlalchemy import Connection

from gateway.db.guards import keep_rows

__all__ = ["install_guards"]

TABLES = ("dataset", "policy")


def install_guards(connection: Connection) -> None:
    """Create the triggers; the caller commits."""
    keep_rows(connection, "catalogue", TABLES, what="the catalogue")
