"""Principals, their keys, the gateway's keys, one-time identifiers, release tokens, downloads and revocations.

Invariants:
    - A public key belongs to one principal for ever: its thumbprint is the primary key, and rows are disabled, not deleted.
    - (`issuer`, `jti`) is unique: whoever inserts it first has used it.
    - Private keys stand here sealed only; a destroyed key has none.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, UniqueConstraint

from gateway.db.metadata import Instant, Json, metadata

__all__ = ["download", "download_count", "gateway_key", "principal", "principal_key", "release_token", "revocation", "used_jti"]

principal = Table(
    "principal",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("folded", String(128), nullable=False, unique=True),
    Column("account_id", String(128), nullable=False, index=True),
    Column("roles", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("disabled_at", Instant),
)

principal_key = Table(
    "principal_key",
    metadata,
    Column("thumbprint", String(43), primary_key=True),
    Column("principal", String(128), ForeignKey("principal.name"), nullable=False, index=True),
    Column("algorithm", String(8), nullable=False),
    Column("jwk", Json, nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("disabled_at", Instant),
)

gateway_key = Table(
    "gateway_key",
    metadata,
    Column("kid", String(43), primary_key=True),
    Column("purpose", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("slot", String(32), unique=True),  # "purpose/state" while next or active: there is one of each
    Column("jwk", Json, nullable=False),
    Column("sealed", LargeBinary),
    Column("created_at", Instant, nullable=False),
    Column("activated_at", Instant),
    Column("retires_at", Instant),
    Column("retired_at", Instant),
    Column("verifies_until", Instant),
    Column("destroyed_at", Instant),
)

used_jti = Table(
    "used_jti",
    metadata,
    Column("issuer", String(160), primary_key=True),
    Column("jti", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("request_id", String(64)),
    Column("expires_at", Instant, nullable=False, index=True),
    Column("used_at", Instant, nullable=False),
)

release_token = Table(
    "release_token",
    metadata,
    Column("jti", String(64), primary_key=True),
    Column("release_id", String(64), nullable=False, index=True),
    Column("principal", String(128), nullable=False, index=True),
    Column("ticket", String(64), nullable=False, index=True),
    Column("dataset", String(64), nullable=False, index=True),
    Column("policy_digest", String(64), nullable=False),
    Column("manifest_digest", String(64), nullable=False),
    Column("scope", Json, nullable=False),
    Column("key_thumbprint", String(43), index=True),
    Column("jkt", String(43)),
    Column("gateway_kid", String(43), nullable=False),
    Column("max_downloads", Integer, nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
)

download_count = Table(
    "download_count",
    metadata,
    Column("release_id", String(64), primary_key=True),
    Column("principal", String(128), primary_key=True),
    Column("used", Integer, nullable=False),
)

download = Table(
    "download",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("jti", String(64), ForeignKey("release_token.jti"), nullable=False),
    Column("artifact", String(128), nullable=False),
    Column("number", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("promised", BigInteger, nullable=False),
    Column("started_at", Instant, nullable=False),
    UniqueConstraint("jti", "artifact", "number"),
)

revocation = Table(
    "revocation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("revoked_at", Instant, nullable=False),
    Column("revoked_by", String(128), nullable=False),
    Column("reason", String(500), nullable=False),
    Index("ix_revocation_kind_subject", "kind", "subject"),
)
