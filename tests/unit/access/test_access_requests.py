"""Release requests: what a good one says, and how a well signed but wrong one is told so."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access import generate_keypair, reason_of, sign_request, verify_release_request
from gateway.access.requests import read_claims
from gateway.errors import InvalidRequest, NotAuthenticated, PayloadTooLarge

REQUEST = {
    "ticket": "DATA-101",
    "dataset": "adult",
    "purpose": "testing",
    "rows": 5000,
    "format": "csv",
    "generator": {"name": "dp-marginal", "epsilon": Decimal("1.0")},
}


def signed(house, request=REQUEST, *, key=None, **kwargs):
    return sign_request(
        principal="ana", audience=house.issuer, request=request, private_key=key or house.ana, now=house.now, **kwargs
    ).encode()


def verify(house, raw, now=None):
    return verify_release_request(raw, find_key=house.principals.key_of, audience=house.issuer, now=now or house.now)


def test_a_good_request_says_what_was_signed(house):
    request = {
        **REQUEST,
        "generator": {"name": "dp-marginal", "epsilon": Decimal("0.10"), "delta": Decimal("1e-9"), "degree": 2, "dims": [8, 16], "rate": 0.5},
        "policy": "standard",
        "columns": ["age", "region"],
        "seed": 7,
    }  # fmt: skip
    raw = signed(house, request)
    verified = verify(house, raw)
    assert verified.principal.name == "ana"
    assert verified.key_thumbprint == house.ana.thumbprint
    assert verified.digest == hashlib.sha256(raw).hexdigest()
    assert verified.raw.encode() == raw
    assert verified.expires_at - verified.issued_at == timedelta(seconds=300)
    facts = verified.facts(request_id="r-1", requested_at=house.now)
    assert (str(facts.epsilon), str(facts.delta)) == ("0.10", "1E-9")
    assert facts.hyperparameters == {"degree": 2, "dims": (8, 16), "rate": 0.5}
    assert (facts.policy, facts.columns, facts.seed, facts.request_id) == ("standard", ("age", "region"), 7, "r-1")


def test_members_that_are_none_are_left_out(house):
    request = {**REQUEST, "policy": None, "seed": None, "generator": {"name": "ctgan", "epsilon": None, "epochs": 5}}
    claims = verify(house, signed(house, request)).claims
    assert (claims.policy, claims.generator.epsilon, dict(claims.generator.hyperparameters)) == (None, None, {"epochs": 5})


def test_an_unknown_generator_is_the_policys_to_refuse(house):
    assert verify(house, signed(house, {**REQUEST, "generator": {"name": "magic"}})).claims.generator.name == "magic"


@given(st.decimals(min_value=Decimal("0.000000000001"), max_value=1000, places=12))
def test_epsilon_is_exact_as_text_and_as_number(value):
    for written in (value, f"{value:f}"):
        assert read_claims({**REQUEST, "generator": {"name": "dp-marginal", "epsilon": written}}).generator.epsilon == value


@pytest.mark.parametrize("value", [1, "1", "1.0", "1e-3", "10E2", Decimal("0.3")])
def test_spellings_of_epsilon(value):
    assert read_claims({**REQUEST, "generator": {"name": "dp-marginal", "epsilon": value}}).generator.epsilon == Decimal(value)


@pytest.mark.parametrize(
    ("patch", "member"),
    [
        ({"ticket": None}, "ticket"),
        ({"ticket": ""}, "ticket"),
        ({"ticket": "a b"}, "ticket"),
        ({"ticket": "../x"}, "ticket"),
        ({"dataset": "Adult"}, "dataset"),
        ({"dataset": 5}, "dataset"),
        ({"purpose": ["testing"]}, "purpose"),
        ({"rows": "5000"}, "rows"),
        ({"rows": 0}, "rows"),
        ({"rows": True}, "rows"),
        ({"rows": Decimal("5.0")}, "rows"),
        ({"rows": 10**12}, "rows"),
        ({"format": "xlsx"}, "format"),
        ({"generator": "dp-marginal"}, "generator"),
        ({"generator": {}}, "generator.name"),
        ({"generator": {"name": "dp-marginal"}}, "generator.epsilon"),
        ({"policy": ""}, "policy"),
        ({"columns": []}, "columns"),
        ({"columns": ["a", "a"]}, "columns"),
        ({"columns": ["a", 5]}, "columns.1"),
        ({"columns": "a"}, "columns"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"admin": True}, "admin"),
        ({"sub": "root"}, "sub"),
        ({"nbf": 1}, "nbf"),
        ({"<script>": 1}, "(unprintable)"),
        *(({"generator": {"name": "dp-marginal", "epsilon": value}}, "generator.epsilon") for value in (
            0, -1, "-1", "NaN", "Infinity", "1_000", " 1", "0x1", True, [1], 1.0, "1e-30", "1" * 25, 10**7, Decimal("1." + "1" * 30),
        )),
        *(({"generator": {"name": "dp-marginal", "epsilon": "1", "delta": value}}, "generator.delta") for value in (0, 1, "2", -1, {})),
        ({"generator": {"name": "dp-marginal", "epsilon": "1", "hyper-parameter": 1}}, "generator.hyper-parameter"),
        ({"generator": {"name": "dp-marginal", "epsilon": "1", "x": {"deep": 1}}}, "generator.x"),
        ({"generator": {"name": "dp-marginal", "epsilon": "1", "x": [[1]]}}, "generator.x"),
        ({"generator": {"name": "dp-marginal", "epsilon": "1", "x": "y" * 300}}, "generator.x"),
        ({"generator": {"name": "dp-marginal", "epsilon": "1", **{f"x{n}": n for n in range(40)}}}, "generator"),
    ],
)  # fmt: skip
def test_a_wrong_member_is_named_and_its_value_is_not(patch, member):
    document = {name: value for name, value in {**REQUEST, **patch}.items() if patch.get(name, 0) is not None}
    with pytest.raises(InvalidRequest) as refused:
        read_claims(document)
    assert refused.value.detail.startswith(f"{member}: ")
    assert refused.value.unlock
    assert "script" not in refused.value.detail


def test_all_wrong_members_are_named_at_once():
    with pytest.raises(InvalidRequest) as refused:
        read_claims({"rows": "secret-value", "x": 1})
    assert refused.value.detail.count(";") == 6
    assert "ticket: is missing" in refused.value.detail
    assert "x: is not a member of a release request" in refused.value.detail
    assert "secret-value" not in refused.value.detail
    with pytest.raises(InvalidRequest) as refused:
        read_claims({f"member{number}": 1 for number in range(500)})
    assert len(refused.value.detail) < 2000


def test_a_request_is_bounded_before_it_is_looked_at(house):
    with pytest.raises(PayloadTooLarge):
        verify(house, b"\xff" * 16_385)
    with pytest.raises(NotAuthenticated):
        verify(house, b"\xff" * 16_384)


@pytest.mark.parametrize(("ahead", "accepted"), [(60, True), (62, False), (-299, True), (-300, False)])
def test_clocks_may_differ_by_a_minute_but_the_past_is_past(house, ahead, accepted):
    raw = sign_request(
        principal="ana", audience=house.issuer, request=REQUEST, private_key=house.ana, now=house.now + timedelta(seconds=ahead)
    ).encode()
    if accepted:
        assert verify(house, raw)
    else:
        with pytest.raises(NotAuthenticated):
            verify(house, raw)


@pytest.mark.parametrize(("seconds", "accepted"), [(1, True), (300, True), (301, False), (0, False)])
def test_a_request_lives_five_minutes_at_most(house, seconds, accepted):
    raw = signed(house, life=timedelta(seconds=seconds))
    if accepted:
        assert verify(house, raw)
    else:
        with pytest.raises(NotAuthenticated):
            verify(house, raw)


@pytest.mark.parametrize(("length", "accepted"), [(15, False), (16, True), (64, True), (65, False)])
def test_an_identifier_has_16_to_64_characters(house, length, accepted):
    raw = signed(house, jti="j" * length)
    if accepted:
        assert verify(house, raw).jti == "j" * length
    else:
        with pytest.raises(NotAuthenticated):
            verify(house, raw)


def test_a_disabled_or_expired_key_and_a_disabled_principal_prove_nothing(house):
    second = generate_keypair("ES256")
    house.principals.add_key("ana", second.public, expires_at=house.now + timedelta(seconds=10), now=house.now)
    raw, other = signed(house, key=second), signed(house)
    assert verify(house, raw)
    with pytest.raises(NotAuthenticated) as refused:
        verify(house, raw, now=house.now + timedelta(seconds=10))
    assert reason_of(refused.value) == "principal-or-key-out-of-use"
    house.principals.disable_key(second.thumbprint, now=house.now)
    with pytest.raises(NotAuthenticated):
        verify(house, raw)
    assert verify(house, other)
    house.principals.disable("ana", now=house.now)
    with pytest.raises(NotAuthenticated):
        verify(house, other)
