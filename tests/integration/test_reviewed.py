"""What reviewers let out: nothing before their approval is in the tree, and the bundle shows that approval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.audit import tlog_proof
from gateway.evidence.checks import Check, load_trusted, verify_bundle
from gateway.jobs import produce as producing
from gateway.releases import Release, Status, requester_artifacts
from gateway.releases.artifacts import Artifacts
from gateway.releases.bundle import PROOF
from tests.integration.stand_in import NOT_DP, run_stand_in

Town = Any
YES = {"approve": True, "comment": "looks sound"}


@pytest.fixture
def approved(town: Town, monkeypatch: pytest.MonkeyPatch) -> Release:
    """In the tree as waiting for its reviewer, and approved since."""
    monkeypatch.setattr(producing, "run_production", run_stand_in)
    town.policy(version=2, review="{approvers: 1, roles: [reviewer], when: [always]}")
    waiting: Release = town.produced(**NOT_DP)
    assert waiting.status is Status.IN_REVIEW, waiting.failure
    town.sequence()
    answer = town.post(f"/v1/reviews/{waiting.id}/decision", "rob", json=YES)
    assert answer.get_json()["status"] == "released"
    return town.release(waiting.id)  # type: ignore[no-any-return]


def bundle_of(town: Town, release: Release, folder: Path) -> Path:
    folder.mkdir()
    with town.house.database.read() as work:
        for artifact in requester_artifacts(work, release):
            if artifact.location:
                (folder / artifact.name).write_bytes(Artifacts(work).read(town.house, artifact))
            else:
                (folder / PROOF).write_text(tlog_proof(work, release.handover_event_id or "") or "", "utf-8")
    return folder


def failures(town: Town, folder: Path) -> list[Check]:
    trusted = load_trusted(town.house.settings.home / "trusted-keys.json")
    return [check for check in verify_bundle(folder, trusted) if not check.ok]


def test_no_token_before_the_approval_stands_in_the_tree(town: Town, approved: Release) -> None:
    path = f"/v1/releases/{approved.id}"
    answer = town.post(f"{path}/tokens", "ana")
    assert (answer.status_code, answer.get_json()["code"]) == (409, "not-included")
    assert PROOF not in {found["name"] for found in town.get(f"{path}/artifacts", "ana").get_json()["artifacts"]}
    town.sequence()
    token = town.post(f"{path}/tokens", "ana").get_json()["token"]
    answer = town.client.get(f"{path}/artifacts/{PROOF}", headers={"Authorization": f"Bearer {token}"})
    with town.house.database.read() as work:
        assert answer.get_data(as_text=True) == tlog_proof(work, approved.handover_event_id or "")


def test_a_reviewed_bundle_shows_its_approval_and_no_earlier_event_will_do(town: Town, approved: Release, tmp_path: Path) -> None:
    town.sequence()
    folder = bundle_of(town, approved, tmp_path / "bundle")
    assert failures(town, folder) == []
    assert approved.released_event_id != approved.handover_event_id
    with town.house.database.read() as work:
        earlier = tlog_proof(work, approved.released_event_id or "")
    assert earlier is not None
    (folder / PROOF).write_text(earlier, "utf-8")
    (failed,) = failures(town, folder)
    assert (failed.name, "in-review" in failed.detail) == ("log proof holds", True)


def test_the_approval_of_another_release_will_not_do(town: Town, approved: Release, tmp_path: Path) -> None:
    other = town.produced(**NOT_DP)
    assert town.post(f"/v1/reviews/{other.id}/decision", "rob", json=YES).get_json()["status"] == "released"
    town.sequence()
    folder = bundle_of(town, approved, tmp_path / "bundle")
    with town.house.database.read() as work:
        proof = tlog_proof(work, town.release(other.id).handover_event_id)
    assert proof is not None
    (folder / PROOF).write_text(proof, "utf-8")
    (failed,) = failures(town, folder)
    assert failed.detail == "the log proof is about another release"
