"""Triggers that refuse to change or delete rows, whoever asks.

Invariants:
    - After `keep_rows` neither UPDATE nor DELETE nor TRUNCATE reaches a table; installing twice does no harm.
    - Tables are named by whoever installs: a migration that adds a table installs its triggers itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection

__all__ = ["keep_rows"]


def keep_rows(connection: Connection, room: str, tables: Iterable[str], *, what: str) -> None:
    """Create the triggers; the caller commits.

    Args:
        connection: To SQLite or PostgreSQL.
        room: Names the function that refuses (PostgreSQL).
        tables: Names of the tables whose rows stay.
        what: As the refusal calls it, as in `the privacy ledger`.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    for statement in _sqlite(tables, what) if is_sqlite else _postgresql(room, tables, what):
        connection.exec_driver_sql(statement)


def _sqlite(tables: Iterable[str], what: str) -> Iterator[str]:
    for table in tables:
        for verb in ("UPDATE", "DELETE"):
            yield (
                f"CREATE TRIGGER IF NOT EXISTS {table}_keeps_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{what} is append-only'); END"
            )


def _postgresql(room: str, tables: Iterable[str], what: str) -> Iterator[str]:
    yield (
        f"CREATE OR REPLACE FUNCTION {room}_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{what} is append-only' USING ERRCODE = 'restrict_violation'; END $$"
    )
    act = f"EXECUTE FUNCTION {room}_is_append_only()"
    for table in tables:
        rows, every = f"{table}_keeps_rows", f"{table}_keeps_all"
        yield f"CREATE OR REPLACE TRIGGER {rows} BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {act}"
        yield f"CREATE OR REPLACE TRIGGER {every} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {act}"
