"""Small jobs: profiles and scans of confidential tables, each in a bounded child.

Invariants: a failure is a result with a code and one sentence, kept like a success; no cell of a table stands in either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.catalogue import Datasets
from gateway.jobs.order import Failure
from gateway.jobs.rim import at_the_rim, patiently
from gateway.jobs.uploads import trace_upload
from gateway.releases import House
from gateway.releases.small_jobs import find_job, finish_job
from gateway.storage.bounded import Bounds, Completed, run_bounded
from gateway.telemetry import utc_now
from policies.canonical import canonical_json

__all__ = ["KINDS", "run_job"]

KINDS: Mapping[str, str] = {
    "profile": "gateway.jobs.inspect:profile_source",
    "pii": "gateway.jobs.inspect:scan_source",
}


def run_job(house: House, job_id: str) -> str:
    """Run a job to its end; answers `done` or `failed`."""

    def give_up(failure: Failure) -> None:
        result = {"code": failure.code, "message": failure.message}
        finish_job(house, job_id, status="failed", result=result, now=utc_now())

    return at_the_rim(lambda: _run(house, job_id), give_up=give_up) or "failed"


def _run(house: House, job_id: str) -> str:
    with house.database.read() as work:
        job = find_job(work, job_id)
    if job.status != "queued":
        return job.status
    if job.kind == "trace-file":
        status, result = trace_upload(house, job)
    else:
        status, result = _inspect(house, job.kind, job.input)
    patiently(lambda: finish_job(house, job_id, status=status, result=result, now=utc_now()))
    return status


def _inspect(house: House, kind: str, subject: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    with house.database.read() as work:
        dataset = Datasets(work).get(subject["dataset"], version=subject["version"])
    arguments = {
        "card": canonical_json(dataset.card).decode(),
        "source": dataset.source,
        "endpoint": house.settings.s3_endpoint,
    }
    module, _, name = KINDS[kind].partition(":")
    bounds = Bounds(memory_bytes=house.settings.job_memory_mb << 20, wall_seconds=float(house.settings.job_timeout))
    answer = run_bounded(f"{module}:{name}", arguments, bounds=bounds, credentials=dataset.card.spec.source.startswith("s3://"))
    if isinstance(answer, Completed):
        return "done", dict(answer.value)
    return "failed", {"code": answer.kind, "message": answer.sentence}
