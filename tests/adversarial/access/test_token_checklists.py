"""Two checklists walked point by point: OWASP ASVS 5.0, chapter V9 (self-contained tokens), and RFC 8725 (JWT best practice).

Every point has a test here that fails when the point is given up; `POINTS` and the test names are held equal, so that no
point can be dropped quietly. Points that do not apply say why.
"""

from __future__ import annotations

import inspect
import json
import socket
import sys
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from gateway.access import (
    GatewayKeys,
    Lifetime,
    PassphraseSealing,
    Principals,
    ReleaseTokens,
    TokenSubject,
    client_assertion,
    generate_keypair,
    reason_of,
    sign_request,
    verify_release_request,
)
from gateway.access import jws as door
from gateway.access.jws import ACCESS_TOKEN, CLIENT_ASSERTION, DPOP_PROOF, RELEASE_REQUEST, RELEASE_TOKEN
from gateway.access.public_keys import encode_segment
from gateway.db import Database, create_schema
from gateway.errors import InvalidRequest, NotAuthenticated, TokenRefused

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ISSUER = "https://gate.example"
PROFILES = (ACCESS_TOKEN, CLIENT_ASSERTION, DPOP_PROOF, RELEASE_REQUEST, RELEASE_TOKEN)
REQUEST = {
    "ticket": "DATA-1",
    "dataset": "adult",
    "purpose": "testing",
    "rows": 10,
    "format": "csv",
    "generator": {"name": "dp-marginal", "epsilon": "1"},
}

POINTS = {
    "V9.1.1": "signature verified before the content of a token is used",
    "V9.1.2": "only algorithms of an allow list, never none",
    "V9.1.3": "key material from a trusted place only; jku, x5u, jwk do not lead elsewhere",
    "V9.2.1": "the time span of a token is verified",
    "V9.2.2": "the type and purpose of a token are verified",
    "V9.2.3": "the audience is verified",
    "V9.2.4": "tokens for several audiences under one key are restricted to theirs",
    "RFC8725-3.1": "algorithm verification: one key, one algorithm",
    "RFC8725-3.2": "appropriate algorithms",
    "RFC8725-3.3": "all cryptographic operations validated",
    "RFC8725-3.4": "cryptographic inputs validated (points on their curve)",
    "RFC8725-3.5": "keys of sufficient entropy",
    "RFC8725-3.6": "no compression before encryption",
    "RFC8725-3.7": "UTF-8 and nothing else",
    "RFC8725-3.8": "issuer and subject belong to the key",
    "RFC8725-3.9": "audience used and checked",
    "RFC8725-3.10": "received claims are not trusted (kid, jku)",
    "RFC8725-3.11": "explicit types",
    "RFC8725-3.12": "mutually exclusive rules for kinds of tokens",
}


@pytest.fixture
def house(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'checklist.db'}")
    create_schema(database)
    with database.begin() as work:
        yield House(work)
    database.dispose()


class House:
    def __init__(self, work):
        self.ana, self.bob = generate_keypair(), generate_keypair("ES256")
        self.principals = Principals(work)
        self.principals.add("ana", roles=["analyst"], key=self.ana.public, now=NOW)
        self.principals.add("bob", roles=["analyst"], key=self.bob.public, now=NOW)
        self.keys = GatewayKeys(work, PassphraseSealing(b"correct horse battery", work_factor=2))
        self.keys.ensure(NOW)
        self.tokens = ReleaseTokens(work, issuer=ISSUER)

    def request(self, **kwargs):
        settings = {"principal": "ana", "audience": ISSUER, "request": REQUEST, "private_key": self.ana, "now": NOW, **kwargs}
        return sign_request(**settings).encode()

    def verify(self, raw, *, now=NOW, find_key=None):
        return verify_release_request(raw, find_key=find_key or self.principals.key_of, audience=ISSUER, now=now)

    def refuses(self, raw, **kwargs):
        with pytest.raises(NotAuthenticated) as refused:
            self.verify(raw, **kwargs)
        return reason_of(refused.value)

    def rewritten(self, *, header=None, claims=None, key=None):
        """A request with other header members or claims, signed again."""
        key = key or self.ana
        head, body, _ = self.request().decode().split(".")
        old_header, old_claims = (json.loads(door.decode_segment(part)) for part in (head, body))
        parts = ({**old_header, **(header or {})}, {**old_claims, **(claims or {})})
        signing_input = ".".join(encode_segment(json.dumps(part).encode()) for part in parts)
        return f"{signing_input}.{encode_segment(key.sign_bytes(signing_input.encode()))}".encode()


def test_v9_1_1_signature_before_content(house):
    head, body, _ = house.request().split(b".")
    for forged in (head + b"." + body + b"." + b"A" * 86, house.request(private_key=house.bob, request={"x": 1})):
        assert house.refuses(forged) in {"signature", "issuer-of-another-key"}
    nonsense = sign_request(principal="ana", audience=ISSUER, request={"x": 1}, private_key=house.ana, now=NOW).encode()
    with pytest.raises(InvalidRequest):
        house.verify(nonsense)
    broken = nonsense[:-86] + b"A" * 86
    assert house.refuses(broken) == "signature", "an unsigned request is never told what is wrong with its content"


def test_v9_1_2_allow_list(house):
    for name in ("none", "None", "HS256", "RS256", "PS256", "ES384", "ES512", "Ed448"):
        assert house.refuses(house.rewritten(header={"alg": name})) == "algorithm"
    assert all(set(profile.names.values()) == {"EdDSA", "ES256"} for profile in PROFILES)


def test_v9_1_3_key_material_from_our_table_only(house, monkeypatch):
    def no_network(*_args, **_kwargs):
        pytest.fail("a token made us look elsewhere")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    stranger = generate_keypair()
    members = {
        "jku": "https://x.example",
        "x5u": "https://x.example",
        "jwk": dict(stranger.public.jwk),
        "x5c": ["AA"],
        "x5t": "AA",
    }
    for name, value in members.items():
        assert house.refuses(house.rewritten(header={name: value}, key=stranger)) == "header-members"
    assert house.refuses(house.rewritten(header={"kid": stranger.thumbprint}, key=stranger)) == "unknown-key"


def test_v9_2_1_time_span(house):
    raw = house.request()
    assert house.verify(raw, now=NOW + timedelta(seconds=299))
    assert house.refuses(raw, now=NOW + timedelta(seconds=300)) == "expired"
    assert house.refuses(raw, now=NOW - timedelta(seconds=61)) == "issued-in-the-future"
    second = int(NOW.timestamp())
    assert house.refuses(house.rewritten(claims={"exp": second + 301})) == "lifetime"
    assert house.refuses(house.rewritten(claims={"nbf": second + 120})) == "not-yet-valid"


def test_v9_2_2_type_and_purpose(house):
    types = [profile.types for profile in PROFILES]
    assert len(frozenset().union(*types)) == sum(len(each) for each in types), "no two purposes share a type"
    for name in ("at+jwt", "release+jwt", "dpop+jwt", "JWT"):
        assert house.refuses(house.rewritten(header={"typ": name})) == "type"


def test_v9_2_3_audience(house):
    for audience in ("https://other.example", ISSUER + "/", "", [ISSUER], None):
        assert house.refuses(house.rewritten(claims={"aud": audience})) == "audience"


def test_v9_2_4_one_key_several_audiences(house):
    signer = house.keys.signer("token")
    life = Lifetime(policy_ttl=timedelta(minutes=5), release_expires_at=None, ticket_valid_until=None, key_retires_at=None)
    subject = TokenSubject(
        release="r-1",
        principal="ana",
        ticket="DATA-1",
        dataset="adult",
        policy_digest="a",
        manifest_digest="b",
        artifacts=("data.csv",),
        key_thumbprint=house.ana.thumbprint,
    )
    token = house.tokens.issue(subject, lifetime=life, max_downloads=1, signer=signer, now=NOW).token
    elsewhere = ReleaseTokens(house.tokens._work, issuer="https://other.example")
    assert house.tokens.look_up(token, keys=house.keys, now=NOW)
    with pytest.raises(TokenRefused) as refused:
        elsewhere.look_up(token, keys=house.keys, now=NOW)
    assert reason_of(refused.value) == "audience"


def test_rfc8725_3_1_one_key_one_algorithm(house):
    assert house.refuses(house.rewritten(header={"alg": "ES256"})) == "algorithm-of-another-key"
    raw = house.rewritten(header={"alg": "EdDSA", "kid": house.bob.thumbprint}, key=house.bob)
    assert house.refuses(raw) == "algorithm-of-another-key"


def test_rfc8725_3_2_appropriate_algorithms():
    assert {generate_keypair(name).algorithm for name in ("EdDSA", "ES256")} == {"EdDSA", "ES256"}
    assert set(door._LIBRARY.get_algorithms()) == {"EdDSA", "ES256", "Ed25519"}, "the library here knows nothing else"


def test_rfc8725_3_3_every_operation_validated(house):
    """Nothing is nested or encrypted: one signature, verified in full, or nothing."""
    assert house.refuses(house.request() + b".AAAA.AAAA") == "shape"


def test_rfc8725_3_4_points_on_their_curve(house):
    for jwk in ({"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}, {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}):
        with pytest.raises(InvalidRequest):
            house.principals.add_key("ana", jwk, now=NOW)


def test_rfc8725_3_5_entropy():
    with pytest.raises(InvalidRequest):
        PassphraseSealing(b"password")
    assert len({generate_keypair().thumbprint for _ in range(50)}) == 50


def test_rfc8725_3_6_no_compression(house):
    assert house.refuses(house.rewritten(header={"zip": "DEF"})) == "header-members"


def test_rfc8725_3_7_utf8(house):
    body = encode_segment('{"iss": "ana"}'.encode("utf-16"))
    head = house.request().decode().split(".")[0]
    signature = encode_segment(house.ana.sign_bytes(f"{head}.{body}".encode()))
    assert house.refuses(f"{head}.{body}.{signature}".encode()) == "payload-not-json"


def test_rfc8725_3_8_issuer_belongs_to_the_key(house):
    raw = house.request(principal="bob")
    assert house.refuses(raw) == "issuer-of-another-key", "ana's key does not speak for bob"


def test_rfc8725_3_9_audience_used(house):
    _, body, _ = house.request().decode().split(".")
    assert json.loads(door.decode_segment(body))["aud"] == ISSUER


def test_rfc8725_3_10_received_claims_are_not_trusted(house):
    asked = []

    def find_key(thumbprint):
        asked.append(thumbprint)
        return house.principals.key_of(thumbprint)

    for kid in ("' OR 1=1 --", "../../secret", "https://x.example/key", "A" * 2000):
        assert house.refuses(house.rewritten(header={"kid": kid}), find_key=find_key) in {"unknown-key", "shape"}
    assert house.verify(house.request(), find_key=find_key).principal.name == "ana"


def test_rfc8725_3_11_explicit_types():
    ours = [profile for profile in PROFILES if profile is not CLIENT_ASSERTION]
    assert all(profile.needs_type and len(profile.types) == 1 for profile in ours)
    assert CLIENT_ASSERTION.types == {"JWT", "client-authentication+jwt"}, "libraries write what they like, but not our types"


def test_rfc8725_3_12_mutually_exclusive_rules(house):
    assertion = client_assertion(principal="ana", audience=ISSUER, private_key=house.ana, now=NOW)
    assert house.refuses(assertion.encode()) == "type"
    with pytest.raises(NotAuthenticated):
        CLIENT_ASSERTION.take_apart(house.request())


def test_every_point_has_its_test():
    named = [name.removeprefix("test_") for name, _ in inspect.getmembers(sys.modules[__name__], inspect.isfunction)]
    for point in POINTS:
        slug = point.lower().replace(".", "_").replace("-", "_")
        assert sum(name.startswith(slug + "_") for name in named) == 1, point


def test_the_library_is_recent_enough():
    assert tuple(int(part) for part in jwt.__version__.split(".")[:3]) >= (2, 15, 1)
