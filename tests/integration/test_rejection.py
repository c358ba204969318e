"""A rejected release is blocked for good: nobody opens its bytes again, and the log says who said no."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from gateway.releases import Status
from gateway.releases.artifacts import Artifacts, make_sealer
from gateway.telemetry import utc_now

Town = Any
NO = {"approve": False, "comment": "the ticket speaks of another quarter"}


@pytest.fixture
def waiting(town: Town) -> str:
    """A release with one sealed file, waiting for a single reviewer."""
    release_id: str = town.ask().get_json()["id"]
    now = utc_now()
    row = make_sealer(town.house, release_id=release_id, fence=1, now=now).put_bytes(
        "data.csv", b"age\n41\n", media_type="text/csv", audience="requester"
    )
    with town.house.database.begin() as work:
        Artifacts(work).add_all(release_id, [row])
        work.execute(text("UPDATE release SET status = 'in_review', fence = 1 WHERE id = :id"), {"id": release_id})
        work.commit()
    return release_id


def test_what_was_rejected_can_never_be_opened(town: Town, waiting: str) -> None:
    with town.house.database.read() as work:
        (artifact,) = Artifacts(work).of(waiting)
        assert Artifacts(work).read(town.house, artifact) == b"age\n41\n"
    assert town.post(f"/v1/reviews/{waiting}/decision", "rob", json=NO).get_json()["status"] == "blocked"
    release = town.release(waiting)
    assert (release.status, release.close_reason) == (Status.BLOCKED, "rejected")
    with town.house.database.read() as work:
        wrapped = (
            work.execute(text("SELECT wrapped FROM data_key WHERE subject LIKE :mine"), {"mine": f"{waiting}%"}).scalars().all()
        )
    assert wrapped == [None]
    assert [json.loads(event.payload)["data"]["keys"] for event in town.events("artifact.destroyed")] == [1]
    assert artifact.location not in {stored.name for stored in town.house.store.names()}


def test_a_vote_is_final_and_nobody_votes_on_what_is_decided(town: Town, waiting: str) -> None:
    assert town.post(f"/v1/reviews/{waiting}/decision", "rob", json=NO).status_code == 200
    for who in ("rob", "rita"):
        assert town.post(f"/v1/reviews/{waiting}/decision", who, json={**NO, "approve": True}).status_code == 409
    assert town.release(waiting).status is Status.BLOCKED


def test_reviewers_are_told_what_the_gate_warns_of(town: Town, waiting: str) -> None:
    """The list of what waits, the release as a reviewer sees it, and the story of the release."""
    rule = {"rule": "r", "metric": "privacy.copies.excess_share", "bound": {"p_min": 0.05}, "code": "p-below-line", "blocks": False,
            "observed": 0.004, "message": "m", "interval": None, "p_value": 0.01, "severity": "warn", "status": "warn"}  # fmt: skip
    verdict = json.dumps(
        {"passed": True, "rules": [rule, {**rule, "severity": "block", "status": "pass", "code": "within-line"}]}
    )
    with town.house.database.begin() as work:
        work.execute(text("UPDATE release SET verdict = :verdict WHERE id = :id"), {"verdict": verdict, "id": waiting})
        work.commit()
    (item,) = town.get("/v1/reviews", "rob").get_json()["reviews"]
    assert item["warnings"] == ["privacy.copies.excess_share"]
    shown = town.get(f"/v1/releases/{waiting}", "rob").get_json()["verdict"]["rules"]
    assert [(found["status"], found["observed"]) for found in shown] == [("warn", None), ("pass", None)]
