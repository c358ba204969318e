"""Whatever breaks in a job, each release and each small job ends, is told about, and holds no reserve any more."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.budget import Ledgers
from gateway.db.tables.releases import job
from gateway.errors import NotRecorded, Unavailable
from gateway.jobs import produce as producing
from gateway.jobs import rim
from gateway.jobs.conclude import conclude_production
from gateway.jobs.engine import JsonSerializer, StepBroke
from gateway.releases import FINAL, Status
from tests.integration.stand_in import NOT_DP, run_stand_in

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240.0
Town = Any
ENDS = {
    "take-up": (Status.RELEASED, ["spent"]),
    "reading": (Status.RELEASED, ["spent"]),
    "full-disk": (Status.FAILED, ["spent"]),
    "garbled": (Status.FAILED, ["spent"]),
    "step-lost": (Status.FAILED, ["spent"]),  # nobody knows what the step made
    "all-lost": (Status.RELEASED, ["spent", "spent"]),  # taken up again, after the first fit was charged
}


def asked(town: Town) -> str:
    answer = town.ask(**NOT_DP)
    assert answer.status_code == 202, answer.text
    return str(answer.get_json()["id"])


def outcomes(town: Town, release_id: str) -> list[str | None]:
    with town.house.database.read() as work:
        charges = Ledgers(work).charges_of_release(release_id)
    return [None if charge.settlement is None else charge.settlement.outcome for charge in charges]


def small_job(town: Town, job_id: str) -> Any:
    with town.house.database.read() as work:
        return work.execute(select(job.c.status, job.c.result).where(job.c.id == job_id)).one()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def either_town(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "sqlite":
        yield request.getfixturevalue("town")
        return
    found = importlib.import_module("tests.integration.conftest")
    made = found.make_town(tmp_path, database=request.getfixturevalue("postgres"))
    yield made
    made.house.enqueue.close()
    made.house.database.dispose()


@pytest.mark.slow
def test_a_worker_in_which_everything_breaks_once_ends_every_job(either_town: Town, tmp_path: Path) -> None:
    town = either_town
    plan = {asked(town): fault for fault in ENDS}
    job_id = town.get("/v1/datasets/card-transactions/profile", "dana").headers["Location"].rsplit("/", 1)[-1]
    document = tmp_path / "plan.json"
    document.write_text(json.dumps(plan), "utf-8")
    settings = town.house.settings
    command = [sys.executable, "-m", "tests.integration.planted_worker", str(settings.home), str(document)]
    command += [settings.database] if settings.database else []
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:
        end = time.monotonic() + PATIENCE
        while any(town.release(name).status not in {*FINAL, Status.RELEASED} for name in plan) and time.monotonic() < end:
            assert worker.poll() is None, "the worker itself broke"
            time.sleep(0.2)
        while small_job(town, job_id).status == "queued" and time.monotonic() < end:
            time.sleep(0.2)
    found = {fault: (town.release(name).status, outcomes(town, name)) for name, fault in plan.items()}
    assert found == ENDS
    failures = {fault: town.release(name).failure for name, fault in plan.items() if ENDS[fault][0] is Status.FAILED}
    assert all(failure["code"] == "internal-error" for failure in failures.values()), failures
    assert failures["full-disk"]["message"].endswith("(OSError: No space left on device)")
    assert {event.subjects.release for event in town.events("release.failed")} == {
        name for name, fault in plan.items() if fault in failures
    }
    assert [dict(event.data)["jobs"] for event in town.events("job.resumed")] == [
        [f"release:{name}" for name, fault in plan.items() if fault == "all-lost"]
    ]
    status, result = small_job(town, job_id)
    assert (status, result["code"]) == ("failed", "internal-error")


def test_a_conclusion_that_breaks_fails_the_release_and_settles(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producing, "run_production", run_stand_in)
    release_id = asked(town)
    made = producing.produce(town.house, release_id)
    assert made is not None
    # What was sealed is not what is read back: neither the gate's nor the person's fault.
    row = next(row for row in made["artifacts"] if row["name"] == "full-report-card.json")
    (town.house.settings.home / "artifacts" / row["location"]).write_bytes(b"not what was sealed")
    assert conclude_production(town.house, made) == Status.FAILED
    failure = town.release(release_id).failure
    assert (failure["code"], outcomes(town, release_id)) == ("verification-failed", ["spent"])


def test_a_failure_that_cannot_be_written_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rim, "WAITS", (0.0,))
    tries = []

    def refuse(failure: Any) -> None:
        tries.append(failure.code)
        raise NotRecorded("planted")

    with pytest.raises(NotRecorded):
        rim.at_the_rim(lambda: 1 / 0, give_up=refuse)
    assert tries == ["internal-error", "internal-error"]


def test_only_what_is_unavailable_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rim, "WAITS", (0.0, 0.0))
    answers: list[Any] = [Unavailable("planted"), NotRecorded("planted"), "done"]

    def act() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    assert rim.patiently(act) == "done"
    answers[:] = [ValueError("planted"), "never reached"]
    with pytest.raises(ValueError, match="planted"):
        rim.patiently(act)


def test_the_engine_keeps_an_error_without_its_text() -> None:
    form = JsonSerializer()
    kept = form.serialize(ValueError("a cell: 41"))
    assert "41" not in kept
    told = form.deserialize(kept)
    assert isinstance(told, StepBroke)
    assert (told.slug, "ValueError" in told.detail) == ("internal-error", True)
    assert form.deserialize(form.serialize(NotRecorded("planted"))).slug == "not-recorded"
    assert form.deserialize(form.serialize({"status": "released"})) == {"status": "released"}
