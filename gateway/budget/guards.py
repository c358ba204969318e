"""Triggers that refuse to change or delete what stands in the ledger, whoever asks.

Invariants:
    - After `install_guards` neither UPDATE nor DELETE reaches a budget table; installing twice does no harm.
"""

from __future__ import annotations

from sqlalchemy import Connection

from gateway.db.tables.budget import budget_entry, budget_filter, budget_ledger, budget_limit

__all__ = ["install_guards"]

TABLES = (budget_ledger, budget_entry, budget_filter, budget_limit)


def install_guards(connection: Connection) -> None:
    """Create the triggers; the caller commits."""
    if connection.dialect.name == "sqlite":
        for statement in _sqlite_statements():
            connection.exec_driver_sql(statement)
        return
    for statement in _postgresql_statements():
        connection.exec_driver_sql(statement)


def _sqlite_statements() -> list[str]:
    return [
        f"CREATE TRIGGER IF NOT EXISTS {table.name}_keeps_{verb.lower()} BEFORE {verb} ON {table.name} "
        f"BEGIN SELECT RAISE(ABORT, 'the privacy ledger is append-only'); END"
        for table in TABLES
        for verb in ("UPDATE", "DELETE")
    ]


def _postgresql_statements() -> list[str]:
    refuse = (
        "CREATE OR REPLACE FUNCTION budget_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the privacy ledger is append-only' USING ERRCODE = 'restrict_violation'; END $$"
    )
    act = "EXECUTE FUNCTION budget_is_append_only()"
    found = [refuse]
    for table in TABLES:
        rows, all_rows = f"{table.name}_keeps_rows", f"{table.name}_keeps_all"
        found += [
            f"CREATE OR REPLACE TRIGGER {rows} BEFORE UPDATE OR DELETE ON {table.name} FOR EACH ROW {act}",
            f"CREATE OR REPLACE TRIGGER {all_rows} BEFORE TRUNCATE ON {table.name} FOR EACH STATEMENT {act}",
        ]
    return found
