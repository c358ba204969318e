"""To which ledgers the cards of a dataset charged it, so that it takes their limits along before its first release too.

Filled from the registered cards. Limits that cards stated before are not noted afterwards: they are with the next card or policy.
"""

import json

import sqlalchemy as sa
from alembic import op

from gateway.db.guards import keep_rows

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    member = op.create_table(
        "budget_member",
        sa.Column("ledger", sa.String(64), nullable=False),
        sa.Column("dataset", sa.String(64), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["ledger"], ["budget_ledger.name"], name=op.f("fk_budget_member_ledger_budget_ledger")),
        sa.PrimaryKeyConstraint("ledger", "dataset", name=op.f("pk_budget_member")),
    )
    op.create_index(op.f("ix_budget_member_dataset"), "budget_member", ["dataset"], unique=False)
    connection = op.get_bind()
    ledger = sa.table("budget_ledger", sa.column("name"), sa.column("opened_at", INSTANT))
    card = sa.table("dataset", sa.column("name"), sa.column("card"), sa.column("registered_at", INSTANT))
    known = set(connection.execute(sa.select(ledger.c.name)).scalars())
    pairs: dict[tuple[str, str], object] = {}
    for row in connection.execute(sa.select(card).order_by(card.c.registered_at)):
        name = json.loads(row.card)["spec"].get("budget_group") or row.name
        pairs.setdefault((name, row.name), row.registered_at)
    for (name, dataset), at in pairs.items():
        if name not in known:
            connection.execute(ledger.insert().values(name=name, opened_at=at))
            known.add(name)
        connection.execute(member.insert().values(ledger=name, dataset=dataset, at=at))
    keep_rows(connection, "budget", ("budget_member",), what="the privacy ledger")


def downgrade() -> None:
    op.drop_table("budget_member")
