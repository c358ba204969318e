"""A trace by digest finds the release of a manifest, report card or signed request by an index."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COLUMNS = ("request_digest", "report_card_digest", "manifest_digest")


def upgrade() -> None:
    for column in COLUMNS:
        op.create_index(op.f(f"ix_release_{column}"), "release", [column], unique=False)


def downgrade() -> None:
    for column in COLUMNS:
        op.drop_index(op.f(f"ix_release_{column}"), "release")
