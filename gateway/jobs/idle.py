"""Find jobs that nobody works on, and see to it that each of them ends.

Two kinds: what the engine holds for begun by this worker while no thread of it is at it, which goes back into the queue; and what
the engine holds for ended while its release or small job still waits for an end, which is failed, and charged for what was read.
(What a dead worker had begun is `heartbeat`'s.)

Invariants:
    - A job goes back only after it was seen idle several times in a row: between the engine's claim and the job's first line, and
      between its last line and the engine's note, there is a moment without a thread.
    - A release is failed only under the fence that was seen before the engine was asked.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from dbos import DBOS
from sqlalchemy import select

from gateway.audit import Log
from gateway.db.tables.releases import job as job_table
from gateway.db.tables.releases import release as release_table
from gateway.jobs.engine import QUEUE
from gateway.releases import House
from gateway.releases.abandoned import abandon
from gateway.releases.produce import LIVE
from gateway.releases.small_jobs import finish_job
from gateway.telemetry import logger

__all__ = ["LOOK_EVERY", "Caretaker", "at_work"]

LOOK_EVERY = 10.0
LOOKS = 3
SETTLED_AFTER = timedelta(seconds=60)
"""How long a release or job must have stood still before the engine is asked about it."""
BATCH = 200
UNDER_WAY = frozenset({"ENQUEUED", "PENDING", "DELAYED"})
UNTOLD = "its job ended without saying how; the operator's log may tell more"

_threads: Counter[str] = Counter()
_lock = threading.Lock()


@contextmanager
def at_work(name: str) -> Iterator[None]:
    """Say that a thread of this process is at a job, as long as it is."""
    with _lock:
        _threads[name] += 1
    try:
        yield
    finally:
        with _lock:
            _threads[name] -= 1
            if not _threads[name]:
                del _threads[name]


class Caretaker:
    """Looks after the jobs of one worker, now and then."""

    def __init__(self, house: House, executor: str) -> None:
        self._house, self._executor = house, executor
        self._seen: Counter[str] = Counter()

    def look(self, now: datetime) -> None:
        """Put back what stands still, and end what can no longer end by itself."""
        self._put_back(now)
        self._end_releases(now)
        self._end_small_jobs(now)

    def _put_back(self, now: datetime) -> None:
        begun = DBOS.list_workflows(status="PENDING", executor_id=self._executor, load_input=False, load_output=False)
        with _lock:
            idle = [found.workflow_id for found in begun if not _threads[found.workflow_id]]
        self._seen = Counter({name: self._seen[name] + 1 for name in idle})
        again = [name for name in idle if self._seen[name] >= LOOKS]
        for name in again:
            DBOS.resume_workflow(name, queue_name=QUEUE)
            del self._seen[name]
        if again:
            with self._house.database.begin() as work:
                Log(work).append("job.resumed", at=now, data={"idle": self._executor, "by": self._executor, "jobs": again})
                work.commit()

    def _end_releases(self, now: datetime) -> None:
        columns = (release_table.c.id, release_table.c.fence)
        still = (release_table.c.status.in_(LIVE), release_table.c.updated_at <= now - SETTLED_AFTER)
        with self._house.database.read() as work:
            waiting = {str(row.id): int(row.fence) for row in work.execute(select(*columns).where(*still))}
        for release_id in _ended("release", sorted(waiting)):
            if abandon(self._house, release_id, fence=waiting[release_id], code="internal-error", message=UNTOLD, now=now):
                logger("jobs").error("a release was left without a job", release_id=release_id)

    def _end_small_jobs(self, now: datetime) -> None:
        still = (job_table.c.status == "queued", job_table.c.requested_at <= now - SETTLED_AFTER)
        with self._house.database.read() as work:
            waiting = [str(found) for found in work.execute(select(job_table.c.id).where(*still)).scalars()]
        for job_id in _ended("job", waiting):
            finish_job(self._house, job_id, status="failed", result={"code": "internal-error", "message": UNTOLD}, now=now)


def _ended(kind: str, subjects: Sequence[str]) -> Iterator[str]:
    """Those whose job the engine does not hold for waiting or running."""
    for start in range(0, len(subjects), BATCH):
        batch = subjects[start : start + BATCH]
        names = [f"{kind}:{subject}" for subject in batch]
        found = DBOS.list_workflows(workflow_ids=names, load_input=False, load_output=False)
        under_way = {each.workflow_id for each in found if each.status in UNDER_WAY}
        yield from (subject for subject in batch if f"{kind}:{subject}" not in under_way)
