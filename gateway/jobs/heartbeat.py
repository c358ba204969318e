"""Workers say that they live, and take over from those that do not.

Invariants:
    - A worker whose heartbeat is older than `DEAD_AFTER` counts as dead; its unfinished jobs go back into the queue.
    - Two workers may notice the same death: putting a job back twice is harmless, because every execution takes the release
      up with a new fence, and only the newest fence can publish.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dbos import DBOS
from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.audit import Log
from gateway.db import Database
from gateway.db.tables.releases import worker
from gateway.jobs.engine import QUEUE

__all__ = ["BEAT_EVERY", "DEAD_AFTER", "beat", "leave", "take_over"]

BEAT_EVERY = timedelta(seconds=1)
DEAD_AFTER = timedelta(seconds=6)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def beat(database: Database, executor: str, *, now: datetime) -> None:
    """Say that this worker lives."""
    with database.begin() as work:
        dialect = sqlite if work.is_sqlite else postgresql
        statement = dialect.insert(worker).values(executor=executor, beat_at=now)
        work.execute(statement.on_conflict_do_update(index_elements=["executor"], set_={"beat_at": now}))
        work.commit()


def leave(database: Database, executor: str) -> None:
    """End in order: what this worker had not finished is taken over at once instead of after `DEAD_AFTER`."""
    with database.begin() as work:
        work.execute(update(worker).where(worker.c.executor == executor).values(beat_at=LONG_AGO))
        work.commit()


def take_over(database: Database, executor: str, *, now: datetime) -> int:
    """Put the jobs of dead workers back into the queue; answers how many.

    The dead worker's row is removed last: whoever dies in between leaves it to the next.
    """
    with database.read() as work:
        dead = work.execute(
            select(worker.c.executor).where(worker.c.beat_at < now - DEAD_AFTER, worker.c.executor != executor)
        ).scalars()
        names = list(dead)
    resumed = 0
    for name in names:
        jobs = [found.workflow_id for found in DBOS.list_workflows(status="PENDING", executor_id=name)]
        for job in jobs:
            DBOS.resume_workflow(job, queue_name=QUEUE)
        resumed += len(jobs)
        with database.begin() as work:
            work.execute(delete(worker).where(worker.c.executor == name, worker.c.beat_at < now - DEAD_AFTER))
            if jobs:
                Log(work).append("job.resumed", at=now, data={"dead": name, "by": executor, "jobs": jobs})
            work.commit()
    return resumed
