"""Jira on a bad day: every answer that is not a good one is a refusal, in time."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from gateway.telemetry import utc_now
from gateway.tickets import Jira, JiraSettings, TicketProblem
from policies.types import TicketFacts

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
T1, T2 = NOW - timedelta(days=3), NOW - timedelta(days=2)


@pytest.fixture
def key(jira):
    jira.open("DATA-101", dataset="adult", assignee="acc-ana", at=T1)
    jira.approve("DATA-101", by="acc-rob", at=T2)
    return "DATA-101"


def problem(found):
    assert isinstance(found, TicketProblem), found
    assert "made-up-token" not in repr(found)
    return found.kind


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "refused"), (403, "refused"), (404, "not-found"), (418, "malformed"), (302, "malformed")]
)
def test_answers_that_repeating_does_not_change(jira, jira_server, key, status, kind):
    jira_server.script = [(status, {"Location": "http://127.0.0.1:1/"}, b"")]
    assert problem(jira.source.fetch(key, now=NOW)) == kind
    assert len(jira_server.calls) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_trouble_is_waited_out(jira, jira_server, key, status):
    jira_server.script = [(status, {}, b"busy"), (status, {}, b"busy")]
    assert isinstance(jira.source.fetch(key, now=NOW), TicketFacts)


def test_retry_after_is_obeyed(jira, jira_server, key):
    jira_server.script = [(429, {"Retry-After": "1"}, b"")]
    start = time.monotonic()
    assert isinstance(jira.source.fetch(key, now=NOW), TicketFacts)
    assert time.monotonic() - start >= 1.0


def test_retry_after_may_be_a_date(jira, jira_server, key):
    jira_server.script = [(429, {"Retry-After": format_datetime(utc_now() + timedelta(seconds=60), usegmt=True)}, b"")]
    start = time.monotonic()
    assert problem(jira.source.fetch(key, now=NOW)) == "unreachable"
    assert time.monotonic() - start < 1.0


@pytest.mark.parametrize("value", ["99999999999999999999", "soon", "-5", "1e9"])
def test_an_absurd_retry_after_neither_hangs_nor_breaks(jira, jira_server, key, value):
    jira_server.script = [(429, {"Retry-After": value}, b"")]
    start = time.monotonic()
    jira.source.fetch(key, now=NOW)
    assert time.monotonic() - start < 3.0


def test_lasting_trouble_is_unreachable_within_the_deadline(jira, jira_server, key):
    jira_server.script = [(503, {}, b"")] * 50
    start = time.monotonic()
    assert problem(jira.source.fetch(key, now=NOW)) == "unreachable"
    assert time.monotonic() - start < 3.0


def test_a_slow_jira_is_unreachable_within_the_deadline(jira, jira_server, key):
    jira_server.delay = 3.0
    start = time.monotonic()
    assert problem(jira.source.fetch(key, now=NOW)) == "unreachable"
    assert time.monotonic() - start < 3.0


def test_no_jira_is_unreachable():
    source = Jira(JiraSettings(url="http://127.0.0.1:9", email="a@b", token="t", deadline=0.6))
    assert problem(source.fetch("DATA-1", now=NOW)) == "unreachable"
    source.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>maintenance</html>",
        b"[]",
        b"{}",
        b'{"fields": null}',
        b'{"key":"DATA-101","fields":{}}',
        b'{"key":"DATA-101","fields":{"project":"DATA"}}',
        b"[" * 100_000,
        b'{"key": "' + b"x" * (5 * 1024 * 1024) + b'"}',
    ],
    ids=["empty", "html", "list", "object", "null fields", "no fields", "text project", "deep", "huge"],
)
def test_an_unreadable_issue_is_malformed(jira, jira_server, key, body):
    jira_server.script = [(200, {}, body)]
    assert problem(jira.source.fetch(key, now=NOW)) == "malformed"


@pytest.mark.parametrize(
    "entry",
    [
        {"created": "yesterday", "author": {"accountId": "a"}, "items": [{"field": "status", "toString": "Approved"}]},
        {"author": {"accountId": "a"}, "items": [{"field": "status", "toString": "Approved"}]},
        {"created": "2026-02-01T00:00:00.000+0000", "author": {"accountId": "a"}},
        {"created": "2026-02-01T00:00:00.000+0000", "author": {"displayName": "a"}, "items": [{"field": "status"}]},
        {"created": "2026-02-01T00:00:00.000+0000", "author": {"accountId": "a"}, "items": [{}]},
        {"created": "2026-02-01T00:00:00.000+0000", "author": {"accountId": "a"}, "items": ["status"]},
    ],
)
def test_an_unreadable_changelog_is_malformed(jira, jira_server, key, entry):
    jira_server.changes[key].append(entry)
    assert problem(jira.source.fetch(key, now=NOW)) == "malformed"


def test_the_whole_changelog_is_read_over_many_pages(jira, jira_server, key):
    for number in range(25):
        jira.change(key, "summary", "x", by="acc-ana", at=T2 + timedelta(minutes=number))
    jira.reassign(key, to="acc-eve", at=NOW - timedelta(hours=1))
    found = jira.source.fetch(key, now=NOW)
    assert found.changed_at == NOW - timedelta(hours=1)
    assert sum(path.endswith("changelog") for _, path in jira_server.calls) == 14


def test_a_changelog_without_end_is_refused(jira, jira_server, key):
    jira_server.page = 1
    for number in range(60):
        jira.change(key, "summary", "x", by="acc-ana", at=T2 + timedelta(minutes=number))
    assert problem(jira.source.fetch(key, now=NOW)) == "malformed"


@pytest.mark.parametrize(
    "page", [b'{"values": [], "total": 3}', b'{"values": {}, "total": 0}', b'{"values": []}', b'{"values": [1], "total": 1}']
)
def test_a_changelog_that_lies_about_itself_is_refused(jira, jira_server, key, page):
    issue = jira_server.issues[key]
    jira_server.script = [(200, {}, json.dumps(issue).encode()), (200, {}, page)]
    assert problem(jira.source.fetch(key, now=NOW)) == "malformed"


def test_wrong_credentials_are_refused_and_stay_secret(jira_server, key):
    source = Jira(JiraSettings(url=jira_server.url, email="gateway@example.org", token="wrong-secret"))
    found = source.fetch(key, now=NOW)
    assert problem(found) == "refused"
    assert "wrong-secret" not in repr(found) + repr(source._settings)
    source.close()


def test_a_moved_issue_comes_back_under_its_new_key(jira, jira_server, key):
    jira_server.issues[key]["key"] = "OTHER-7"
    assert jira.source.fetch(key, now=NOW).key == "OTHER-7"


def test_an_approver_field_that_disagrees_with_the_changelog_is_no_approver(jira, jira_server, key):
    jira_server.issues[key]["fields"]["customfield_10043"] = {"accountId": "acc-boss"}
    found = jira.source.fetch(key, now=NOW)
    assert found.approver is None
    assert (found.extra["approved_by"], found.extra["named_approver"]) == ("acc-rob", "acc-boss")


def test_born_approved_is_not_approved(jira, jira_server):
    jira.open("DATA-102", dataset="adult", assignee="acc-ana", at=T1)
    jira_server.issues["DATA-102"]["fields"]["status"] = {"name": "Approved"}
    found = jira.source.fetch("DATA-102", now=NOW)
    assert (found.status, found.approved_at, found.approver) == ("Approved", None, None)


def test_a_comment_that_may_have_been_taken_is_not_repeated(jira, jira_server, key):
    jira_server.script = [(500, {}, b"")]
    assert jira.source.comment(key, "hello", now=NOW).kind == "unreachable"
    assert len(jira_server.calls) == 1


def test_a_comment_that_was_not_taken_is_repeated(jira, jira_server, key):
    jira_server.script = [(429, {"Retry-After": "0"}, b"")]
    assert jira.source.comment(key, "hello", now=NOW) is None
    assert jira.comments(key) == ["hello"]
