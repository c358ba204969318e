"""Properties of the door: no change to a good message passes, and nothing makes it raise anything but its own refusal."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access import KeyFacts, Principal, RegisteredKey, generate_keypair, reason_of, sign_request, verify_release_request
from gateway.access.jws import ACCESS_TOKEN, CLIENT_ASSERTION, DPOP_PROOF, RELEASE_REQUEST, RELEASE_TOKEN
from gateway.errors import InvalidRequest, NotAuthenticated, PayloadTooLarge

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ISSUER = "https://gate.example"
KEY = generate_keypair()
ANA = Principal(name="ana", account_id="ana", roles=frozenset({"analyst"}), created_at=NOW, disabled_at=None)
REGISTERED = RegisteredKey(key=KeyFacts(public=KEY.public, added_at=NOW, expires_at=None, disabled_at=None), principal=ANA)
GENERATOR = {"name": "dp-marginal", "epsilon": "1"}
REQUEST = {"ticket": "D-1", "dataset": "adult", "purpose": "testing", "rows": 1, "format": "csv", "generator": GENERATOR}
RAW = sign_request(principal="ana", audience=ISSUER, request=REQUEST, private_key=KEY, now=NOW).encode()


def verify(raw):
    find = {KEY.thumbprint: REGISTERED}.get
    return verify_release_request(raw, find_key=find, audience=ISSUER, now=NOW)


def test_the_message_itself_is_good():
    assert verify(RAW).principal is ANA


@settings(max_examples=400)
@given(st.integers(0, len(RAW) - 1), st.integers(0, 255))
def test_no_changed_byte_passes(position, byte):
    changed = RAW[:position] + bytes([byte]) + RAW[position + 1 :]
    if changed != RAW:
        with pytest.raises(NotAuthenticated):
            verify(changed)


@settings(max_examples=200)
@given(st.integers(0, len(RAW)), st.integers(0, len(RAW)), st.binary(max_size=5))
def test_no_cut_or_insertion_passes(start, end, inserted):
    changed = RAW[: min(start, end)] + inserted + RAW[max(start, end) :]
    if changed != RAW:
        with pytest.raises(NotAuthenticated):
            verify(changed)


@settings(max_examples=300)
@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode()))
def test_noise_is_refused_and_nothing_else(noise):
    with pytest.raises((NotAuthenticated, PayloadTooLarge)):
        verify(noise)
    for profile in (ACCESS_TOKEN, CLIENT_ASSERTION, DPOP_PROOF, RELEASE_REQUEST, RELEASE_TOKEN):
        with pytest.raises(NotAuthenticated):
            profile.take_apart(noise)


@pytest.mark.parametrize(
    "profile", [ACCESS_TOKEN, CLIENT_ASSERTION, DPOP_PROOF, RELEASE_REQUEST, RELEASE_TOKEN], ids=lambda p: p.purpose
)
def test_size_is_bounded_before_anything_else(profile):
    assert reason_of(refused(profile, b"\xff" * (profile.max_bytes + 1))) == "too-long"
    assert reason_of(refused(profile, b"\xff" * profile.max_bytes)) == "shape"
    assert reason_of(refused(profile, "A" * (profile.max_bytes + 1))) == "too-long"
    assert profile.max_bytes <= 16 * 1024


def refused(profile, raw):
    with pytest.raises(NotAuthenticated) as error:
        profile.take_apart(raw)
    return error.value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["ticket", "dataset", "purpose", "rows", "format", "generator", "policy", "columns", "seed"]) | st.text(
    max_size=8
)


@settings(max_examples=100)
@given(st.dictionaries(names, json_values, max_size=4))
def test_any_signed_content_is_taken_or_named_never_a_crash(members):
    raw = sign_request(principal="ana", audience=ISSUER, request={**REQUEST, **members}, private_key=KEY, now=NOW).encode()
    with contextlib.suppress(InvalidRequest, NotAuthenticated):
        assert verify(raw).claims
