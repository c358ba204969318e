"""Triggers that keep the log append-only in the database itself.

Invariants:
    - An event row changes once, when its leaf index is set, and is never deleted; a checkpoint gets its note once and is
      never deleted; a tile only grows.
    - The guards stop mistakes and stolen application credentials. Whoever owns the tables can drop them: that is what the
      tree, the anchor and `verify_log` are for.
"""

from __future__ import annotations

from sqlalchemy import Connection

__all__ = ["install_guards"]

_EVENT_COLUMNS = ("id", "kind", "at", "actor", "release", "ticket", "dataset", "token", "payload", "leaf_hash")
_CHECKPOINT_COLUMNS = ("size", "root")


def install_guards(connection: Connection) -> None:
    """Create the triggers on SQLite or PostgreSQL; called by the migration that creates the tables."""
    statements = _sqlite() if connection.dialect.name == "sqlite" else _postgres()
    for statement in statements:
        connection.exec_driver_sql(statement)


def _sqlite() -> list[str]:
    conditions = {
        "audit_event": _allowed(_EVENT_COLUMNS, "leaf_index", "IS"),
        "checkpoint": _allowed(_CHECKPOINT_COLUMNS, "note", "IS"),
        "tile": "NEW.key = OLD.key AND substr(NEW.data, 1, length(OLD.data)) = OLD.data",
    }
    statements = []
    for table, allowed in conditions.items():
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        statements += [
            f"CREATE TRIGGER {table}_guard_delete BEFORE DELETE ON {table} {refuse}",
            f"CREATE TRIGGER {table}_guard_update BEFORE UPDATE ON {table} WHEN NOT ({allowed}) {refuse}",
        ]
    return statements


def _postgres() -> list[str]:
    same = "IS NOT DISTINCT FROM"
    conditions = {
        "audit_event": _allowed(_EVENT_COLUMNS, "leaf_index", same),
        "checkpoint": _allowed(_CHECKPOINT_COLUMNS, "note", same),
        "tile": "NEW.key = OLD.key AND substring(NEW.data from 1 for length(OLD.data)) = OLD.data",
    }
    # A class-23 error reads as a violated constraint, not as a database that is out of order.
    function = (
        "CREATE OR REPLACE FUNCTION ticketgate_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only', ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    statements = [function]
    for table, allowed in conditions.items():
        call = "EXECUTE FUNCTION ticketgate_append_only()"
        statements += [
            f"CREATE TRIGGER {table}_guard_delete BEFORE DELETE ON {table} FOR EACH ROW {call}",
            f"CREATE TRIGGER {table}_guard_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {call}",
            f"CREATE TRIGGER {table}_guard_update BEFORE UPDATE ON {table} FOR EACH ROW WHEN (NOT ({allowed})) {call}",
        ]
    return statements


def _allowed(columns: tuple[str, ...], once: str, same: str) -> str:
    """Only `once` may change, and only from NULL."""
    unchanged = " AND ".join(f"NEW.{column} {same} OLD.{column}" for column in columns)
    return f"{unchanged} AND OLD.{once} IS NULL AND NEW.{once} IS NOT NULL"
