"""Tables, the unit of work and migrations. Nothing above this room opens a transaction in another way."""

from __future__ import annotations

from gateway.db.metadata import metadata
from gateway.db.schema import create_schema, upgrade_schema
from gateway.db.work import Database, Work

__all__ = ["Database", "Work", "create_schema", "metadata", "upgrade_schema"]
