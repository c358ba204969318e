"""Releases that were blocked, failed, cancelled or withdrawn, and attempts that others replaced, have no key: those of before go.

It cannot be taken back: what these keys opened was never to be opened again.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
ENDED = ("blocked", "failed", "cancelled", "withdrawn")


def upgrade() -> None:
    connection = op.get_bind()
    release = sa.table("release", sa.column("id"), sa.column("status"), sa.column("fence"))
    key = sa.table(
        "data_key", sa.column("subject"), sa.column("purpose"), sa.column("wrapped"), sa.column("destroyed_at", INSTANT)
    )
    known = {row.id: row for row in connection.execute(sa.select(release))}
    kept = sa.select(key.c.subject).where(key.c.purpose == "artifacts", key.c.wrapped.is_not(None))
    now = datetime.now(UTC)
    for subject in connection.execute(kept).scalars().all():
        name, _, fence = subject.rpartition("#")
        found = known.get(name)
        if found is not None and (found.status in ENDED or int(fence) < found.fence):
            connection.execute(sa.update(key).where(key.c.subject == subject).values(wrapped=None, destroyed_at=now))


def downgrade() -> None:
    pass
