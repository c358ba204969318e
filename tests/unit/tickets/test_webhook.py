from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tickets import changed_tickets, is_authentic

SECRET = b"sixteen bytes or more"
BODY = json.dumps({"webhookEvent": "jira:issue_updated", "issue": {"key": "DATA-101"}}).encode()


def signed(body, secret=SECRET):
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def test_a_signed_call_names_its_ticket():
    assert is_authentic(BODY, signature=signed(BODY), secret=SECRET)
    assert changed_tickets(BODY) == ("DATA-101",)


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
    assert changed_tickets(body) == ()


def test_a_moved_ticket_is_named_by_the_keys_that_it_had():
    items = [{"field": "Key", "fromString": "DATA-101", "toString": "OPS-7"}, {"field": "status", "fromString": "X-1"}]
    body = {"issue": {"key": "OPS-7"}, "changelog": {"items": items}}
    assert changed_tickets(json.dumps(body).encode()) == ("OPS-7", "DATA-101")


def test_a_call_names_a_few_tickets_and_no_more():
    items = [{"field": "Key", "fromString": f"DATA-{number}"} for number in range(1, 1000)]
    assert len(changed_tickets(json.dumps({"issue": {"key": "A-1"}, "changelog": {"items": items}}).encode())) == 8
    for broken in ({"items": 5}, {"items": [5]}, 5):
        assert changed_tickets(json.dumps({"issue": {"key": "A-1"}, "changelog": broken}).encode()) == ()
