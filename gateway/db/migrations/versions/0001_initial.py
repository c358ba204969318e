"""The first schema: every table of every room, and the triggers that keep log and ledger append-only."""

from alembic import op

from gateway.audit.guards import install_guards as guard_log
from gateway.budget.guards import install_guards as guard_ledger
from gateway.catalogue.guards import install_guards as guard_catalogue
from gateway.db import tables
from gateway.db.metadata import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

assert tables


def upgrade() -> None:
    connection = op.get_bind()
    metadata.create_all(connection)
    for guard in (guard_log, guard_ledger, guard_catalogue):
        guard(connection)


def downgrade() -> None:
    raise RuntimeError("the first schema is not taken down: remove the database instead")
