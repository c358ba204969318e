"""The event that let a release out stands beside the one that its manifest names: under review they are two.

Filled from the log, so that what was let out before stays open to its requester.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("release", sa.Column("handover_event_id", sa.String(64), nullable=True))
    release = sa.table("release", sa.column("id"), sa.column("released_at"), sa.column("handover_event_id"))
    event = sa.table("audit_event", sa.column("id"), sa.column("release"), sa.column("kind"))
    of_release = (event.c.release == release.c.id, event.c.kind == "release.released")
    found = sa.select(sa.func.min(event.c.id)).where(*of_release).scalar_subquery()
    op.execute(sa.update(release).where(release.c.released_at.is_not(None)).values(handover_event_id=found))


def downgrade() -> None:
    op.drop_column("release", "handover_event_id")
