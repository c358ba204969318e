"""What fails after a withdrawal was committed does not unsay it, nor hold up what is to be told of other releases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from gateway.errors import NotRecorded
from gateway.releases.notice import tell_again
from gateway.telemetry import utc_now
from gateway.tickets import Tickets

Town = Any


def let_out(town: Town) -> str:
    """A release as if it had been let out: what is told does not depend on its bytes."""
    release_id = str(town.ask().get_json()["id"])
    with town.house.database.begin() as work:
        work.execute(text("UPDATE release SET status = 'released', released_at = updated_at WHERE id = :id"), {"id": release_id})
        work.commit()
    return release_id


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A database that takes no comment as long as `full["for"]` names its release."""
    planted: dict[str, Any] = {"for": ""}
    comment = Tickets.comment

    def refusing(self: Tickets, key: str, said: str, **arguments: Any) -> None:
        if planted["for"] in said:
            raise NotRecorded("its disk is full")
        comment(self, key, said, **arguments)

    monkeypatch.setattr(Tickets, "comment", refusing)
    return planted


def test_a_withdrawal_whose_comment_fails_is_done_and_says_so(town: Town, full: dict[str, Any]) -> None:
    release_id = let_out(town)
    answer = town.post(f"/v1/releases/{release_id}/withdrawal", "carl", json={"reason": "a data subject objected"})
    assert answer.status_code == 200, answer.text
    document = answer.get_json()
    assert (document["status"], document["notices"]) == ("withdrawn", {"ticket": "not-recorded"})
    assert document["stored_bytes"] == "removed"
    assert town.release(release_id).status == "withdrawn"
    full["for"] = "none"
    assert tell_again(town.house, now=utc_now() + timedelta(minutes=2)) == 0
    assert [event.subjects.release for event in town.events("webhook.sent")] == [release_id]


def test_bytes_are_removed_before_anybody_is_told(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    for name in ("_remove", "tell_withdrawal"):
        monkeypatch.setattr(f"gateway.releases.end.{name}", lambda *_, said=name, **__: order.append(said))
    town.post(f"/v1/releases/{let_out(town)}/withdrawal", "carl", json={"reason": "a data subject objected"})
    assert order == ["_remove", "tell_withdrawal"]


def test_one_release_that_cannot_be_told_of_does_not_stop_those_behind_it(town: Town, full: dict[str, Any]) -> None:
    first, second = let_out(town), let_out(town)
    for release_id in (first, second):
        town.post(f"/v1/releases/{release_id}/withdrawal", "carl", json={"reason": "a data subject objected"})
    full["for"] = first
    assert tell_again(town.house, now=utc_now() + timedelta(minutes=2)) == 1
    assert [event.subjects.release for event in town.events("webhook.sent")] == [second]


def test_a_log_that_cannot_be_read_afterwards_does_not_unsay_the_withdrawal(
    town: Town, full: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.releases import end, notice

    class Gone:
        def __init__(self, _work: Any) -> None:
            raise NotRecorded("the server is gone")

    release_id = let_out(town)
    monkeypatch.setattr(notice, "Releases", Gone)
    said = end.withdraw(town.house, release_id, by="carl", reason="a data subject objected", now=utc_now())
    assert (said["status"], said["stored_bytes"], said["notices"]) == ("withdrawn", "removed", {"ticket": "not-recorded"})
