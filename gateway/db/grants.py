"""What a process of its own may do in PostgreSQL: the least that sending downloads needs.

Invariants:
    - The role of the downloads process reads what a token depends on, appends events and downloads, and changes four columns;
      it reads no sealed private key, gives no event its place in the tree, decides nothing, and deletes nothing.
    - Of the wrapped data keys it sees those of releases that are out, and of their proofs; not those of what is being made or was
      refused, of uploaded leaks, of fingerprints, or of how tables are split (row security, by the status of the release).
    - Granting again changes nothing. What is not listed here is revoked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.db.metadata import metadata
from gateway.db.work import Work
from gateway.errors import InvalidRequest

__all__ = ["DOWNLOADS", "grant_downloads"]

NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")
EXCEPT: Final[Mapping[tuple[str, str], str]] = {("gateway_key", "SELECT"): "sealed", ("audit_event", "INSERT"): "leaf_index"}
"""Columns that a privilege leaves out, by table and privilege."""
DOWNLOADS: Final[Mapping[str, tuple[str, ...]]] = {
    "artifact": ("SELECT",),
    "audit_event": ("SELECT", "INSERT"),
    "checkpoint": ("SELECT",),
    "data_key": ("SELECT",),
    "dataset": ("SELECT",),
    "download": ("SELECT", "INSERT", "UPDATE (promised)"),
    "download_count": ("SELECT", "UPDATE (used)"),
    "gateway_key": ("SELECT",),
    "policy": ("SELECT",),
    "principal": ("SELECT",),
    "principal_key": ("SELECT",),
    "pseudonym_key": ("SELECT", "INSERT"),
    "release": ("SELECT", "UPDATE (ticket_snapshot, ticket_checked_at)"),
    "release_token": ("SELECT",),
    "revocation": ("SELECT",),
    "ticket": ("SELECT",),
    "tile": ("SELECT",),
    "used_jti": ("SELECT", "INSERT"),
}
"""Privileges by table."""
OUT: Final = """subject LIKE 'proof:%' OR EXISTS (
    SELECT 1 FROM release WHERE release.status = 'released' AND data_key.subject = release.id || '#' || release.fence)"""
"""Which wrapped keys the role sees; the owner of the tables sees all."""


def grant_downloads(work: Work, role: str) -> list[str]:
    """Give a role what the downloads process needs, and take away what it does not; answers the statements. The caller commits.

    Raises:
        InvalidRequest: the database is not PostgreSQL, or the name cannot be one.
    """
    if work.is_sqlite:
        raise InvalidRequest("SQLite knows no roles: a role of its own needs PostgreSQL (TICKETGATE_DATABASE)")
    if not NAME.match(role):
        raise InvalidRequest("the name of a role has small letters, digits and '_'")
    known = work.connection.exec_driver_sql("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).first()
    if known is None:
        raise InvalidRequest(
            f"there is no role {role}", unlock=(f"CREATE ROLE {role} LOGIN PASSWORD '…' as the database's owner",)
        )
    statements = [
        f'REVOKE ALL ON ALL TABLES IN SCHEMA public FROM "{role}"',
        f'GRANT USAGE ON SCHEMA public TO "{role}"',
        *(f'GRANT {_privilege(table, what)} ON "{table}" TO "{role}"' for table, kinds in DOWNLOADS.items() for what in kinds),
    ]
    statements += [
        "ALTER TABLE data_key ENABLE ROW LEVEL SECURITY",
        f'DROP POLICY IF EXISTS "{role}" ON data_key',
        f'CREATE POLICY "{role}" ON data_key FOR SELECT TO "{role}" USING ({OUT})',
    ]
    for statement in statements:
        work.connection.exec_driver_sql(statement.replace("%", "%%"))
    return statements


def _privilege(table: str, what: str) -> str:
    left_out = EXCEPT.get((table, what))
    if left_out is None:
        return what
    columns = ", ".join(f'"{column.name}"' for column in metadata.tables[table].columns if column.name != left_out)
    return f"{what} ({columns})"
