"""Guessing teaches nothing: whatever is wrong, the answer is the same, and so is the work behind it."""

from __future__ import annotations

import itertools
import string
from datetime import UTC, datetime, timedelta

import pytest

from gateway.access import (
    Downloads,
    GatewayKeys,
    Lifetime,
    PassphraseSealing,
    Principals,
    ReleaseTokens,
    ReplayGuard,
    Revocations,
    TokenSubject,
    answer_token_request,
    client_assertion,
    generate_keypair,
    sign_request,
    verify_client_assertion,
    verify_release_request,
)
from gateway.access import jws as door
from gateway.db import Database, create_schema
from gateway.errors import NotAuthenticated, TokenRefused, status_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ISSUER = "https://gate.example"


@pytest.fixture
def house(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'uniform.db'}")
    create_schema(database)
    with database.begin() as work:
        yield House(work)
    database.dispose()


class House:
    def __init__(self, work):
        self.work, self.ana, self.gone = work, generate_keypair(), generate_keypair()
        self.principals = Principals(work)
        self.principals.add("ana", roles=["analyst"], key=self.ana.public, now=NOW)
        self.principals.add("gone", roles=["analyst"], key=self.gone.public, now=NOW)
        self.principals.disable("gone", now=NOW)
        self.keys = GatewayKeys(work, PassphraseSealing(b"correct horse battery", work_factor=2))
        self.keys.ensure(NOW)
        self.tokens = ReleaseTokens(work, issuer=ISSUER)

    def issue(self, release="r-1"):
        signer = self.keys.signer("token")
        life = Lifetime(policy_ttl=timedelta(minutes=5), release_expires_at=None, ticket_valid_until=None, key_retires_at=None)
        subject = TokenSubject(
            release=release,
            principal="ana",
            ticket="DATA-1",
            dataset="adult",
            policy_digest="a",
            manifest_digest="b",
            artifacts=("data.csv",),
            key_thumbprint=self.ana.thumbprint,
        )
        return self.tokens.issue(subject, lifetime=life, max_downloads=1, signer=signer, now=NOW)


def face(error):
    """Everything of an error that leaves the house."""
    return (type(error), str(error), error.slug, error.title, error.unlock, status_of(error), error.exit_code)


def test_requests_of_the_unknown_the_disabled_and_the_forged_look_the_same(house):
    stranger = generate_keypair()
    cases = {
        "unknown principal": ("nobody", stranger),
        "known principal, unknown key": ("ana", stranger),
        "disabled principal": ("gone", house.gone),
        "another's name": ("gone", house.ana),
    }
    faces = set()
    for name, key in cases.values():
        raw = sign_request(principal=name, audience=ISSUER, request={}, private_key=key, now=NOW).encode()
        with pytest.raises(NotAuthenticated) as refused:
            verify_release_request(raw, find_key=house.principals.key_of, audience=ISSUER, now=NOW)
        faces.add(face(refused.value))
    assert len(faces) == 1


def test_clients_unknown_disabled_and_forged_look_the_same(house):
    stranger, bodies = generate_keypair(), set()
    for name, key in (("nobody", stranger), ("ana", stranger), ("gone", house.gone), ("x" * 4000, stranger)):
        form = {
            "grant_type": ["client_credentials"],
            "client_assertion_type": ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"],
            "client_assertion": [client_assertion(principal=name, audience=ISSUER, private_key=key, now=NOW)],
        }
        answer = answer_token_request(
            form,
            find_principal=house.principals.find,
            replay=ReplayGuard(house.work),
            signer=house.keys.signer("token"),
            issuer=ISSUER,
            endpoint=ISSUER + "/oauth/token",
            now=NOW,
        )
        bodies.add((answer.status, str(answer.body())))
    assert bodies == {(401, "{'error': 'invalid_client'}")}


def test_tokens_dead_in_every_way_look_the_same(house):
    def refused(token, now=NOW, **use):
        with pytest.raises(TokenRefused) as caught:
            house.tokens.check(token, **{"release": "r-1", "artifact": "data.csv", "keys": house.keys, "now": now, **use})
        return face(caught.value)

    used, withdrawn, other = house.issue(), house.issue("r-2"), house.issue()
    facts = house.tokens.check(used.token, release="r-1", artifact="data.csv", keys=house.keys, now=NOW)
    begin = {"artifact": "data.csv", "counts": True, "has_range": False, "length": 1, "size": 1, "now": NOW}
    Downloads(house.work).begin(facts, **begin)
    with pytest.raises(TokenRefused) as used_up:
        Downloads(house.work).begin(facts, **begin)
    Revocations(house.work).add("release", "r-2", by="x", now=NOW)
    faces = {
        face(used_up.value),
        refused(withdrawn.token, release="r-2"),
        refused(other.token, release="r-3"),
        refused(other.token, artifact="other"),
        refused(other.token, now=NOW + timedelta(hours=1)),
        refused(other.token[:-86] + "A" * 86),
        refused(""),
    }
    house.principals.disable("ana", now=NOW)
    faces.add(refused(other.token))
    assert len(faces) == 1


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256"])
def test_an_unknown_key_costs_a_signature_check(house, monkeypatch, algorithm):
    """Counted where the library verifies: one real check, whoever the caller claims to be."""
    known, unknown, checked = generate_keypair(algorithm), generate_keypair(algorithm), []
    house.principals.add_key("ana", known.public, now=NOW)
    implementation = type(door._LIBRARY.get_algorithm_by_name(algorithm))
    original = implementation.verify

    def counting(self, message, key, signature):
        checked.append(original(self, message, key, signature))
        return checked[-1]

    monkeypatch.setattr(implementation, "verify", counting)
    for name, key in (("nobody", unknown), ("ana", unknown)):
        raw = sign_request(principal=name, audience=ISSUER, request={}, private_key=key, now=NOW)
        forged = raw[:-86] + sign_request(principal="x", audience="x", request={}, private_key=known, now=NOW)[-86:]
        with pytest.raises(NotAuthenticated):
            verify_release_request(forged.encode(), find_key=house.principals.key_of, audience=ISSUER, now=NOW)
        assertion = client_assertion(principal=name, audience=ISSUER, private_key=unknown, now=NOW)
        with pytest.raises(NotAuthenticated):
            verify_client_assertion(
                assertion, find_principal=house.principals.find, audiences=(ISSUER,), replay=ReplayGuard(house.work), now=NOW
            )
    assert checked == [False] * 4


def test_guessing_a_token_is_hopeless(house):
    """One bit of a signature or identifier changed never leads to another token; identifiers have 128 random bits."""
    token = house.issue()
    head, body, signature = token.token.split(".")
    alphabet = string.ascii_letters + string.digits + "-_"
    for position, letter in itertools.product((0, 20, 50, 85), alphabet):
        guess = signature[:position] + letter + signature[position + 1 :]
        if guess != signature:
            with pytest.raises(TokenRefused):
                house.tokens.check(f"{head}.{body}.{guess}", release="r-1", artifact="data.csv", keys=house.keys, now=NOW)
    assert len(token.jti) == 32
    assert len({house.issue().jti for _ in range(50)}) == 50


def test_nothing_of_a_token_stands_in_its_error(house):
    token = house.issue().token
    with pytest.raises(TokenRefused) as refused:
        house.tokens.check(token + "x", release="r-1", artifact="data.csv", keys=house.keys, now=NOW)
    seen = repr(refused.value) + str(refused.value.__dict__) + repr(refused.value.__cause__) + repr(refused.value.__notes__)
    assert not any(part in seen for part in token.split("."))
