"""The first schema: every table of every room as it was then, and the triggers that keep log, ledger and catalogue append-only.

Frozen: it says what the first edition made, whatever the tables of today look like. Later editions add revisions of their own.
"""

import sqlalchemy as sa
from alembic import op

from gateway.audit.guards import guard_changes as guard_log
from gateway.db.guards import keep_rows

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LEDGER = ("budget_ledger", "budget_entry", "budget_filter", "budget_limit")
CATALOGUE = ("dataset", "policy")


def upgrade() -> None:
    op.create_table(
        "audit_event",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=True),
        sa.Column("release", sa.String(length=64), nullable=True),
        sa.Column("ticket", sa.String(length=64), nullable=True),
        sa.Column("dataset", sa.String(length=64), nullable=True),
        sa.Column("token", sa.String(length=64), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("leaf_index", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
        sa.UniqueConstraint("leaf_index", name=op.f("uq_audit_event_leaf_index")),
    )
    op.create_index(
        "ix_audit_event_actor",
        "audit_event",
        ["actor", "id"],
        unique=False,
        postgresql_where=sa.text("actor IS NOT NULL"),
        sqlite_where=sa.text("actor IS NOT NULL"),
    )
    op.create_index(
        "ix_audit_event_dataset",
        "audit_event",
        ["dataset", "id"],
        unique=False,
        postgresql_where=sa.text("dataset IS NOT NULL"),
        sqlite_where=sa.text("dataset IS NOT NULL"),
    )
    op.create_index(
        "ix_audit_event_pending",
        "audit_event",
        ["id"],
        unique=False,
        postgresql_where=sa.text("leaf_index IS NULL"),
        sqlite_where=sa.text("leaf_index IS NULL"),
    )
    op.create_index(
        "ix_audit_event_release",
        "audit_event",
        ["release", "id"],
        unique=False,
        postgresql_where=sa.text("release IS NOT NULL"),
        sqlite_where=sa.text("release IS NOT NULL"),
    )
    op.create_index(
        "ix_audit_event_ticket",
        "audit_event",
        ["ticket", "id"],
        unique=False,
        postgresql_where=sa.text("ticket IS NOT NULL"),
        sqlite_where=sa.text("ticket IS NOT NULL"),
    )
    op.create_index(
        "ix_audit_event_token",
        "audit_event",
        ["token", "id"],
        unique=False,
        postgresql_where=sa.text("token IS NOT NULL"),
        sqlite_where=sa.text("token IS NOT NULL"),
    )
    op.create_table(
        "budget_ledger",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("opened_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_budget_ledger")),
    )
    op.create_table(
        "checkpoint",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_checkpoint")),
    )
    op.create_table(
        "data_key",
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("wrapping_key_id", sa.String(length=256), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("destroyed_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_data_key")),
    )
    op.create_table(
        "dataset",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("card", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=2048), nullable=False),
        sa.Column("source_digest", sa.String(length=64), nullable=True),
        sa.Column("registered_at", INSTANT, nullable=False),
        sa.Column("registered_by", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_dataset")),
    )
    op.create_table(
        "download_count",
        sa.Column("release_id", sa.String(length=64), nullable=False),
        sa.Column("principal", sa.String(length=128), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("release_id", "principal", name=op.f("pk_download_count")),
    )
    op.create_table(
        "gateway_key",
        sa.Column("kid", sa.String(length=43), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("slot", sa.String(length=32), nullable=True),
        sa.Column("jwk", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("activated_at", INSTANT, nullable=True),
        sa.Column("retires_at", INSTANT, nullable=True),
        sa.Column("retired_at", INSTANT, nullable=True),
        sa.Column("verifies_until", INSTANT, nullable=True),
        sa.Column("destroyed_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_gateway_key")),
        sa.UniqueConstraint("slot", name=op.f("uq_gateway_key_slot")),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("requested_by", sa.String(length=128), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("requested_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_table(
        "policy",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("applied_at", INSTANT, nullable=False),
        sa.Column("applied_by", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_policy")),
        sa.UniqueConstraint("name", "digest", name=op.f("uq_policy_name_digest")),
    )
    op.create_table(
        "principal",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("folded", sa.String(length=128), nullable=False),
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("disabled_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_principal")),
        sa.UniqueConstraint("folded", name=op.f("uq_principal_folded")),
    )
    op.create_index(op.f("ix_principal_account_id"), "principal", ["account_id"], unique=False)
    op.create_table(
        "pseudonym_key",
        sa.Column("principal", sa.String(length=256), nullable=False),
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("principal", name=op.f("pk_pseudonym_key")),
    )
    op.create_table(
        "release",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("principal", sa.String(length=128), nullable=False),
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("ticket", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(length=64), nullable=False),
        sa.Column("dataset_version", sa.Integer(), nullable=True),
        sa.Column("policy", sa.String(length=64), nullable=True),
        sa.Column("policy_version", sa.Integer(), nullable=True),
        sa.Column("policy_digest", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=64), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("signed_request", sa.String(length=32768), nullable=False),
        sa.Column("ticket_snapshot", sa.Text(), nullable=True),
        sa.Column("ticket_checked_at", INSTANT, nullable=True),
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("report_card", sa.Text(), nullable=True),
        sa.Column("report_card_digest", sa.String(length=64), nullable=True),
        sa.Column("spent", sa.Text(), nullable=True),
        sa.Column("generator_version", sa.String(length=64), nullable=True),
        sa.Column("manifest_digest", sa.String(length=64), nullable=True),
        sa.Column("released_event_id", sa.String(length=64), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("requested_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("released_at", INSTANT, nullable=True),
        sa.Column("expires_at", INSTANT, nullable=True),
        sa.Column("closed_at", INSTANT, nullable=True),
        sa.Column("close_reason", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_release")),
    )
    op.create_index(op.f("ix_release_dataset"), "release", ["dataset"], unique=False)
    op.create_index(op.f("ix_release_principal"), "release", ["principal"], unique=False)
    op.create_index("ix_release_requested_at_id", "release", ["requested_at", "id"], unique=False)
    op.create_index(op.f("ix_release_status"), "release", ["status"], unique=False)
    op.create_index(op.f("ix_release_ticket"), "release", ["ticket"], unique=False)
    op.create_table(
        "release_token",
        sa.Column("jti", sa.String(length=64), nullable=False),
        sa.Column("release_id", sa.String(length=64), nullable=False),
        sa.Column("principal", sa.String(length=128), nullable=False),
        sa.Column("ticket", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(length=64), nullable=False),
        sa.Column("policy_digest", sa.String(length=64), nullable=False),
        sa.Column("manifest_digest", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key_thumbprint", sa.String(length=43), nullable=True),
        sa.Column("jkt", sa.String(length=43), nullable=True),
        sa.Column("gateway_kid", sa.String(length=43), nullable=False),
        sa.Column("max_downloads", sa.Integer(), nullable=False),
        sa.Column("issued_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("jti", name=op.f("pk_release_token")),
    )
    op.create_index(op.f("ix_release_token_dataset"), "release_token", ["dataset"], unique=False)
    op.create_index(op.f("ix_release_token_key_thumbprint"), "release_token", ["key_thumbprint"], unique=False)
    op.create_index(op.f("ix_release_token_principal"), "release_token", ["principal"], unique=False)
    op.create_index(op.f("ix_release_token_release_id"), "release_token", ["release_id"], unique=False)
    op.create_index(op.f("ix_release_token_ticket"), "release_token", ["ticket"], unique=False)
    op.create_table(
        "revocation",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("revoked_at", INSTANT, nullable=False),
        sa.Column("revoked_by", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revocation")),
    )
    op.create_index("ix_revocation_kind_subject", "revocation", ["kind", "subject"], unique=False)
    op.create_table(
        "ticket",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(length=64), nullable=True),
        sa.Column("assignee", sa.String(length=128), nullable=True),
        sa.Column("approver", sa.String(length=128), nullable=True),
        sa.Column("approved_at", INSTANT, nullable=True),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_ticket")),
    )
    op.create_table(
        "tile",
        sa.Column("key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(length=8192), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_tile")),
    )
    op.create_table(
        "used_jti",
        sa.Column("issuer", sa.String(length=160), nullable=False),
        sa.Column("jti", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("used_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("issuer", "jti", name=op.f("pk_used_jti")),
    )
    op.create_index(op.f("ix_used_jti_expires_at"), "used_jti", ["expires_at"], unique=False)
    op.create_table(
        "worker",
        sa.Column("executor", sa.String(length=128), nullable=False),
        sa.Column("beat_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("executor", name=op.f("pk_worker")),
    )
    op.create_table(
        "artifact",
        sa.Column("release_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("media_type", sa.String(length=128), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("location", sa.String(length=512), nullable=False),
        sa.Column("audience", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["release.id"], name=op.f("fk_artifact_release_id_release")),
        sa.PrimaryKeyConstraint("release_id", "name", name=op.f("pk_artifact")),
    )
    op.create_index(op.f("ix_artifact_sha256"), "artifact", ["sha256"], unique=False)
    op.create_table(
        "budget_entry",
        sa.Column("id", COUNTER, autoincrement=True, nullable=False),
        sa.Column("entry_id", sa.String(length=64), nullable=False),
        sa.Column("ledger", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("settles", sa.String(length=64), nullable=True),
        sa.Column("release_id", sa.String(length=64), nullable=False),
        sa.Column("principal", sa.String(length=128), nullable=False),
        sa.Column("scope", sa.String(length=32), nullable=False),
        sa.Column("unit", sa.String(length=128), nullable=False),
        sa.Column("neighbours", sa.String(length=16), nullable=True),
        sa.Column("method", sa.String(length=256), nullable=False),
        sa.Column("epsilon", sa.String(64), nullable=True),
        sa.Column("delta", sa.String(64), nullable=True),
        sa.Column("rho", sa.String(64), nullable=True),
        sa.Column("rdp", sa.Text(), nullable=True),
        sa.Column("failure_delta", sa.String(64), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["ledger"], ["budget_ledger.name"], name=op.f("fk_budget_entry_ledger_budget_ledger")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_entry")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_budget_entry_entry_id")),
        sa.UniqueConstraint("settles", name=op.f("uq_budget_entry_settles")),
    )
    op.create_index(op.f("ix_budget_entry_dataset"), "budget_entry", ["dataset"], unique=False)
    op.create_index(op.f("ix_budget_entry_ledger"), "budget_entry", ["ledger"], unique=False)
    op.create_index(op.f("ix_budget_entry_release_id"), "budget_entry", ["release_id"], unique=False)
    op.create_table(
        "budget_filter",
        sa.Column("id", COUNTER, autoincrement=True, nullable=False),
        sa.Column("ledger", sa.String(length=64), nullable=False),
        sa.Column("epsilon", sa.String(64), nullable=False),
        sa.Column("delta", sa.String(64), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("order", sa.String(64), nullable=True),
        sa.Column("at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["ledger"], ["budget_ledger.name"], name=op.f("fk_budget_filter_ledger_budget_ledger")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_filter")),
    )
    op.create_index("ix_budget_filter_ledger", "budget_filter", ["ledger"], unique=False)
    op.create_table(
        "budget_limit",
        sa.Column("id", COUNTER, autoincrement=True, nullable=False),
        sa.Column("ledger", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("proposal", COUNTER, nullable=True),
        sa.Column("document_epsilon", sa.String(64), nullable=True),
        sa.Column("document_delta", sa.String(64), nullable=True),
        sa.Column("epsilon", sa.String(64), nullable=True),
        sa.Column("delta", sa.String(64), nullable=True),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.String(length=2000), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["ledger"], ["budget_ledger.name"], name=op.f("fk_budget_limit_ledger_budget_ledger")),
        sa.ForeignKeyConstraint(["proposal"], ["budget_limit.id"], name=op.f("fk_budget_limit_proposal_budget_limit")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_limit")),
        sa.UniqueConstraint("proposal", name=op.f("uq_budget_limit_proposal")),
    )
    op.create_index(op.f("ix_budget_limit_ledger"), "budget_limit", ["ledger"], unique=False)
    op.create_table(
        "download",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("jti", sa.String(length=64), nullable=False),
        sa.Column("artifact", sa.String(length=128), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("promised", sa.BigInteger(), nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["jti"], ["release_token.jti"], name=op.f("fk_download_jti_release_token")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_download")),
        sa.UniqueConstraint("jti", "artifact", "number", name=op.f("uq_download_jti_artifact_number")),
    )
    op.create_table(
        "principal_key",
        sa.Column("thumbprint", sa.String(length=43), nullable=False),
        sa.Column("principal", sa.String(length=128), nullable=False),
        sa.Column("algorithm", sa.String(length=8), nullable=False),
        sa.Column("jwk", sa.Text(), nullable=False),
        sa.Column("added_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=True),
        sa.Column("disabled_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["principal"], ["principal.name"], name=op.f("fk_principal_key_principal_principal")),
        sa.PrimaryKeyConstraint("thumbprint", name=op.f("pk_principal_key")),
    )
    op.create_index(op.f("ix_principal_key_principal"), "principal_key", ["principal"], unique=False)
    op.create_table(
        "release_fingerprint",
        sa.Column("release_id", sa.String(length=64), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["release.id"], name=op.f("fk_release_fingerprint_release_id_release")),
        sa.PrimaryKeyConstraint("release_id", "fence", name=op.f("pk_release_fingerprint")),
    )
    op.create_table(
        "review_vote",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("release_id", sa.String(length=64), nullable=False),
        sa.Column("reviewer", sa.String(length=128), nullable=False),
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("approve", sa.Integer(), nullable=False),
        sa.Column("comment", sa.String(length=4000), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["release.id"], name=op.f("fk_review_vote_release_id_release")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_vote")),
        sa.UniqueConstraint("release_id", "account_id", name=op.f("uq_review_vote_release_id_account_id")),
    )
    op.create_index(op.f("ix_review_vote_release_id"), "review_vote", ["release_id"], unique=False)

    connection = op.get_bind()
    guard_log(connection)
    keep_rows(connection, "budget", LEDGER, what="the privacy ledger")
    keep_rows(connection, "catalogue", CATALOGUE, what="the catalogue")


def downgrade() -> None:
    raise RuntimeError("the first schema is not taken down: remove the database instead")
