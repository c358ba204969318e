"""Calls that no honest client makes are refused by name, with the headers that HTTP asks for; none is an error of ours."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gateway.audit.export import encode_cursor
from gateway.catalogue import Policies
from gateway.web.reading import MAX_DEPTH
from policies.canonical import canonical_json


def cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def test_a_wrong_method_is_told_the_right_ones(town: Any) -> None:
    for path, methods in (("/v1/releases", "GET, HEAD, OPTIONS"), ("/oauth/token", "OPTIONS, POST")):
        answer = town.client.delete(path)
        assert (answer.status_code, answer.get_json()["code"], answer.headers["Allow"]) == (405, "method-not-allowed", methods)
    assert town.client.head("/v1/releases/r/artifacts/data.csv").headers["Allow"] == "GET"


@pytest.mark.parametrize("path", ["/v1/releases", "/v1/release-requests"])
def test_a_list_knows_its_statuses_and_its_cursors(town: Any, path: str) -> None:
    release_id = town.ask().get_json()["id"]
    assert town.get(f"{path}?status=bogus", "carl").status_code == 422
    assert "status" in town.get(f"{path}?status=bogus", "carl").get_json()["detail"]
    assert town.get(f"{path}?status=queued", "carl").status_code == 200
    far = "0001-01-01T00:00:00+23:59"
    for text in (f"{far}|{release_id}", f"9999-12-31T23:59:59-23:59|{release_id}", "2026-01-01T00:00:00+00:00|\0", "|", "x"):
        answer = town.get(f"{path}?cursor={cursor(text)}", "carl")
        assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid-request"), text
    good = cursor(f"2026-01-01T00:00:00+00:00|{release_id}")
    assert town.get(f"{path}?cursor={good}", "carl").status_code == 200


def test_a_cursor_of_the_log_behind_every_number_is_refused(town: Any) -> None:
    for path in ("/v1/audit/entries", "/v1/audit/export"):
        answer = town.get(f"{path}?cursor={encode_cursor(1 << 62)}", "sam")
        assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid-request")


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "yesterday"])
def test_a_time_that_no_calendar_has_is_refused(town: Any, since: str) -> None:
    with town.house.database.read() as work:
        policy = json.loads(canonical_json(Policies(work).get("lenient").policy))
    policy["spec"]["gate"][0]["max"] = "0.99"
    answer = town.post("/v1/policies/simulate", "carl", json={"policy": policy, "since": since})
    assert (answer.status_code, answer.get_json()["detail"][:6]) == (422, "since:"), answer.text


@pytest.mark.parametrize("path", ["/v1/policies/simulate", "/v1/policies/explain", "/v1/dp/validate-config"])
def test_a_document_that_is_nested_without_end_is_refused(town: Any, path: str) -> None:
    for depth in (MAX_DEPTH, 990, 3000, 100_000):
        lists, maps = "[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth
        for body in (f'{{"policy": {{"spec": {lists}}}}}', f'{{"policy": {maps}}}', lists, "[" * depth):
            answer = town.post(path, "carl", data=body, content_type="application/json")
            assert answer.status_code in (400, 422), (depth, answer.text[:200])
            assert answer.get_json()["code"] == "invalid-request"
    within = "[" * (MAX_DEPTH - 3) + "]" * (MAX_DEPTH - 3)
    answer = town.post(
        "/v1/policies/simulate", "carl", data=f'{{"policy": {{"spec": {within}}}}}', content_type="application/json"
    )
    assert answer.get_json()["code"] == "policy-invalid", "it was read, and lint said what is wrong"
