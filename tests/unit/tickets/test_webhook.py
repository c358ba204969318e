from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tickets import changed_ticket, is_authentic

SECRET = b"sixteen bytes or more"
BODY = json.dumps({"webhookEvent": "jira:issue_updated", "issue": {"key": "DATA-101"}}).encode()


def signed(body, secret=SECRET):
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def test_a_signed_call_names_its_ticket():
    assert is_authentic(BODY, signature=signed(BODY), secret=SECRET)
    assert changed_ticket(BODY) == "DATA-101"


@pytest.mark.parametrize(
    "signature", [None, "", "sha256=", "sha1=" + "0" * 40, signed(BODY)[7:], signed(BODY, b"another secret of size"), "sha256=é"]
)
def test_anything_else_is_not_authentic(signature):
    assert not is_authentic(BODY, signature=signature, secret=SECRET)


def test_a_huge_body_is_not_even_hashed():
    body = b"x" * (1024 * 1024 + 1)
    assert not is_authentic(body, signature=signed(body), secret=SECRET)


def test_a_short_secret_is_no_secret():
    with pytest.raises(ValueError, match="at least 16"):
        is_authentic(BODY, signature=signed(BODY), secret=b"short")


@given(st.binary(max_size=200))
def test_every_other_body_is_refused_under_the_same_signature(body):
    assert is_authentic(body, signature=signed(BODY), secret=SECRET) == (body == BODY)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'{"issue": 1}', b'{"issue": {"key": "../x"}}', b'{"issue": {"key": 5}}', b"[" * 100_000]
)
def test_an_unreadable_call_names_nothing(body):
    assert changed_ticket(body) is None
