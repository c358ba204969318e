"""Who raises a limit signs: key and signed message stand beside proposal and raise. Raises of before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("budget_limit", sa.Column("key", sa.String(64), nullable=True))
    op.add_column("budget_limit", sa.Column("signed", sa.String(8192), nullable=True))


def downgrade() -> None:
    op.drop_column("budget_limit", "signed")
    op.drop_column("budget_limit", "key")
