"""Alembic's entry: runs migrations on the engine it is given. The job engine's own tables are left alone."""

from __future__ import annotations

from typing import Any

from alembic import context

from gateway.db import tables
from gateway.db.metadata import metadata

assert tables  # noqa: S101 - imported so that the metadata is complete


def ours(_object: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:  # noqa: FBT001 - Alembic calls it so
    """Whether a table belongs to the gateway."""
    return kind != "table" or name in metadata.tables


engine = context.config.attributes["engine"]
with engine.connect() as connection:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=ours,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=False,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
