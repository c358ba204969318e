"""A leaked file that compliance sends may hold real people's data: it is gone as soon as no job waits for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text, update

from gateway.db.tables.storage import data_key
from gateway.errors import NotFound, NotRecorded
from gateway.jobs import worker as working
from gateway.releases.small_jobs import finish_job
from gateway.releases.uploads import keep_upload, read_upload
from gateway.storage import StoreUnavailable
from gateway.telemetry import utc_now
from gateway.web import api_compliance

Town = Any
LEAK = b"age\n41\n"


@pytest.fixture
def sweeper(town: Town) -> Any:
    return working.Worker(town.house)


def uploads(town: Town) -> list[str]:
    return [found.name for found in town.house.store.names("uploads/")]


def open_keys(town: Town) -> int:
    with town.house.database.read() as work:
        query = text("SELECT count(*) FROM data_key WHERE subject LIKE 'upload:%' AND wrapped IS NOT NULL")
        return int(work.execute(query).scalar_one())


def aged(town: Town, age: timedelta) -> None:
    with town.house.database.begin() as work:
        work.execute(update(data_key).values(created_at=utc_now() - age))
        work.commit()


def sent(town: Town) -> Any:
    return town.post("/v1/trace/file", "carl", data=LEAK, content_type="text/csv")


def test_an_upload_whose_job_was_never_recorded_is_destroyed(town: Town, sweeper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> Any:
        raise NotRecorded("planted")

    with monkeypatch.context() as patched:
        patched.setattr(api_compliance, "request_job", refused)
        assert sent(town).status_code == 503
    assert (len(uploads(town)), open_keys(town)) == (1, 1)
    sweeper._sweep()
    assert (len(uploads(town)), open_keys(town)) == (1, 1), "it may still be on its way to its job"
    aged(town, working.UPLOAD_AGE)
    sweeper._sweep()
    assert open_keys(town) == 0
    assert uploads(town) == []


def test_an_upload_that_waits_for_its_worker_stays(town: Town, sweeper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "UPLOAD_AGE", timedelta())
    job_id = sent(town).get_json()["id"]
    sweeper._sweep()
    assert (len(uploads(town)), open_keys(town)) == (1, 1)
    finish_job(town.house, job_id, status="done", result={}, now=utc_now())  # and its worker was killed before it cleared up
    sweeper._sweep()
    assert (uploads(town), open_keys(town)) == ([], 0)


def test_bytes_that_the_store_did_not_remove_are_removed_later(town: Town, sweeper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(name: str) -> None:
        raise StoreUnavailable(f"planted for {name}")

    upload = keep_upload(town.house, LEAK, now=utc_now())
    monkeypatch.setattr(working, "UPLOAD_AGE", timedelta())
    assert read_upload(town.house, upload) == LEAK
    with monkeypatch.context() as patched:
        patched.setattr(town.house.store, "delete", stuck)
        with pytest.raises(StoreUnavailable):
            sweeper._sweep()
    assert open_keys(town) == 0
    with pytest.raises(NotFound):
        read_upload(town.house, upload)
    assert len(uploads(town)) == 1
    sweeper._sweep()
    assert uploads(town) == []
