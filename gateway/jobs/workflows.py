"""The durable workflows: what the engine runs, step by step, and takes up again where it stopped.

Invariants: a finished step is not run again; its result is JSON. The house is given when a worker declares the workflows.
"""

from __future__ import annotations

from typing import Any

from dbos import DBOS

from gateway.jobs.conclude import conclude_production
from gateway.jobs.engine import WORKFLOWS
from gateway.jobs.idle import at_work
from gateway.jobs.produce import produce
from gateway.jobs.small import run_job
from gateway.releases import House

__all__ = ["declare"]


def declare(house: House) -> None:
    """Declare the workflows of this process for a house; once, before the engine is launched."""

    @DBOS.step(name="produce")
    def produce_step(release_id: str) -> dict[str, Any] | None:
        return produce(house, release_id)

    @DBOS.step(name="conclude")
    def conclude_step(produced: dict[str, Any]) -> str:
        return conclude_production(house, produced)

    @DBOS.workflow(name=WORKFLOWS["release"])
    def produce_release(release_id: str) -> str:
        with at_work(f"release:{release_id}"):
            produced = produce_step(release_id)
            return "ended" if produced is None else conclude_step(produced)

    @DBOS.step(name="run")
    def job_step(job_id: str) -> str:
        return run_job(house, job_id)

    @DBOS.workflow(name=WORKFLOWS["job"])
    def small_job(job_id: str) -> str:
        with at_work(f"job:{job_id}"):
            return job_step(job_id)

    _declared.extend((produce_release, small_job))


_declared: list[Any] = []
"""Keeps the decorated functions alive as long as the process."""
