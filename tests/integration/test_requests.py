"""Asking for a release: what is decided, reserved, queued and recorded, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from gateway.budget import Ledgers
from gateway.catalogue import Datasets
from gateway.releases import Status
from gateway.telemetry import utc_now
from gateway.tickets import Tickets


def charges(town: Any) -> int:
    with town.house.database.read() as work:
        card = Datasets(work).get("card-transactions").card
        return len(Ledgers(work).statement(card, now=utc_now()).entries)


def jobs(town: Any) -> int:
    with town.house.database.read() as work:
        return int(work.execute(text("SELECT count(*) FROM workflow_status WHERE name = 'produce-release'")).scalar_one())


def test_a_permitted_request_is_reserved_queued_and_recorded_together(town: Any) -> None:
    answer = town.ask()
    assert answer.status_code == 202
    body = answer.get_json()
    assert answer.headers["Location"] == f"/v1/release-requests/{body['id']}"
    assert answer.headers["Retry-After"]
    assert (body["status"], charges(town), jobs(town)) == ("queued", 1, 1)
    kinds = [entry.kind for entry in town.events("release.")]
    assert kinds == ["release.requested", "release.decided", "release.queued"]


def test_a_denied_request_is_recorded_and_leaves_neither_reserve_nor_job(town: Any) -> None:
    answer = town.ask(generator={"name": "dp-marginal", "epsilon": "9"})
    document = answer.get_json()
    assert answer.status_code == 403
    assert answer.content_type == "application/problem+json"
    assert {"type", "title", "status", "detail", "code", "request_id", "decision_id", "violations", "unlock"} <= set(document)
    assert [violation["rule"] for violation in document["violations"]] == ["generation.epsilon.max"]
    assert document["unlock"]
    assert (charges(town), jobs(town)) == (0, 0)
    assert town.events("release.decided")[0].data["decision"]["permitted"] is False


def test_the_same_bytes_are_the_same_request(town: Any) -> None:
    raw = town.signed()
    first, second = town.ask(raw), town.ask(raw)
    assert first.get_json()["id"] == second.get_json()["id"]
    assert (charges(town), jobs(town)) == (1, 1)


def test_a_used_identifier_with_other_bytes_is_a_conflict_and_recorded(town: Any) -> None:
    from gateway.access import sign_request

    def raw(rows: int) -> str:
        request = {
            "ticket": "DATA-101",
            "dataset": "card-transactions",
            "purpose": "testing",
            "rows": rows,
            "format": "csv",
            "generator": {"name": "cart"},
        }
        return sign_request(
            principal="ana",
            audience=town.house.issuer,
            request=request,
            private_key=town.keys["ana"],
            now=utc_now(),
            jti="a" * 20,
        )

    assert town.ask(raw(10)).status_code == 202
    answer = town.ask(raw(11))
    assert (answer.status_code, answer.get_json()["code"]) == (409, "replayed")
    assert len(town.events("release.replayed")) == 1


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"favour": "please"}, 422, "favour"),
        ({"rows": "many"}, 422, "rows"),
        ({"format": "xlsx"}, 422, "format"),
        ({"generator": {"name": "dp-marginal"}}, 422, "epsilon"),
        ({"dataset": "nobody-knows"}, 403, "dataset"),
        ({"ticket": "DATA-999"}, 403, "DATA-999"),
        ({"purpose": "curiosity"}, 403, "purpose"),
        ({"rows": 5001}, 403, "rows"),
        ({"generator": {"name": "witchcraft", "epsilon": "1"}}, 403, "witchcraft"),
    ],
)
def test_what_cannot_be_taken_up_says_which_member(town: Any, changes: dict[str, Any], status: int, word: str) -> None:
    answer = town.ask(**changes)
    assert answer.status_code == status, answer.text
    assert word in answer.text
    assert len(town.events("release.refused" if status == 422 else "release.decided")) == 1


def test_a_forged_signature_is_refused_without_a_reason_and_recorded(town: Any) -> None:
    raw = town.signed()
    forged = raw[:-6] + ("AAAAAA" if not raw.endswith("AAAAAA") else "BBBBBB")
    answer = town.ask(forged)
    assert (answer.status_code, answer.get_json()["detail"]) == (401, "invalid_token")
    assert len(town.events("call.unauthenticated")) == 1


def test_body_and_type_are_bounded(town: Any) -> None:
    assert town.client.post("/v1/release-requests", data="x" * 17000, content_type="application/jwt").status_code == 413
    assert town.client.post("/v1/release-requests", data=town.signed(), content_type="text/plain").status_code == 415


def test_somebody_elses_ticket_denies(town: Any) -> None:
    raw = town.signed("eve")
    answer = town.ask(raw)
    assert answer.status_code == 403
    assert "assignee" in answer.text


def test_the_budget_denies_when_it_is_used_up_and_never_overspends(town: Any) -> None:
    answers = [town.ask(generator={"name": "dp-marginal", "epsilon": "3"}).status_code for _ in range(25)]
    assert answers[0] == 202
    assert answers[-1] == 403
    with town.house.database.read() as work:
        card = Datasets(work).get("card-transactions").card
        statement = Ledgers(work).statement(card, now=utc_now()).to_json()
    assert Decimal(statement["reserved"]["epsilon"]) <= Decimal(statement["limit"]["epsilon"])


def test_cancelling_a_queued_request_gives_the_reserve_back(town: Any) -> None:
    release_id = town.ask().get_json()["id"]
    answer = town.post(f"/v1/release-requests/{release_id}/cancellation", "ana")
    assert (answer.status_code, answer.get_json()["status"]) == (200, Status.CANCELLED)
    with town.house.database.read() as work:
        (charge,) = Ledgers(work).charges_of_release(release_id)
    assert charge.settlement is not None
    assert charge.settlement.outcome == "unread"
    assert town.post(f"/v1/release-requests/{release_id}/cancellation", "ana").status_code == 409


def test_requests_are_seen_by_their_requester_and_by_oversight_only(town: Any) -> None:
    release_id = town.ask().get_json()["id"]
    seen = {who: town.get(f"/v1/release-requests/{release_id}", who).status_code for who in ("ana", "eve", "carl")}
    assert seen == {"ana": 200, "eve": 404, "carl": 200}
    assert town.get("/v1/release-requests", "eve").get_json()["requests"] == []
    assert len(town.get("/v1/release-requests", "ana").get_json()["requests"]) == 1


def test_lists_page_by_an_opaque_cursor(town: Any) -> None:
    ids = [town.ask(rows=100 + number).get_json()["id"] for number in range(3)]
    first = town.get("/v1/release-requests?limit=2", "ana")
    assert 'rel="next"' in first.headers["Link"]
    second = town.get(f"/v1/release-requests?limit=2&cursor={first.get_json()['next']}", "ana")
    seen = [item["id"] for item in (*first.get_json()["requests"], *second.get_json()["requests"])]
    assert seen == ids[::-1]
    assert town.get("/v1/release-requests?cursor=nonsense", "ana").status_code == 422


def test_a_ticket_that_was_moved_denies(town: Any) -> None:
    with town.house.database.begin() as work:
        Tickets(work).set("DATA-101", now=utc_now(), status="In Review")
        work.commit()
    assert "ticket" in town.ask().text


AUDITED = [
    ("POST", "/v1/release-requests", None),
    ("POST", "/oauth/token", None),
    ("GET", "/v1/releases", "ana"),
    ("GET", "/v1/datasets", "ana"),
    ("GET", "/v1/policies", "ana"),
    ("GET", "/v1/datasets/card-transactions/budget", "ana"),
    ("GET", "/v1/trace?ticket=DATA-101", "carl"),
    ("GET", "/v1/audit/entries", "sam"),
    ("GET", "/v1/audit/export", "sam"),
    ("GET", "/v1/reviews", "rob"),
    ("GET", "/v1/dp/recommended-config", "ana"),
    ("GET", "/v1/datasets/card-transactions/profile", "dana"),
]


@pytest.mark.parametrize(("method", "path", "who"), AUDITED)
def test_nothing_is_answered_that_cannot_be_recorded(town: Any, method: str, path: str, who: str | None) -> None:
    headers = town.login(who) if who else {}
    body = {"data": town.signed(), "content_type": "application/jwt"} if path == "/v1/release-requests" else {}
    with town.house.database.begin() as work:
        work.execute(text("ALTER TABLE audit_event RENAME TO audit_event_gone"))
        work.commit()
    answer = town.client.open(path, method=method, headers=headers, **body)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "not-recorded")
    with town.house.database.begin() as work:
        counts = [
            work.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()  # noqa: S608 - four constant names
            for name in ("release", "budget_entry", "workflow_status", "job")
        ]
    assert counts == [0, 0, 0, 0]


def test_guessing_ends_soon_and_noise_is_counted_not_listed(town: Any) -> None:
    from gateway.web import create_app
    from gateway.web.unauthenticated import flush_noise

    app = create_app(town.house)
    client = app.test_client()
    headers = {"Authorization": "Bearer nonsense"}
    answers = [client.get("/v1/releases", headers=headers).status_code for _ in range(40)]
    assert answers[0] == 401
    assert answers[-1] == 429
    assert answers.count(401) == 30
    assert len(town.events("call.unauthenticated")) == 30
    flush_noise(app, everything=True)
    (summed,) = town.events("calls.aggregated")
    assert summed.data["counts"] == {"throttled": 10}
    assert client.get("/healthz").status_code == 200
