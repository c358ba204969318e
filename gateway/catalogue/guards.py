"""Triggers that refuse to change or delete a registered card or an applied policy.

Invariants:
    - After `install_guards` neither UPDATE nor DELETE reaches the catalogue; installing twice does no harm.
"""

from __future__ import annotations

from sqlalchemy import Connection

from gateway.db.tables.catalogue import dataset, policy

__all__ = ["install_guards"]

TABLES = (dataset, policy)


def install_guards(connection: Connection) -> None:
    """Create the triggers; the caller commits."""
    is_sqlite = connection.dialect.name == "sqlite"
    for statement in _sqlite_statements() if is_sqlite else _postgresql_statements():
        connection.exec_driver_sql(statement)


def _sqlite_statements() -> list[str]:
    return [
        f"CREATE TRIGGER IF NOT EXISTS {table.name}_keeps_{verb.lower()} BEFORE {verb} ON {table.name} "
        f"BEGIN SELECT RAISE(ABORT, 'the catalogue is append-only'); END"
        for table in TABLES
        for verb in ("UPDATE", "DELETE")
    ]


def _postgresql_statements() -> list[str]:
    refuse = (
        "CREATE OR REPLACE FUNCTION catalogue_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the catalogue is append-only' USING ERRCODE = 'restrict_violation'; END $$"
    )
    act = "EXECUTE FUNCTION catalogue_is_append_only()"
    found = [refuse]
    for table in TABLES:
        rows, every = f"{table.name}_keeps_rows", f"{table.name}_keeps_all"
        found += [
            f"CREATE OR REPLACE TRIGGER {rows} BEFORE UPDATE OR DELETE ON {table.name} FOR EACH ROW {act}",
            f"CREATE OR REPLACE TRIGGER {every} BEFORE TRUNCATE ON {table.name} FOR EACH STATEMENT {act}",
        ]
    return found
