"""The ticket system pushes, the gateway looks again: tokens under a ticket that is no longer valid die at once."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway.releases import Release
from gateway.telemetry import utc_now
from gateway.tickets import Fetched, FileRegistry, TicketProblem, Tickets
from gateway.web import create_app

Town = Any
SECRET = b"a secret of more than sixteen bytes"
BODY = json.dumps({"webhookEvent": "jira:issue_updated", "issue": {"key": "DATA-101", "fields": {"status": "lies"}}}).encode()


class Watched:
    """The registry, with a count of fetches, a record of comments, and a switch that turns it off."""

    def __init__(self, registry: FileRegistry) -> None:
        self.registry = registry
        self.fetched: list[str] = []
        self.comments: list[str] = []
        self.is_down = False
        self.may_comment = True

    def fetch(self, key: str, *, now: datetime) -> Fetched:
        self.fetched.append(key)
        down = TicketProblem(key=key, kind="unreachable", detail="switched off")
        return down if self.is_down else self.registry.fetch(key, now=now)

    def comment(self, key: str, text: str, *, now: datetime) -> TicketProblem | None:
        if not self.may_comment:
            return TicketProblem(key=key, kind="refused", detail="no right to comment")
        self.comments.append(text)
        return self.registry.comment(key, text, now=now)


def signature(body: bytes = BODY, secret: bytes = SECRET) -> dict[str, str]:
    return {"X-Hub-Signature": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()}


def receiver(town: Town, source: Watched, **settings: Any) -> Town:
    """The same town with a receiver of webhooks."""
    secret: Path = town.folder / "webhook.secret"
    secret.write_bytes(SECRET + b"\n")
    secret.chmod(0o600)
    chosen = town.house.settings.model_copy(update={"jira_webhook_secret_file": secret, **settings})
    house = replace(town.house, settings=chosen, tickets=lambda: source)
    return replace(town, house=house, client=create_app(house, with_limits=False).test_client())


@pytest.fixture
def watched(town: Town) -> Watched:
    return Watched(FileRegistry(town.house.database))


def post(client: FlaskClient, body: bytes = BODY, headers: dict[str, str] | None = None) -> Any:
    return client.post("/v1/tickets/webhook", data=body, headers=signature(body) if headers is None else headers)


@pytest.mark.parametrize(
    "headers", [{}, {"X-Hub-Signature": "sha256="}, signature(secret=b"another secret of this size"), signature(b"other bytes")]
)
def test_a_call_that_is_not_signed_is_refused_recorded_and_asks_nobody(
    town: Town, watched: Watched, headers: dict[str, str]
) -> None:
    open_town = receiver(town, watched)
    answer = post(open_town.client, headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (401, "not-authenticated")
    assert answer.get_json()["detail"] == "invalid_token"
    assert watched.fetched == []
    assert [json.loads(event.payload)["data"]["reason"] for event in town.events("webhook.refused")] == ["webhook-signature"]


def test_without_a_secret_there_is_no_receiver_and_a_bad_secret_is_none(town: Town, watched: Watched) -> None:
    assert post(town.client).status_code == 404
    open_town = receiver(town, watched)
    secret = open_town.house.settings.jira_webhook_secret_file
    secret.chmod(0o644)
    assert post(open_town.client).status_code == 503
    secret.chmod(0o600)
    secret.write_bytes(b"short")
    assert post(open_town.client, headers=signature(secret=b"short")).status_code == 503
    secret.unlink()
    assert post(open_town.client).status_code == 503


def test_a_body_that_is_too_large_or_of_unknown_size_is_not_read(town: Town, watched: Watched) -> None:
    open_town = receiver(town, watched)
    assert post(open_town.client, b"x" * (1024 * 1024 + 1)).status_code == 413


def test_news_of_a_ticket_under_which_nothing_stands_makes_no_call(town: Town, watched: Watched) -> None:
    open_town = receiver(town, watched)
    for body in (BODY, b"{}"):
        assert post(open_town.client, body).status_code == 202
    assert watched.fetched == []
    assert len(town.events("webhook.received")) == 2


@pytest.fixture(scope="module")
def handed_over(released: tuple[Town, Callable[[], Release]]) -> tuple[Town, Release]:
    town, another = released
    return town, another()


def token_of(town: Town, release: Release) -> str:
    answer = town.post(f"/v1/releases/{release.id}/tokens", "ana")
    assert answer.status_code in (200, 201), answer.text
    return str(answer.get_json()["token"])


def download(town: Town, release: Release, token: str) -> int:
    path = f"/v1/releases/{release.id}/artifacts/manifest.json"
    return int(town.client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code)


def set_ticket(town: Town, **changes: str) -> None:
    with town.house.database.begin() as work:
        Tickets(work).set("DATA-101", now=utc_now(), **changes)
        work.commit()


def test_tokens_of_a_ticket_that_is_no_longer_valid_die_and_the_body_is_not_believed(
    handed_over: tuple[Town, Release],
) -> None:
    town, release = handed_over
    source = Watched(FileRegistry(town.house.database))
    open_town = receiver(town, source)
    token = token_of(open_town, release)
    assert download(open_town, release, token) == 200

    told = post(open_town.client).get_json()["tickets"]  # the body says that the status is a lie; the ticket says Approved
    assert told == [{"ticket": "DATA-101", "releases": 1, "problem": None, "tokens_revoked": 0}]
    assert source.fetched[-1] == "DATA-101"
    assert download(open_town, release, token) == 200

    set_ticket(town, status="Reopened")
    assert download(open_town, release, token) == 200  # the snapshot is young: this is what the webhook is for
    assert post(open_town.client).get_json()["tickets"][0]["tokens_revoked"] >= 1
    assert download(open_town, release, token) == 401
    assert open_town.post(f"/v1/releases/{release.id}/tokens", "ana").get_json()["code"] == "ticket-invalid"
    broken = json.loads(town.events("token.revoked")[0].payload)["data"]
    assert broken["by"] == "ticket"

    set_ticket(town, status="Approved")
    assert download(open_town, release, token) == 401
    assert download(open_town, release, token_of(open_town, release)) == 200


def test_news_while_the_ticket_system_is_down_leaves_nothing_to_an_old_snapshot(handed_over: tuple[Town, Release]) -> None:
    town, release = handed_over
    source = Watched(FileRegistry(town.house.database))
    open_town = receiver(town, source)
    token = token_of(open_town, release)
    source.is_down = True
    assert post(open_town.client).get_json()["tickets"][0]["problem"] == "unreachable"
    assert download(open_town, release, token) == 401
    source.is_down = False
    assert download(open_town, release, token_of(open_town, release)) == 200


def test_a_decision_is_told_on_the_ticket_only_where_that_is_wanted(town: Town, watched: Watched) -> None:
    assert receiver(town, watched).ask(rows=6000).status_code == 403
    assert watched.comments == []
    talking = receiver(town, watched, comment_decisions=True)
    denied = talking.ask(rows=6000).get_json()["id"]
    assert watched.comments[-1].startswith(f"Ticketgate denied release request {denied} for card-transactions: rows-above-limit.")
    assert talking.ask(who="eve", rows=6000).status_code == 403  # not the assignee: nobody writes on other people's tickets
    assert len(watched.comments) == 1
    assert talking.ask().status_code == 202
    assert "permitted release request" in watched.comments[-1]


def test_a_comment_that_fails_changes_nothing_and_is_recorded(town: Town, watched: Watched) -> None:
    talking = receiver(town, watched, comment_decisions=True)
    watched.may_comment = False
    assert talking.ask().status_code == 202
    outcomes = [json.loads(event.payload)["data"] for event in town.events("webhook.sent")]
    assert outcomes == [{"to": "ticket:decision", "about": "decision", "outcome": "refused"}]
