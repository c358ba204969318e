"""Triggers that keep the log append-only in the database itself.

Invariants:
    - An event row comes without a leaf index and with a hash of 32 bytes: only the sequencer gives places.
    - An event row changes once, when its leaf index is set, and is never deleted; a checkpoint gets its note once and is
      never deleted; a tile only grows.
    - The guards stop mistakes and stolen application credentials. Whoever owns the tables can drop them: that is what the
      tree, the anchor and `verify_log` are for.
"""

from __future__ import annotations

from sqlalchemy import Connection

__all__ = ["drop_insert_guard", "guard_changes", "guard_inserts", "install_guards"]

_EVENT_COLUMNS = ("id", "kind", "at", "actor", "release", "ticket", "dataset", "token", "payload", "leaf_hash")
_CHECKPOINT_COLUMNS = ("size", "root")
_INSERT_GUARD = "audit_event_guard_insert"
_REFUSED = "audit_event takes rows without a leaf, with a hash of 32 bytes and an ordinary time"
_DIGITS = "[0-9][0-9]"
# SQLite takes any type in any column, and its times are text. PostgreSQL knows times that no program can read (infinity).
_NEW_ON_SQLITE = (
    "NEW.leaf_index IS NULL AND typeof(NEW.leaf_hash) = 'blob' AND length(NEW.leaf_hash) = 32 "
    "AND typeof(NEW.id) = 'text' AND typeof(NEW.payload) = 'text' AND typeof(NEW.at) = 'text' AND length(NEW.at) = 26 "
    f"AND NEW.at GLOB '{_DIGITS * 2}-{_DIGITS}-{_DIGITS} {_DIGITS}:{_DIGITS}:{_DIGITS}.{_DIGITS * 3}'"
)
_NEW_ON_POSTGRES = (
    "NEW.leaf_index IS NULL AND octet_length(NEW.leaf_hash) = 32 "
    "AND NEW.at >= '1970-01-01 00:00+00' AND NEW.at < '9999-12-31 00:00+00'"
)


def install_guards(connection: Connection) -> None:
    """Create all triggers on SQLite or PostgreSQL."""
    guard_changes(connection)
    guard_inserts(connection)


def guard_changes(connection: Connection) -> None:
    """Create the triggers against changes and deletions; called by the migration that creates the tables."""
    statements = _sqlite() if connection.dialect.name == "sqlite" else _postgres()
    for statement in statements:
        connection.exec_driver_sql(statement)


def guard_inserts(connection: Connection) -> None:
    """Create the trigger against event rows that the gateway never writes."""
    if connection.dialect.name == "sqlite":
        refuse = f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        statements = [f"CREATE TRIGGER {_INSERT_GUARD} BEFORE INSERT ON audit_event WHEN NOT ({_NEW_ON_SQLITE}) {refuse}"]
    else:
        function = (
            "CREATE OR REPLACE FUNCTION ticketgate_new_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"RAISE EXCEPTION '{_REFUSED}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        call = "EXECUTE FUNCTION ticketgate_new_event()"
        statements = [
            function,
            f"CREATE TRIGGER {_INSERT_GUARD} BEFORE INSERT ON audit_event FOR EACH ROW WHEN (NOT ({_NEW_ON_POSTGRES})) {call}",
        ]
    for statement in statements:
        connection.exec_driver_sql(statement)


def drop_insert_guard(connection: Connection) -> None:
    """Take the trigger of `guard_inserts` away: the way back of its migration."""
    on = "" if connection.dialect.name == "sqlite" else " ON audit_event"
    connection.exec_driver_sql(f"DROP TRIGGER {_INSERT_GUARD}{on}")


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
