"""Text that a database cannot hold, wherever a caller can write it: refused like its neighbours, recorded, and never a 500."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.web import create_app
from gateway.web.limits import FAILURES

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
HALF = "\ud800"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def place(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("town" if request.param == "sqlite" else "postgres_town")


def jws(header: dict[str, Any], payload: dict[str, Any]) -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), b"\1" * 64]
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_a_stranger_hears_what_every_stranger_hears(place: Any) -> None:
    client, bodies = place.client, set()
    before = len(place.events("call.unauthenticated"))
    for kid in ("nobody", "a\0b", f"a{HALF}b"):
        raw = jws({"alg": "EdDSA", "typ": "release-request+jwt", "kid": kid}, {"iss": kid})
        answers = [client.post("/v1/release-requests", data=raw, content_type="application/jwt")]
        raw = jws({"alg": "EdDSA", "typ": "at+jwt", "kid": kid}, {"iss": kid})
        answers.append(client.get("/v1/releases", headers={"Authorization": f"Bearer {raw}"}))
        raw = jws({"alg": "EdDSA", "typ": "release+jwt", "kid": kid}, {"iss": kid})
        answers.append(client.get("/v1/releases/r-1/artifacts/data.csv", headers={"Authorization": f"Bearer {raw}"}))
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION,
            "client_assertion": jws({"alg": "EdDSA"}, {"iss": kid}),
        }
        answers.append(client.post("/oauth/token", data=form))
        bodies.add(
            tuple((answer.status_code, answer.get_json().get("code", answer.get_json().get("error"))) for answer in answers)
        )
    (faces,) = bodies
    assert [status for status, _ in faces] == [401] * 4
    assert set(FAILURES) >= {401, 404}
    reasons = [entry.data["reason"] for entry in place.events("call.unauthenticated")[before:]]
    assert reasons == ["unknown-key"] * 2 + ["header-not-json"] * 4
    assert [entry.data["reason"] for entry in place.events("access-token.refused")] == ["unknown-key"] + ["payload-not-json"] * 2
    assert len(place.events("download.refused")) == 3


PATHS = ("/v1/releases/x%00y", "/v1/release-requests/x%00y", "/v1/datasets/x%00y", "/v1/policies/x%00y", "/v1/jobs/x%00y",
         "/v1/releases/x%00y/evidence")  # fmt: skip


def test_a_name_that_cannot_be_is_a_name_that_is_not(place: Any) -> None:
    for path in PATHS:
        who = "carl" if path.endswith("evidence") else "ana"
        odd, other = (place.get(path.replace("x%00y", name), who) for name in ("x%00y", "nothing"))
        assert (odd.status_code, odd.get_json()["code"]) == (404, "not-found") == (other.status_code, other.get_json()["code"]), (
            path
        )
    stranger = place.client.get("/v1/releases/x%00y/artifacts/data.csv")
    assert stranger.status_code == 404
    assert place.events("call.unauthenticated")[-1].data["path"] == "/v1/releases/x\0y/artifacts/data.csv"


def test_forms_queries_and_bodies(place: Any) -> None:
    answers = [
        place.post("/v1/tokens/introspection", "ana", data={"token": "a\0b"}),
        place.post("/v1/tokens/revocation", "carl", data={"ticket": "a\0b"}),
        place.post("/v1/tokens/revocation", "ana", data={"token": "a\0b"}),
        place.post("/v1/releases/r-1/withdrawal", "carl", data='{"reason":"a\\u0000b"}', content_type="application/json"),
        place.post("/v1/releases/r-1/withdrawal", "carl", data='{"reason":"a\\ud800b"}', content_type="application/json"),
        place.get("/v1/trace?ticket=a%00b", "carl"),
        place.get("/v1/audit/entries?release=a%00b", "sam"),
    ]
    assert {(answer.status_code, answer.get_json()["code"]) for answer in answers} == {(422, "invalid-request")}
    fine = place.post("/v1/releases/r-1/withdrawal", "carl", data='{"reason":"a\\\\u0000b"}', content_type="application/json")
    assert fine.status_code == 404, "a backslash, and then text"


def test_a_signed_request_with_a_nul_is_refused_with_its_signature(place: Any) -> None:
    answer = place.ask(columns=["age\0x"])
    assert (answer.status_code, answer.get_json()["code"]) == (401, "not-authenticated")
    assert place.events("call.unauthenticated")[-1].data["reason"] == "payload-not-json"


def test_what_was_not_foreseen_is_recorded_and_does_not_flood_the_log(town: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("canary-51aa")

    monkeypatch.setattr("gateway.web.api_catalogue.Datasets", broken)
    monkeypatch.setattr("gateway.web.api_outside.GatewayKeys", broken)
    headers = town.login("ana")
    with capture_logs() as lines:
        for _ in range(3):
            assert town.client.get("/v1/datasets", headers=headers).status_code == 500
            assert town.client.get("/.well-known/jwks.json").status_code == 500
    told = [line for line in lines if line["event"] == "unforeseen"]
    assert [("exc_info" in line, line["where"].startswith("web/")) for line in told] == [(True, True)] * 2 + [(False, True)] * 4
    assert [entry.data["error"] for entry in town.events("call.failed")] == ["RuntimeError"] * 3
    assert "canary-51aa" not in "".join(entry.payload for entry in town.events("call.failed"))


def test_strangers_who_break_us_are_counted_like_those_who_guess(town: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("gateway.web.api_outside.GatewayKeys", broken)
    client = create_app(town.house, with_limits=True).test_client()
    statuses = [client.get("/.well-known/jwks.json").status_code for _ in range(31)]
    assert statuses == [500] * 30 + [429]
