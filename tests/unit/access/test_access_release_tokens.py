"""Release tokens: their lifetime, what kills them, and what is asked at every use."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from gateway.access import FirstUse, Lifetime, ProofContext, dpop_proof, generate_keypair, reason_of, sign_request
from gateway.access.revocations import KINDS
from gateway.db.tables.access import release_token
from gateway.errors import Conflict, InvalidRequest, TokenRefused

URL = "https://gate.example/v1/releases/r-1/artifacts/data.csv"
SECOND = timedelta(seconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
moments = st.integers(1_735_700_000_000_000, 1_800_000_000_000_000).map(lambda micro: EPOCH + timedelta(microseconds=micro))


# Lifetime ------------------------------------------------------------------------------------------------------------


@given(
    now=moments,
    ttl=st.timedeltas(timedelta(seconds=-5), timedelta(days=60)),
    bounds=st.lists(st.none() | moments, min_size=3, max_size=3),
)
def test_a_token_outlives_nothing_that_bounds_it(now, ttl, bounds):
    life = Lifetime(policy_ttl=ttl, release_expires_at=bounds[0], ticket_valid_until=bounds[1], key_retires_at=bounds[2])
    limits = [now + ttl, *(bound for bound in bounds if bound is not None)]
    try:
        end = life.ends(now)
    except Conflict:
        assert min(limits) < now + 2 * SECOND, "it refuses only when less than two seconds were left"
        return
    assert all(end <= limit for limit in limits)
    assert min(limits) - end < SECOND, "and lives as long as they allow"
    assert end >= now + SECOND
    assert end.microsecond == 0


@pytest.mark.parametrize("name", ["policy_ttl", "release_expires_at", "ticket_valid_until", "key_retires_at"])
def test_each_bound_counts(house, name):
    far, near = house.now + timedelta(days=2), house.now + timedelta(minutes=1)
    bounds = {"release_expires_at": far, "ticket_valid_until": far, "key_retires_at": far, "policy_ttl": timedelta(days=2)}
    life = Lifetime(**{**bounds, name: near - house.now if name == "policy_ttl" else near})
    assert life.ends(house.now) == near.replace(microsecond=0)


# Content -------------------------------------------------------------------------------------------------------------


def parts_of(token):
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2]]


def test_a_token_says_what_the_contract_names(house):
    token = house.issue()
    header, claims = parts_of(token.token)
    assert header == {"alg": "EdDSA", "typ": "release+jwt", "kid": house.keys.signer("token").kid}
    assert claims == {
        "iss": house.issuer, "aud": house.issuer, "sub": "ana", "release": "r-1", "ticket": "DATA-1", "dataset": "adult", "policy": "a" * 64,
        "manifest": "b" * 64, "scope": "data.csv manifest.json", "jti": token.jti, "iat": int(house.now.timestamp()), "exp": int(token.expires_at.timestamp()),
    }  # fmt: skip
    body = token.body()
    assert set(body) == {"token", "token_type", "expires_at", "expires_in", "max_downloads", "downloads_left"}
    assert (body["token_type"], body["expires_in"], body["max_downloads"], body["downloads_left"]) == ("Bearer", 899, 3, 3)


def test_a_good_token_gives_its_facts(house):
    token = house.issue()
    facts = house.check(token, artifact="manifest.json")
    assert facts.subject == house.subject()
    assert (facts.jti, facts.expires_at, facts.downloads_left) == (token.jti, token.expires_at, 3)


@pytest.mark.parametrize(
    "use", [{"release": "r-2"}, {"artifact": "report-card.json"}, {"artifact": "data.csv "}, {"artifact": ""}]
)
def test_a_token_opens_its_own_artifacts_of_its_own_release(house, use):
    with pytest.raises(TokenRefused) as refused:
        house.check(house.issue(), **use)
    assert reason_of(refused.value) == "another-release-or-artifact"


def test_a_token_ends_with_its_second(house):
    token = house.issue()
    assert house.check(token, now=token.expires_at - timedelta(microseconds=1))
    with pytest.raises(TokenRefused):
        house.check(token, now=token.expires_at)


@pytest.mark.parametrize(
    "values", [{"release_id": "r-9"}, {"principal": "carl"}, {"scope": ["x"]}, {"manifest_digest": "c" * 64}, {"jkt": "x"}, {"jti": "x" * 20}]
)  # fmt: skip
def test_a_row_that_differs_from_its_token_refuses_it(house, values):
    token = house.issue()
    house.work.execute(update(release_token).values(**values))
    with pytest.raises(TokenRefused) as refused:
        house.check(token)
    assert reason_of(refused.value) == "not-as-issued"


# What kills a token --------------------------------------------------------------------------------------------------

SUBJECTS = {"token": None, "release": "r-1", "ticket": "DATA-1", "dataset": "adult", "principal": "ana", "key": None}


def named(house, kind, token):
    return {"token": token.jti, "key": house.ana.thumbprint}.get(kind, SUBJECTS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_revocation_by_each_kind_bites_at_once(house, kind):
    token = house.issue()
    assert house.check(token)
    facts = house.revocations.add(kind, named(house, kind, token), by="carl", reason="leak", now=house.now)
    assert facts.token_ids == (token.jti,)
    with pytest.raises(TokenRefused) as refused:
        house.check(token)
    assert reason_of(refused.value) == "revoked"


@pytest.mark.parametrize("kind", KINDS)
def test_revocation_of_something_else_does_not_bite(house, kind):
    token = house.issue()
    assert house.revocations.add(kind, "something else", by="carl", now=house.now).token_ids == ()
    assert house.check(token)


@pytest.mark.parametrize(
    ("kind", "again"), [("release", False), ("key", False), ("ticket", True), ("dataset", True), ("principal", True)]
)
def test_what_is_issued_after_a_revocation(house, kind, again):
    house.revocations.add(kind, named(house, kind, house.issue()), by="carl", now=house.now)
    later = house.now + timedelta(microseconds=1)
    token = house.issue(now=later)
    if again:
        assert house.check(token, now=later)
    else:
        with pytest.raises(TokenRefused):
            house.check(token, now=later)


@pytest.mark.parametrize(
    ("kind", "subject", "reason"), [("colour", "x", ""), ("token", "", ""), ("token", "x" * 129, ""), ("token", "x", "r" * 501)]
)
def test_revocations_that_cannot_be(house, kind, subject, reason):
    with pytest.raises(InvalidRequest):
        house.revocations.add(kind, subject, by="carl", reason=reason, now=house.now)


def test_a_disabled_principal_or_key_kills_its_tokens(house):
    second = generate_keypair()
    house.principals.add_key("ana", second.public, now=house.now)
    token = house.issue()
    house.principals.disable_key(second.thumbprint, now=house.now)
    assert house.check(token), "another key of the same principal is another matter"
    house.principals.disable_key(house.ana.thumbprint, now=house.now)
    with pytest.raises(TokenRefused):
        house.check(token)


def test_a_token_ends_with_the_key_that_asked_for_it(house):
    short = generate_keypair()
    end = house.now + timedelta(minutes=2)
    house.principals.add_key("ana", short.public, expires_at=end, now=house.now)
    house.ana = short
    token = house.issue()
    assert token.expires_at == end.replace(microsecond=0)
    with pytest.raises(TokenRefused):
        house.issue(now=end)
    house.principals.disable("ana", now=house.now)
    with pytest.raises(TokenRefused):
        house.issue()


def test_a_disabled_principal_kills_its_tokens(house):
    token = house.issue()
    house.principals.disable("ana", now=house.now)
    with pytest.raises(TokenRefused) as refused:
        house.check(token)
    assert reason_of(refused.value) == "principal-or-key-out-of-use"


def test_nothing_is_issued_without_time_or_downloads(house):
    with pytest.raises(Conflict):
        house.issue(max_downloads=0)
    token = house.issue(max_downloads=1)
    house.downloads.begin(house.check(token), artifact="data.csv", counts=True, has_range=False, length=9, size=9, now=house.now)
    with pytest.raises(Conflict) as refused:
        house.issue(max_downloads=1)
    assert refused.value.slug == "used-up"
    assert house.issue(max_downloads=2).downloads_left == 1, "a raised limit leaves the difference"
    assert house.check(token).downloads_left == 0, "ranges of the open download are still checked and served"


def test_the_last_download_is_the_last(house):
    facts = house.check(house.issue(max_downloads=1))
    fetch = {"artifact": "data.csv", "counts": True, "has_range": False, "length": 9, "size": 9}
    assert house.downloads.begin(facts, **fetch, now=house.now).is_last
    with pytest.raises(TokenRefused) as refused:
        house.downloads.begin(facts, **fetch, now=house.now)
    assert reason_of(refused.value) == "used-up"


def test_an_identifier_is_used_once_and_forgotten_in_time(house):
    used = {"digest": "d" * 64, "request_id": "r-1", "expires_at": house.now, "now": house.now}
    assert house.replay.claim("ana", "j" * 16, **used) == FirstUse()
    assert house.replay.claim("ana", "j" * 16, **used).earlier_request() == "r-1"
    with pytest.raises(Conflict):
        house.replay.claim("ana", "j" * 16, **{**used, "digest": "e" * 64}).earlier_request()
    assert house.replay.forget(house.now + timedelta(days=1)) == 0
    assert house.replay.forget(house.now + timedelta(days=1, seconds=1)) == 1


def test_uncounted_artifacts_are_not_limited(house):
    facts = house.check(house.issue(max_downloads=1))
    begun = [
        house.downloads.begin(facts, artifact="manifest.json", counts=False, has_range=False, length=9, size=9, now=house.now)
        for _ in range(3)
    ]
    assert len({download.id for download in begun}) == 3
    assert {(download.is_new, download.downloads_left, download.is_last) for download in begun} == {(False, 1, False)}


def test_a_connection_may_break_as_often_as_it_likes(house):
    facts = house.check(house.issue(max_downloads=1))
    fetch = {"artifact": "data.csv", "counts": True, "has_range": True, "size": 100, "now": house.now}
    identifiers = set()
    for start in range(100):  # one byte arrives each time, and the rest is asked for anew
        begun = house.downloads.begin(facts, **fetch, length=100 - start)
        house.downloads.finish(begun, length=100 - start, sent=1)
        identifiers.add(begun.id)
    assert len(identifiers) == 1
    house.downloads.begin(facts, **fetch, length=100)
    with pytest.raises(TokenRefused):
        house.downloads.begin(facts, **fetch, length=1)
    for sent in (-1, 3):
        with pytest.raises(ValueError, match="promised"):
            house.downloads.finish(begun, length=2, sent=sent)


def test_a_range_an_hour_later_is_a_new_download(house):
    facts = house.check(house.issue(max_downloads=2))
    fetch = {"artifact": "data.csv", "counts": True, "has_range": True, "length": 1, "size": 9}
    first = house.downloads.begin(facts, **fetch, now=house.now)
    assert house.downloads.begin(facts, **fetch, now=house.now + timedelta(minutes=59)).id == first.id
    assert house.downloads.is_open(facts, now=house.now + timedelta(minutes=59))
    assert not house.downloads.is_open(facts, now=house.now + timedelta(minutes=60))
    assert house.downloads.begin(facts, **fetch, now=house.now + timedelta(minutes=60)).is_new


# Proof of possession -------------------------------------------------------------------------------------------------


def proof(house, token, *, key=None, url=URL, method="GET", now=None):
    return ProofContext(
        dpop_proof(method=method, url=url, private_key=key or house.ana, now=now or house.now, token=token.token),
        "GET",
        URL + "?a=1",
    )


def test_a_bound_token_needs_a_fresh_proof_of_its_key_each_time(house):
    token = house.issue(jkt=house.ana.thumbprint)
    assert token.token_type == "DPoP"
    assert parts_of(token.token)[1]["cnf"] == {"jkt": house.ana.thumbprint}
    once = proof(house, token)
    assert house.check(token, proof=once)
    assert house.check(token, proof=proof(house, token))
    for bad in (
        None,
        once,
        proof(house, token, key=house.carl),
        proof(house, token, method="POST"),
        proof(house, token, url=URL + "/x"),
        proof(house, house.issue()),
        proof(house, token, now=house.now - timedelta(minutes=2)),
        ProofContext("", "GET", URL),
    ):
        with pytest.raises(TokenRefused):
            house.check(token, proof=bad)


def test_an_unbound_token_takes_no_proof(house):
    token = house.issue()
    with pytest.raises(TokenRefused):
        house.check(token, proof=proof(house, token))


def test_a_proof_used_for_a_refused_token_is_not_used_up(house):
    token = house.issue(jkt=house.ana.thumbprint)
    fresh = proof(house, token)
    with pytest.raises(TokenRefused):
        house.check(token, release="r-2", proof=fresh)
    assert house.check(token, proof=fresh)


def test_a_request_is_no_token(house):
    raw = sign_request(principal="ana", audience=house.issuer, request={}, private_key=house.ana, now=house.now)
    with pytest.raises(TokenRefused):
        house.tokens.look_up(raw, keys=house.keys, now=house.now)


@pytest.mark.parametrize(("kind", "name"), [("ticket", "DATA-1"), ("dataset", "adult"), ("principal", "ana")])
def test_a_token_issued_while_its_revoker_waited_is_dead(house, kind, name):
    """The revoker took the time, then waited for the lock under which the token was issued: what is said to be dead is dead."""
    token = house.issue(now=house.now + timedelta(milliseconds=300))
    revoked = house.revocations.add(kind, name, by="carl", reason="leak", now=house.now)
    assert revoked.token_ids == (token.jti,)
    assert revoked.revoked_at == house.now + timedelta(milliseconds=300)
    with pytest.raises(TokenRefused):
        house.check(token, now=house.now + timedelta(minutes=1))
    assert house.check(house.issue(now=house.now + timedelta(seconds=1)), now=house.now + timedelta(minutes=1))
