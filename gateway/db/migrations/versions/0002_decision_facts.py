"""Every fact that a decision rested on stands beside it, so that a candidate policy can be tried on the past.

Releases of before keep an empty column: their decisions are explained from their reasons, and not replayed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("release", sa.Column("decision_facts", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("release", "decision_facts")
