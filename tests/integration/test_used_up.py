"""A release whose downloads are spent is closed by a leaf of its own, once, and not while one of them can be continued."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from gateway.access.downloads import WINDOW
from gateway.db.tables.access import download, download_count, release_token
from gateway.db.tables.releases import release
from gateway.releases.used_up import close_used_up
from gateway.telemetry import utc_now

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
