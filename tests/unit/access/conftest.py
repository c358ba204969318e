"""A database with one analyst, one compliance officer, and the gateway's keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from gateway.access import (
    Downloads,
    GatewayKeys,
    IssuedToken,
    Lifetime,
    PassphraseSealing,
    Principals,
    PrivateKey,
    ReleaseTokens,
    ReplayGuard,
    Revocations,
    TokenSubject,
    generate_keypair,
    issue_access_token,
    verify_access_token,
)
from gateway.db import Database, Work, create_schema

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
ISSUER = "https://gate.example"


@dataclass
class House:
    work: Work
    ana: PrivateKey
    carl: PrivateKey
    sealing: PassphraseSealing
    now: datetime = NOW
    issuer: str = ISSUER

    @property
    def principals(self) -> Principals:
        return Principals(self.work)

    @property
    def keys(self) -> GatewayKeys:
        return GatewayKeys(self.work, self.sealing)

    @property
    def tokens(self) -> ReleaseTokens:
        return ReleaseTokens(self.work, issuer=ISSUER)

    @property
    def downloads(self) -> Downloads:
        return Downloads(self.work)

    @property
    def revocations(self) -> Revocations:
        return Revocations(self.work)

    @property
    def replay(self) -> ReplayGuard:
        return ReplayGuard(self.work)

    def subject(self, *, release: str = "r-1", jkt: str | None = None) -> TokenSubject:
        return TokenSubject(
            release=release,
            principal="ana",
            ticket="DATA-1",
            dataset="adult",
            policy_digest="a" * 64,
            manifest_digest="b" * 64,
            artifacts=("data.csv", "manifest.json"),
            key_thumbprint=self.ana.thumbprint,
            jkt=jkt,
        )

    def issue(self, *, release: str = "r-1", jkt: str | None = None, max_downloads: int = 3, now: datetime = NOW) -> IssuedToken:
        signer = self.keys.signer("token")
        life = Lifetime(
            policy_ttl=timedelta(minutes=15), release_expires_at=None, ticket_valid_until=None, key_retires_at=signer.retires_at
        )
        subject = self.subject(release=release, jkt=jkt)
        return self.tokens.issue(subject, lifetime=life, max_downloads=max_downloads, signer=signer, now=now)

    def check(self, token: IssuedToken, *, release: str = "r-1", artifact: str = "data.csv", now: datetime = NOW, proof=None):
        return self.tokens.check(token.token, release=release, artifact=artifact, keys=self.keys, now=now, proof=proof)

    def access(self, name: str, key: PrivateKey, *, scopes: set[str], now: datetime = NOW, jkt: str | None = None):
        principal = self.principals.get(name)
        return issue_access_token(
            principal=principal,
            key_thumbprint=key.thumbprint,
            scopes=scopes,
            issuer=ISSUER,
            signer=self.keys.signer("token"),
            now=now,
            jkt=jkt,
        )

    def verify_access(self, raw: str, *, now: datetime = NOW, proof=None):
        return verify_access_token(
            raw,
            issuer=ISSUER,
            keys=self.keys,
            find_principal=self.principals.find,
            revocations=self.revocations,
            replay=self.replay,
            now=now,
            proof=proof,
        )


@pytest.fixture(scope="session")
def database(tmp_path_factory) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path_factory.mktemp('access') / 'access.db'}")
    create_schema(made)
    yield made
    made.dispose()


@pytest.fixture
def house(database: Database) -> Iterator[House]:
    """Everything happens in one transaction that is rolled back."""
    with database.begin() as work:
        made = House(
            work, generate_keypair(), generate_keypair("ES256"), PassphraseSealing(b"correct horse battery", work_factor=2)
        )
        made.principals.add("ana", roles=["analyst"], key=made.ana.public, now=NOW)
        made.principals.add("carl", roles=["compliance", "security"], key=made.carl.public, now=NOW)
        made.keys.ensure(NOW)
        yield made
