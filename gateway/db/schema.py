"""Bring a database to the present schema, by migrations and nothing else.

Invariants: a database that is ahead of this program is refused by Alembic; running twice changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.db import tables
from gateway.db.metadata import metadata
from gateway.db.work import Database

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["create_schema", "migration_config", "upgrade_schema"]

MIGRATIONS = Path(__file__).with_name("migrations")
ROOMS = tables.__all__  # importing the tables completes the metadata


def migration_config(database: Database) -> Config:
    """Alembic's settings for a database. Alembic is loaded when it is needed: it costs a good part of a second."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = database.engine
    return config


def upgrade_schema(database: Database) -> str:
    """Run the migrations that are missing; answers the revision."""
    from alembic import command
    from alembic.runtime.migration import MigrationContext

    command.upgrade(migration_config(database), "head")
    with database.engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
    return str(revision)


def create_schema(database: Database) -> None:
    """Create all tables from the metadata, without triggers: for unit tests of one room."""
    metadata.create_all(database.engine)
