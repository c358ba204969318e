"""An event row comes without a leaf index and with a hash of 32 bytes: whoever may only insert cannot hold the sequencer up."""

from alembic import op

from gateway.audit.guards import drop_insert_guard, guard_inserts

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    guard_inserts(op.get_bind())


def downgrade() -> None:
    drop_insert_guard(op.get_bind())
