"""Access tokens, the token endpoint, revocation and introspection calls."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest

from gateway.access import (
    ProofContext,
    TokenDenied,
    TokenGranted,
    answer_token_request,
    client_assertion,
    dpop_proof,
    generate_keypair,
    introspect,
    issue_access_token,
    revoke,
    server_metadata,
)
from gateway.access.refusal import reason_of
from gateway.access.token_endpoint import ASSERTION_TYPE
from gateway.errors import InvalidRequest, NotAuthenticated, NotAuthorised

ENDPOINT = "https://gate.example/oauth/token"


def form_of(house, **patch):
    assertion = client_assertion(principal="ana", audience=house.issuer, private_key=house.ana, now=house.now)
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion, **patch}
    return {name: value if isinstance(value, list) else [value] for name, value in form.items() if value is not None}


def answer(house, form, proof=None):
    return answer_token_request(
        form,
        find_principal=house.principals.find,
        replay=house.replay,
        signer=house.keys.signer("token"),
        issuer=house.issuer,
        endpoint=ENDPOINT,
        now=house.now,
        proof=proof,
    )


def test_an_assertion_buys_ten_minutes(house):
    granted = answer(house, form_of(house, client_id="ana"))
    assert isinstance(granted, TokenGranted)
    body = granted.body()
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 600)
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in body["access_token"].split(".")[:2])
    assert header["typ"] == "at+jwt"
    assert claims["exp"] - claims["iat"] <= 600
    assert (claims["sub"], claims["client_id"], claims["aud"]) == ("ana", "ana", house.issuer)
    facts = house.verify_access(body["access_token"])
    assert facts.principal.name == "ana"
    assert " ".join(sorted(facts.scopes)) == body["scope"]


def test_scopes_can_be_narrowed_but_not_widened(house):
    assert answer(house, form_of(house, scope="requests:read")).body()["scope"] == "requests:read"
    for scope in ("audit:read", "requests:read audit:read", "*"):
        denied = answer(house, form_of(house, scope=scope))
        assert (denied.body(), denied.status, denied.principal) == ({"error": "invalid_scope"}, 400, "ana")


@pytest.mark.parametrize(
    ("patch", "error", "status"),
    [
        ({"grant_type": None}, "invalid_request", 400),
        ({"grant_type": "password"}, "unsupported_grant_type", 400),
        ({"grant_type": ["client_credentials", "client_credentials"]}, "invalid_request", 400),
        ({"scope": []}, "invalid_request", 400),
        ({"client_assertion": None}, "invalid_client", 401),
        ({"client_assertion_type": None}, "invalid_client", 401),
        ({"client_assertion_type": "urn:x"}, "invalid_client", 401),
        ({"client_assertion": "x.y.z"}, "invalid_client", 401),
        ({"client_id": "carl"}, "invalid_client", 401),
        ({"client_secret": "x"}, "invalid_client", 401),
    ],
)
def test_refusals_have_the_codes_of_rfc_6749(house, patch, error, status):
    denied = answer(house, form_of(house, **patch))
    assert isinstance(denied, TokenDenied)
    assert (denied.body(), denied.status) == ({"error": error}, status)


def test_an_assertion_is_used_once(house):
    form = form_of(house)
    assert isinstance(answer(house, form), TokenGranted)
    assert answer(house, form).reason == "assertion-replayed"


def test_an_assertion_may_name_the_endpoint(house):
    assertion = client_assertion(principal="ana", audience=ENDPOINT, private_key=house.ana, now=house.now)
    assert isinstance(answer(house, form_of(house, client_assertion=assertion)), TokenGranted)


def test_the_key_is_found_among_several_by_trying(house):
    second, third = generate_keypair(), generate_keypair("ES256")
    for key in (second, third):
        house.principals.add_key("ana", key.public, now=house.now)
    for key in (second, third):
        assertion = client_assertion(principal="ana", audience=house.issuer, private_key=key, now=house.now)
        assert answer(house, form_of(house, client_assertion=assertion)).key_thumbprint == key.thumbprint
    house.principals.disable_key(second.thumbprint, now=house.now)
    assertion = client_assertion(principal="ana", audience=house.issuer, private_key=second, now=house.now)
    assert answer(house, form_of(house, client_assertion=assertion)).status == 401


def test_a_disabled_principal_gets_nothing(house):
    house.principals.disable("ana", now=house.now)
    assert answer(house, form_of(house)).body() == {"error": "invalid_client"}


def context(house, key, token=None, method="POST", url=ENDPOINT):
    return ProofContext(dpop_proof(method=method, url=url, private_key=key, now=house.now, token=token), method, url)


def test_a_token_can_be_bound_to_a_key(house):
    holder, url = generate_keypair("ES256"), "https://gate.example/v1/releases"
    granted = answer(house, form_of(house), context(house, holder))
    assert granted.body()["token_type"] == "DPoP"
    raw = granted.issued.token
    assert house.verify_access(raw, proof=context(house, holder, raw, "GET", url)).jkt == holder.thumbprint
    for proof in (None, context(house, house.ana, raw, "GET", url)):
        with pytest.raises(NotAuthenticated):
            house.verify_access(raw, proof=proof)
    denied = answer(house, form_of(house), context(house, holder, "a token where none belongs"))
    assert (denied.body(), denied.status) == ({"error": "invalid_dpop_proof"}, 400)


def test_a_bearer_token_takes_no_proof(house):
    raw = house.access("ana", house.ana, scopes={"requests:read"}).token
    with pytest.raises(NotAuthenticated):
        house.verify_access(raw, proof=context(house, house.ana, raw))


def test_access_tokens_die_with_time_principal_key_role_and_revocation(house):
    raw = house.access("ana", house.ana, scopes={"requests:read", "releases:token"}).token
    assert house.verify_access(raw).scopes == {"requests:read", "releases:token"}
    with pytest.raises(NotAuthenticated):
        house.verify_access(raw, now=house.now + timedelta(minutes=10))
    house.principals.set_roles("ana", ["reviewer"])
    assert house.verify_access(raw).scopes == {"requests:read"}, "a lost role takes its scopes along"
    house.revocations.add("principal", "ana", by="carl", now=house.now)
    with pytest.raises(NotAuthenticated) as refused:
        house.verify_access(raw)
    assert reason_of(refused.value) == "revoked"
    later = house.now + timedelta(seconds=5)
    raw = house.access("ana", house.ana, scopes={"requests:read"}, now=later).token
    assert house.verify_access(raw, now=later)
    house.principals.disable_key(house.ana.thumbprint, now=later)
    with pytest.raises(NotAuthenticated):
        house.verify_access(raw, now=later)


def test_an_access_token_of_a_disabled_principal_is_dead(house):
    raw = house.access("ana", house.ana, scopes=set()).token
    house.principals.disable("ana", now=house.now)
    with pytest.raises(NotAuthenticated):
        house.verify_access(raw)


def test_an_access_token_names_a_key_of_its_own_principal(house):
    raw = house.access("ana", house.carl, scopes=set()).token
    with pytest.raises(NotAuthenticated):
        house.verify_access(raw)
    signer, principal = house.keys.signer("token"), house.principals.get("ana")
    raw = issue_access_token(
        principal=principal,
        key_thumbprint=house.ana.thumbprint,
        scopes=(),
        issuer="https://other.example",
        signer=signer,
        now=house.now,
    ).token
    with pytest.raises(NotAuthenticated):
        house.verify_access(raw)


def test_metadata_names_what_is_offered():
    metadata = server_metadata("https://gate.example")
    assert metadata["token_endpoint"] == ENDPOINT
    assert metadata["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert "none" not in metadata["token_endpoint_auth_signing_alg_values_supported"]


# Revocation and introspection ----------------------------------------------------------------------------------------


@pytest.fixture
def ana(house):
    return house.verify_access(house.access("ana", house.ana, scopes={"tokens:revoke", "tokens:introspect"}).token)


@pytest.fixture
def carl(house):
    wanted = {"tokens:revoke", "tokens:revoke-any", "tokens:introspect", "tokens:introspect-any"}
    return house.verify_access(house.access("carl", house.carl, scopes=wanted).token)


@pytest.fixture
def bob(house):
    key = generate_keypair()
    house.principals.add("bob", roles=["analyst"], key=key.public, now=house.now)
    return house.verify_access(house.access("bob", key, scopes={"tokens:revoke", "tokens:introspect"}).token)


def revoked_by(house, caller, *, issued=(), **form):
    fields = {name: value if isinstance(value, list) else [value] for name, value in form.items()}
    given = {"work": house.work, "tokens": house.tokens, "keys": house.keys, "was_issued": issued.__contains__}
    return revoke(fields, **given, caller=caller, now=house.now)


def call(house, caller, **form):
    revoked = revoked_by(house, caller, **form)
    return None if revoked is None else revoked.facts


def ask(house, caller, raw):
    return introspect(raw, work=house.work, tokens=house.tokens, keys=house.keys, caller=caller, now=house.now)


def test_owners_revoke_their_tokens_by_token_or_id(house, ana):
    first, second = house.issue(), house.issue()
    assert call(house, ana, token=first.token, token_type_hint="access_token", reason="lost").subject == first.jti
    assert call(house, ana, token=second.jti).token_ids == (second.jti,)
    for token in (first, second):
        with pytest.raises(NotAuthenticated):
            house.check(token)


@pytest.mark.parametrize("who", ["owner", "oversight"])
def test_an_access_token_that_is_revoked_dies_at_once(house, ana, carl, who):
    lost, kept = (house.access("ana", house.ana, scopes={"tokens:revoke"}) for _ in range(2))
    revoked = revoked_by(house, ana if who == "owner" else carl, token=lost.token, reason="lost")
    assert (revoked.facts.subject, revoked.owner, revoked.is_access_token) == (lost.jti, "ana", True)
    with pytest.raises(NotAuthenticated) as refused:
        house.verify_access(lost.token)
    assert reason_of(refused.value) == "revoked"
    assert house.verify_access(kept.token).jti == kept.jti


def test_an_access_token_is_revoked_by_its_id_by_oversight_only(house, ana, carl, bob):
    lost = house.access("ana", house.ana, scopes=set())
    assert revoked_by(house, ana, token=lost.jti, issued={lost.jti}) is None
    assert revoked_by(house, carl, token=lost.jti) is None, "the log knows of no such token"
    assert revoked_by(house, bob, token=lost.token) is None
    assert house.verify_access(lost.token)
    revoked = revoked_by(house, carl, token=lost.jti, issued={lost.jti})
    assert (revoked.facts.subject, revoked.is_access_token) == (lost.jti, True)
    with pytest.raises(NotAuthenticated):
        house.verify_access(lost.token)


def test_strangers_revoke_nothing_and_learn_nothing(house, bob):
    token = house.issue()
    for raw in (token.token, token.jti, "unknown", "x.y.z", token.token[:-86] + "A" * 86):
        assert call(house, bob, token=raw) is None
    assert house.check(token)


def test_oversight_revokes_by_everything(house, carl, ana):
    for kind, subject in (("ticket", "DATA-1"), ("release", "r-1"), ("dataset", "adult"), ("principal", "ana"), ("key", "k")):
        assert call(house, carl, **{kind: subject}).kind == kind
        with pytest.raises(NotAuthorised):
            call(house, ana, **{kind: subject})
    assert call(house, carl, token=house.issue().token)


@pytest.mark.parametrize(
    "form",
    [{"ticket": "x" * 65}, {"ticket": "a\0b"}, {"principal": "a\nb"}, {"key": "x" * 129}, {"release": "r", "reason": "a\0b"},
     {"release": "r", "reason": "x" * 501}, {"dataset": ""}],
)  # fmt: skip
def test_a_revocation_names_what_can_be(house, carl, form):
    with pytest.raises(InvalidRequest):
        call(house, carl, **form)


@pytest.mark.parametrize("form", [{}, {"reason": "x"}, {"token": "a", "release": "b"}, {"token": ["a", "b"]}, {"token": []}])
def test_a_revocation_names_one_thing(house, carl, form):
    with pytest.raises(InvalidRequest):
        call(house, carl, **form)


def test_introspection_tells_owners_and_oversight(house, ana, bob, carl):
    token = house.issue()
    told = ask(house, ana, token.token)
    assert told == ask(house, carl, token.token)
    assert (told["active"], told["sub"], told["release"], told["downloads_left"]) == (True, "ana", "r-1", 3)
    assert "cnf" not in told
    assert ask(house, ana, house.issue(jkt=house.ana.thumbprint).token)["cnf"] == {"jkt": house.ana.thumbprint}
    for raw in (token.token, "x", house.access("bob", house.ana, scopes=set()).token):
        assert ask(house, bob, raw) == {"active": False}
    house.revocations.add("ticket", "DATA-1", by="carl", now=house.now)
    assert ask(house, ana, token.token) == {"active": False}


def test_a_used_up_token_is_active_only_while_its_download_is_open(house, ana):
    token = house.issue(max_downloads=1)
    facts = house.check(token)
    fetch = {"artifact": "data.csv", "counts": True, "has_range": True, "size": 10}
    house.downloads.begin(facts, **fetch, length=10, now=house.now)
    assert ask(house, ana, token.token)["active"]
    house.downloads.begin(facts, **fetch, length=10, now=house.now)
    assert ask(house, ana, token.token) == {"active": False}
