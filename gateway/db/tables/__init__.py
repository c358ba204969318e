"""All tables, one module a room. Importing this package completes `metadata`."""

from __future__ import annotations

from gateway.db.tables import access, audit, budget, catalogue, evidence, releases, storage, tickets

__all__ = ["access", "audit", "budget", "catalogue", "evidence", "releases", "storage", "tickets"]
