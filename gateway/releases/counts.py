"""How the gateway stands, in numbers: for those who watch it, never about a person.

Invariants:
    - Nothing here names a principal, a ticket or a release; datasets are named only where the operator has said so.
    - Every number is read by an index or over the last day, so that looking often costs little however much there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from gateway.budget import Ledgers
from gateway.catalogue import Datasets
from gateway.db import Work
from gateway.db.tables.audit import audit_event, checkpoint
from gateway.db.tables.releases import job, release, worker
from gateway.releases.documents import enforceable, limits_of

__all__ = ["Counts", "budgets_left", "counts_of"]

DAY: Final = timedelta(days=1)
ALIVE: Final = timedelta(seconds=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """One look at the database.

    Attributes:
        releases: How many stand where, by status, since ever.
        judged: Releases of the last day that the gate has judged, by the status they came to.
        seconds: Seconds from request to end, and how many releases that is, by status, over the last day.
        jobs: Small jobs by kind and status.
        leaves: Size of the log's tree.
        waiting: Events that are no leaves yet.
        waiting_seconds: Age of the oldest of them; 0 when there is none.
        workers: Workers that have said within a few seconds that they live.
    """

    releases: Mapping[str, int]
    judged: Mapping[str, int]
    seconds: Mapping[str, tuple[float, int]]
    jobs: Mapping[tuple[str, str], int]
    leaves: int
    waiting: int
    waiting_seconds: float
    workers: int


def counts_of(work: Work, *, now: datetime) -> Counts:
    """Count."""
    judged, seconds = _last_day(work, now)
    oldest = work.execute(select(audit_event.c.at).where(audit_event.c.leaf_index.is_(None)).order_by(audit_event.c.id).limit(1))
    waits_since = oldest.scalar()
    return Counts(
        releases={str(row[0]): int(row[1]) for row in work.execute(_by(release.c.status))},
        judged=judged,
        seconds=seconds,
        jobs={
            (str(row[0]), str(row[1])): int(row[2])
            for row in work.execute(select(job.c.kind, job.c.status, func.count()).group_by(job.c.kind, job.c.status))
        },
        leaves=int(work.execute(select(func.max(checkpoint.c.size))).scalar() or 0),
        waiting=int(work.execute(select(func.count()).where(audit_event.c.leaf_index.is_(None))).scalar_one()),
        waiting_seconds=0.0 if waits_since is None else max(0.0, (now - waits_since).total_seconds()),
        workers=int(work.execute(select(func.count()).where(worker.c.beat_at > now - ALIVE)).scalar_one()),
    )


def budgets_left(work: Work, *, now: datetime) -> dict[str, tuple[float, float]]:
    """ε that is left and the limit of ε, by dataset; without those for which no document states a limit."""
    policies = enforceable(work)
    left = {}
    for dataset in Datasets(work).list():
        statement = Ledgers(work).statement(dataset.card, limits=limits_of(work, dataset.card, policies=policies), now=now)
        if statement.remaining is not None and statement.limit is not None:
            remaining, limit = statement.remaining.epsilon, statement.limit.epsilon
            if remaining is not None and limit is not None:
                left[dataset.name] = (float(remaining), float(limit))
    return left


def _by(column: object) -> object:
    return select(column, func.count()).group_by(column)  # type: ignore[call-overload]  # a column of ours


def _last_day(work: Work, now: datetime) -> tuple[dict[str, int], dict[str, tuple[float, int]]]:
    columns = (
        release.c.status,
        release.c.requested_at,
        release.c.released_at,
        release.c.closed_at,
        release.c.verdict.is_not(None),
    )
    judged: dict[str, int] = {}
    seconds: dict[str, tuple[float, int]] = {}
    for status, asked, let_out, closed, is_judged in work.execute(select(*columns).where(release.c.requested_at > now - DAY)):
        if is_judged:
            judged[status] = judged.get(status, 0) + 1
        ended = let_out or closed
        if ended is not None:
            total, count = seconds.get(status, (0.0, 0))
            seconds[status] = (total + (ended - asked).total_seconds(), count + 1)
    return judged, seconds
