"""A release whose downloads are spent is closed by a leaf of its own, once, and not while one of them can be continued."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from gateway.access.downloads import WINDOW
from gateway.db.tables.access import download, download_count, release_token
from gateway.db.tables.releases import release
from gateway.errors import NotFound
from gateway.releases import expire_due, withdraw
from gateway.releases.artifacts import Artifacts, make_sealer
from gateway.releases.used_up import close_used_up
from gateway.telemetry import utc_now
from gateway.tickets import Tickets

ALLOWED = 2
"""Downloads, by the policy of the town."""


@pytest.fixture
def handed_over(town: Any) -> Any:
    """A released release and a token for it; no bytes are needed."""
    now = utc_now()
    common = {"principal": "ana", "ticket": "DATA-101", "dataset": "card-transactions"}
    with town.house.database.begin() as work:
        work.execute(insert(release).values(
            id="r1", account_id="ana", policy="lenient", policy_version=1, policy_digest="0" * 64, status="released", request={},
            request_digest="0" * 64, signed_request="x.y.z", decision_id="d1", decision={"permitted": True}, fence=1, requested_at=now,
            updated_at=now, released_at=now, **common,
        ))  # fmt: skip
        work.execute(insert(release_token).values(
            jti="t1", release_id="r1", policy_digest="0" * 64, manifest_digest="0" * 64, scope=["data.csv"], gateway_kid="k",
            max_downloads=ALLOWED, issued_at=now, expires_at=now, **common,
        ))  # fmt: skip
        work.execute(insert(download_count).values(release_id="r1", principal="ana", used=0))
        work.commit()
    return town


def downloaded(town: Any, number: int, *, promised: int, ago: timedelta = timedelta()) -> None:
    """One more download of a file of 100 bytes."""
    started = utc_now() - ago
    with town.house.database.begin() as work:
        work.execute(update(download_count).values(used=number))
        work.execute(insert(download).values(
            id=f"f{number}", jti="t1", artifact="data.csv", number=number, size=100, promised=promised, started_at=started,
        ))  # fmt: skip
        work.commit()


def closed(town: Any) -> list[dict[str, Any]]:
    close_used_up(town.house, now=utc_now())
    return [dict(entry.data) for entry in town.events("release.closed")]


def test_the_last_download_that_nobody_can_continue_closes_a_release_once(handed_over: Any) -> None:
    town = handed_over
    assert closed(town) == []
    downloaded(town, 1, promised=200)
    assert closed(town) == []  # one is left
    downloaded(town, 2, promised=100)
    assert closed(town) == []  # it may be resumed
    with town.house.database.begin() as work:
        work.execute(update(download).values(promised=200))
        work.commit()
    assert closed(town) == [{"reason": "used up", "downloads": ALLOWED}]
    assert closed(town) == [{"reason": "used up", "downloads": ALLOWED}]
    assert town.release("r1").status == "released"


def test_an_hour_later_nothing_can_be_continued(handed_over: Any) -> None:
    town = handed_over
    for number in (1, 2):
        downloaded(town, number, promised=10, ago=WINDOW + timedelta(seconds=1))
    assert closed(town) == [{"reason": "used up", "downloads": ALLOWED}]


@pytest.mark.parametrize("status", ["expired", "withdrawn"])
def test_a_release_that_has_ended_is_not_closed_again(handed_over: Any, status: str) -> None:
    town = handed_over
    for number in (1, 2):
        downloaded(town, number, promised=200)
    with town.house.database.begin() as work:
        work.execute(update(release).values(status=status))
        work.commit()
    assert closed(town) == []


def ends(town: Any) -> list[str]:
    """Every event of the release's end, in order."""
    found = town.events("release.expired") + town.events("release.withdrawn") + town.events("release.closed")
    return [f"{entry.kind} {entry.data.get('reason', '')}".strip() for entry in sorted(found, key=lambda entry: entry.id)]


def test_what_is_used_up_expires_and_is_withdrawn_without_being_closed_again(handed_over: Any) -> None:
    town, now = handed_over, utc_now()
    for number in (1, 2):
        downloaded(town, number, promised=200)
    close_used_up(town.house, now=now)
    with town.house.database.begin() as work:
        work.execute(update(release).values(expires_at=now))
        work.commit()
    assert expire_due(town.house, now=now + timedelta(milliseconds=500)) == 1
    assert ends(town) == ["release.closed used up", "release.expired"]
    withdraw(town.house, "r1", by="carl", reason="a leak", now=now + timedelta(seconds=1))
    assert ends(town) == ["release.closed used up", "release.expired", "release.withdrawn a leak"]


def test_an_expired_release_is_withdrawn_and_its_data_is_gone(handed_over: Any) -> None:
    town, now = handed_over, utc_now()
    row = make_sealer(town.house, release_id="r1", fence=1, now=now).put_bytes(
        "data.csv", b"age\n41\n", media_type="text/csv", audience="requester"
    )
    with town.house.database.begin() as work:
        Artifacts(work).add_all("r1", [row])
        work.execute(update(release).values(expires_at=now))
        work.commit()
    expire_due(town.house, now=now)
    assert (town.release("r1").status, ends(town)) == ("expired", ["release.expired", "release.closed expired"])
    answer = town.post("/v1/releases/r1/withdrawal", "carl", json={"reason": "a leak"})
    assert (answer.status_code, town.release("r1").status) == (200, "withdrawn")
    assert ends(town) == ["release.expired", "release.closed expired", "release.withdrawn a leak"]
    assert town.events("artifact.destroyed")[-1].data["keys"] == 1
    assert row["location"] not in {found.name for found in town.house.store.names()}
    with town.house.database.read() as work, pytest.raises(NotFound):
        Artifacts(work).read(town.house, Artifacts(work).get("r1", "data.csv"))
    assert any("a leak" in comment for comment in comments(town))
    assert town.post("/v1/releases/r1/withdrawal", "carl", json={"reason": "once more"}).status_code == 409


def comments(town: Any) -> list[str]:
    with town.house.database.read() as work:
        row = Tickets(work)._row("DATA-101")
    assert row is not None
    return [comment["text"] for comment in row["extra"].get("comments", [])]
