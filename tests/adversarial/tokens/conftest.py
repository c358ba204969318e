"""A forge for each purpose: a message that is accepted, and every part of it open to be bent."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.access import (
    Downloads,
    GatewayKeys,
    Lifetime,
    PassphraseSealing,
    Principals,
    PrivateKey,
    ProofContext,
    ReleaseTokens,
    ReplayGuard,
    Revocations,
    TokenSubject,
    dpop_proof,
    generate_keypair,
    issue_access_token,
    verify_access_token,
    verify_client_assertion,
    verify_release_request,
)
from gateway.access.proofs import verify_proof
from gateway.db import Database, Work, create_schema
from gateway.telemetry import utc_now

ISSUER = "https://gate.example"
URL = f"{ISSUER}/v1/releases/r-1/artifacts/data.csv"
PURPOSES = ("request", "assertion", "access", "release", "proof")


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Forge:
    """Makes messages of one purpose.

    `bytes_of` writes JSON; `token` signs whatever it is given, so that a hostile message is well signed unless its point is
    that it is not.
    """

    purpose: str
    header: dict[str, Any]
    claims: dict[str, Any]
    key: PrivateKey
    stranger: PrivateKey
    neighbour: PrivateKey
    open: Callable[[bytes], object]
    now: datetime
    extra: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def bytes_of(document: Any) -> bytes:
        return json.dumps(document, separators=(",", ":")).encode()

    def token(
        self,
        *,
        header: dict[str, Any] | bytes | None = None,
        claims: dict[str, Any] | bytes | None = None,
        key: PrivateKey | None = None,
        drop: tuple[str, ...] = (),
        drop_header: tuple[str, ...] = (),
        signature: bytes | None = None,
    ) -> bytes:
        """The base message with members added, replaced or dropped."""
        head = header if isinstance(header, bytes) else self.bytes_of(self._merge(self.header, header, drop_header))
        body = claims if isinstance(claims, bytes) else self.bytes_of(self._merge(self.claims, claims, drop))
        signing_input = f"{b64(head)}.{b64(body)}".encode()
        signed = (key or self.key).sign_bytes(signing_input) if signature is None else signature
        return signing_input + b"." + b64(signed).encode()

    @staticmethod
    def _merge(base: dict[str, Any], patch: dict[str, Any] | None, drop: tuple[str, ...]) -> dict[str, Any]:
        return {name: value for name, value in {**base, **(patch or {})}.items() if name not in drop}

    def at(self, seconds: int) -> int:
        return int((self.now + timedelta(seconds=seconds)).timestamp())


@dataclass
class House:
    work: Work
    now: datetime
    ana: PrivateKey
    bob: PrivateKey
    keys: GatewayKeys
    principals: Principals
    tokens: ReleaseTokens
    downloads: Downloads
    replay: ReplayGuard


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Iterator[Database]:
    folder: Path = tmp_path_factory.mktemp("tokens")
    made = Database(f"sqlite:///{folder / 'tokens.db'}")
    create_schema(made)
    yield made
    made.dispose()


@pytest.fixture
def house(database: Database) -> Iterator[House]:
    now = utc_now()
    with database.begin() as work:
        principals, keys = Principals(work), GatewayKeys(work, PassphraseSealing(b"correct horse battery", work_factor=2))
        ana, bob = generate_keypair(), generate_keypair()
        principals.add("ana", roles=["analyst"], key=ana.public, now=now)
        principals.add("bob", roles=["analyst", "compliance"], key=bob.public, now=now)
        keys.ensure(now)
        yield House(work, now, ana, bob, keys, principals, ReleaseTokens(work, issuer=ISSUER), Downloads(work), ReplayGuard(work))


def registered(now: datetime) -> dict[str, Any]:
    second = int(now.timestamp())
    return {"iss": "ana", "aud": ISSUER, "iat": second, "exp": second + 300, "jti": "0123456789abcdef0123"}


def request_forge(house: House, key: PrivateKey) -> Forge:
    claims = {
        **registered(house.now),
        "ticket": "DATA-101",
        "dataset": "adult",
        "purpose": "testing",
        "rows": 100,
        "format": "csv",
        "generator": {"name": "dp-marginal", "epsilon": "1.0"},
    }
    return Forge(
        purpose="request",
        header={"alg": key.algorithm, "typ": "release-request+jwt", "kid": key.thumbprint},
        claims=claims,
        key=key,
        stranger=generate_keypair(key.algorithm),
        neighbour=house.bob,
        open=lambda raw: verify_release_request(raw, find_key=house.principals.key_of, audience=ISSUER, now=house.now),
        now=house.now,
    )


def assertion_forge(house: House, key: PrivateKey) -> Forge:
    return Forge(
        purpose="assertion",
        header={"alg": key.algorithm, "typ": "JWT", "kid": key.thumbprint},
        claims={**registered(house.now), "sub": "ana"},
        key=key,
        stranger=generate_keypair(key.algorithm),
        neighbour=house.bob,
        open=lambda raw: verify_client_assertion(
            raw.decode("latin-1"), find_principal=house.principals.find, audiences=(ISSUER,), replay=house.replay, now=house.now
        ),
        now=house.now,
    )


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    head, body, _ = token.split(".")
    first, second = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, body))
    return first, second


def access_forge(house: House) -> Forge:
    signer = house.keys.signer("token")
    issued = issue_access_token(
        principal=house.principals.get("ana"),
        key_thumbprint=house.ana.thumbprint,
        scopes={"requests:read"},
        issuer=ISSUER,
        signer=signer,
        now=house.now,
    )
    header, claims = parts(issued.token)

    def check(raw: bytes) -> object:
        return verify_access_token(
            raw.decode("latin-1"),
            issuer=ISSUER,
            keys=house.keys,
            find_principal=house.principals.find,
            revocations=Revocations(house.work),
            replay=house.replay,
            now=house.now,
        )

    return Forge("access", header, claims, signer.private_key, generate_keypair(), house.ana, check, house.now)


def release_forge(house: House) -> Forge:
    signer = house.keys.signer("token")
    subject = TokenSubject(
        release="r-1",
        principal="ana",
        ticket="DATA-101",
        dataset="adult",
        policy_digest="a" * 64,
        manifest_digest="b" * 64,
        artifacts=("data.csv", "manifest.json"),
        key_thumbprint=house.ana.thumbprint,
    )
    lifetime = Lifetime(
        policy_ttl=timedelta(minutes=15), release_expires_at=None, ticket_valid_until=None, key_retires_at=signer.retires_at
    )
    issued = house.tokens.issue(subject, lifetime=lifetime, max_downloads=3, signer=signer, now=house.now)
    header, claims = parts(issued.token)

    def check(raw: bytes) -> object:
        return house.tokens.check(raw.decode("latin-1"), release="r-1", artifact="data.csv", keys=house.keys, now=house.now)

    return Forge("release", header, claims, signer.private_key, generate_keypair(), house.ana, check, house.now)


def proof_forge(house: House, key: PrivateKey) -> Forge:
    header, claims = parts(dpop_proof(method="GET", url=URL, private_key=key, now=house.now, token="some.access.token"))

    def check(raw: bytes) -> object:
        context = ProofContext(raw.decode("latin-1"), "GET", URL)
        jkt = verify_proof(context, token="some.access.token", replay=house.replay, now=house.now)
        if jkt != key.thumbprint:  # as every caller compares
            message = "a proof of another key"
            raise AssertionError(message)
        return jkt

    return Forge("proof", header, claims, key, generate_keypair(key.algorithm), house.bob, check, house.now)


def forge_of(house: House, purpose: str, algorithm: str = "EdDSA") -> Forge:
    key = house.ana
    if algorithm == "ES256":
        key = generate_keypair("ES256")
        house.principals.add_key("ana", key.public, now=house.now)
    match purpose:
        case "request":
            return request_forge(house, key)
        case "assertion":
            return assertion_forge(house, key)
        case "proof":
            return proof_forge(house, key)
        case "access":
            return access_forge(house)
        case _:
            return release_forge(house)


@pytest.fixture
def forge(house: House) -> Callable[..., Forge]:
    """forge(purpose) → a forge of that purpose in a fresh house."""
    return lambda purpose, algorithm="EdDSA": forge_of(house, purpose, algorithm)
