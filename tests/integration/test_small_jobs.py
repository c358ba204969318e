"""Jobs beside releases: whoever is sent to one can look after it."""

from __future__ import annotations

from typing import Any

from gateway.access import Principals, generate_keypair
from gateway.releases.small_jobs import finish_job
from gateway.telemetry import utc_now

PATH = "/v1/datasets/card-transactions/profile"


def test_two_stewards_who_ask_for_the_same_profile_both_get_an_answer(town: Any) -> None:
    key = generate_keypair()
    with town.house.database.begin() as work:
        Principals(work).add("dora", roles=["steward"], key=key.public, now=utc_now())
        work.commit()
    town.keys["dora"] = key
    jobs = {who: town.get(PATH, who).headers["Location"] for who in ("dana", "dora")}
    for who, job in jobs.items():
        answer = town.get(job, who)
        assert (answer.status_code, answer.get_json()["status"]) == (200, "queued")
    assert town.get(PATH, "dana").headers["Location"] == jobs["dana"], "asking again starts nothing new"
    assert town.get(jobs["dana"], "dora").status_code == 404
    finish_job(town.house, jobs["dana"].rsplit("/", 1)[-1], status="done", result={"rows": 7}, now=utc_now())
    for who in jobs:
        assert town.get(PATH, who).get_json() == {"rows": 7}, "a result is shown to whoever may ask"
    assert len(town.events("dataset.profiled")) == 5
    finish_job(town.house, jobs["dora"].rsplit("/", 1)[-1], status="failed", result={}, now=utc_now())
    assert town.get(PATH, "dora").get_json() == {"rows": 7}
