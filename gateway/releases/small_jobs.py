"""Small jobs beside releases: profiles, scans and leak traces, which only the worker may compute.

Invariants:
    - A job reads a hostile or confidential file in a bounded child of the worker, never in the web.
    - Asking for a job is an event; its result is kept for an hour of asking again, and shown to those who may ask.
    - A job that waits belongs to who asked for it, and nobody else is sent to it: looking after it is not recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import and_, insert, or_, select, update

from gateway.audit import Log
from gateway.db import Work
from gateway.db.tables.releases import job as table
from gateway.errors import NotFound
from gateway.releases.house import House

__all__ = ["Job", "find_job", "finish_job", "request_job"]

FRESH = timedelta(hours=1)
EVENTS = {"profile": "dataset.profiled", "pii": "dataset.scanned", "trace-file": "trace.file-asked"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A small job: `queued`, `done` or `failed`."""

    id: str
    kind: str
    requested_by: str
    status: str
    input: Mapping[str, Any]
    result: Mapping[str, Any] | None
    requested_at: datetime
    finished_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """For whoever asked."""
        return {
            "id": self.id,
            "kind": self.kind,
            "status": self.status,
            "result": self.result,
            "requested_at": self.requested_at.isoformat(),
            "finished_at": None if self.finished_at is None else self.finished_at.isoformat(),
            "links": {"self": f"/v1/jobs/{self.id}"},
        }


def request_job(house: House, *, kind: str, subject: Mapping[str, Any], by: str, now: datetime) -> Job:
    """Ask for a job, or get the fresh result of an equal one, whoever asked for it, or one's own equal one that waits."""
    with house.database.begin() as work:
        Log(work).append(EVENTS[kind], at=now, actor=by, dataset=subject.get("dataset"), data={"kind": kind})
        known = None if kind == "trace-file" else _fresh(work, kind, subject, by, now)
        found = known or _add(house, work, kind, subject, by, now)
        work.commit()
    return found


def _fresh(work: Work, kind: str, subject: Mapping[str, Any], by: str, now: datetime) -> Job | None:
    is_for_them = or_(table.c.status == "done", and_(table.c.status == "queued", table.c.requested_by == by))
    query = select(table).where(table.c.kind == kind, table.c.requested_at > now - FRESH, is_for_them)
    rows = work.execute(query.order_by((table.c.status == "done").desc(), table.c.requested_at.desc())).mappings()
    return next((Job(**row) for row in rows if row["input"] == dict(subject)), None)


def _add(house: House, work: Work, kind: str, subject: Mapping[str, Any], by: str, now: datetime) -> Job:
    row = {
        "id": uuid4().hex, "kind": kind, "requested_by": by, "status": "queued", "input": dict(subject), "result": None,
        "requested_at": now, "finished_at": None,
    }  # fmt: skip
    work.execute(insert(table).values(row))
    house.enqueue(work, kind="job", subject=str(row["id"]))
    return Job(**row)  # type: ignore[arg-type]  # the row has these very columns


def find_job(work: Work, job_id: str) -> Job:
    """A job.

    Raises:
        NotFound: there is none.
    """
    row = work.execute(select(table).where(table.c.id == job_id)).mappings().first()
    if row is None:
        raise NotFound(f"there is no job '{job_id[:64]}'")
    return Job(**row)


def finish_job(house: House, job_id: str, *, status: str, result: Mapping[str, Any], now: datetime) -> None:
    """Keep what came of a job; a finished one stays as it is."""
    with house.database.begin() as work:
        waiting = (table.c.id == job_id, table.c.status == "queued")
        done = work.execute(update(table).where(*waiting).values(status=status, result=dict(result), finished_at=now))
        if done.rowcount == 1:
            job = find_job(work, job_id)
            Log(work).append("job.finished", at=now, data={"job": job_id, "kind": job.kind, "status": status})
            work.commit()
