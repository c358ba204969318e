"""Releases in the database: added once, moved along the state table, read by requesters and by compliance.

Invariants:
    - A status changes only through `move`, which checks the state table and the fence.
    - `fence` grows by one whenever a worker takes a release up; a write with an older fence changes nothing.
    - The signed request is kept byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, insert, or_, select, update

from gateway.db import Work
from gateway.db.tables.releases import release
from gateway.errors import Conflict, NotFound
from gateway.releases.states import Move, Status, move_between

__all__ = ["Holding", "Past", "Release", "Releases"]

PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release as it stands in the database.

    Attributes:
        released_event_id: The event that the manifest names: it was evaluated, and let out or given to reviewers.
        handover_event_id: The event that let it out, which under review is a later one; None until then.
    """

    id: str
    principal: str
    account_id: str
    ticket: str
    dataset: str
    dataset_version: int | None
    policy: str | None
    policy_version: int | None
    policy_digest: str | None
    status: Status
    stage: str
    progress: float
    request: Mapping[str, Any]
    request_digest: str
    signed_request: str
    ticket_snapshot: Mapping[str, Any] | None
    ticket_checked_at: datetime | None
    decision_id: str
    decision: Mapping[str, Any]
    decision_facts: Mapping[str, Any] | None
    verdict: Mapping[str, Any] | None
    report_card: Mapping[str, Any] | None
    report_card_digest: str | None
    spent: Mapping[str, Any] | None
    generator_version: str | None
    manifest_digest: str | None
    released_event_id: str | None
    handover_event_id: str | None
    failure: Mapping[str, Any] | None
    fence: int
    requested_at: datetime
    updated_at: datetime
    released_at: datetime | None
    expires_at: datetime | None
    closed_at: datetime | None
    close_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What is replayed of a release: the facts of its decision (None in releases of before they were kept), and what followed."""

    account_id: str
    dataset: str
    dataset_version: int | None
    status: Status
    decision: Mapping[str, Any]
    facts: Mapping[str, Any] | None
    verdict: Mapping[str, Any] | None
    report_card: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A release as somebody holds it, or may come to hold it."""

    principal: str
    account_id: str
    dataset_version: int | None
    status: Status
    request: Mapping[str, Any]


def _of(row: Row[Any]) -> Release:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way to a dictionary
    return Release(**{**values, "status": Status(values["status"])})


def _equals(column: str, value: Any) -> ColumnElement[bool]:
    """A column has this value, or one of these."""
    many = isinstance(value, list | tuple | frozenset)
    return release.c[column].in_(value) if many else release.c[column] == value


class Releases:
    """The repository of releases in one unit of work."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(self, values: Mapping[str, Any]) -> None:
        """Add a release; it is born `received` and moved in the same unit of work."""
        self._work.execute(insert(release).values(**values))

    def find(self, release_id: str) -> Release | None:
        """A release, or None."""
        row = self._work.execute(select(release).where(release.c.id == release_id)).one_or_none()
        return None if row is None else _of(row)

    def get(self, release_id: str) -> Release:
        """A release.

        Raises:
            NotFound: there is none with this id.
        """
        found = self.find(release_id)
        if found is None:
            raise NotFound(f"there is no release '{release_id}'")
        return found

    def for_update(self, release_id: str) -> Release:
        """A release, held against other writers until the unit of work ends."""
        statement = select(release).where(release.c.id == release_id).with_for_update()
        row = self._work.execute(statement).one_or_none()
        if row is None:
            raise NotFound(f"there is no release '{release_id}'")
        return _of(row)

    def move(self, current: Release, target: Status, *, at: datetime, fence: int | None = None, **values: Any) -> Move:
        """Move a release along the state table.

        Args:
            current: The release as read `for_update`.
            target: Where to.
            at: Now.
            fence: The caller's fence, when a worker moves it; a newer fence in the database refuses the move.
            values: Further columns to set in the same statement.

        Returns:
            The move, whose `event` is to be appended to the log in the same unit of work.

        Raises:
            Conflict: there is no such move, or somebody else moved the release meanwhile.
        """
        step = move_between(current.status, target)
        if step is None:
            raise Conflict(f"a release that is {current.status} cannot become {target}", code="wrong-status")
        condition = and_(release.c.id == current.id, release.c.status == current.status)
        if fence is not None:
            condition = and_(condition, release.c.fence == fence)
        statement = update(release).where(condition).values(status=target, updated_at=at, **values)
        if self._work.execute(statement).rowcount != 1:
            raise Conflict(f"release {current.id} was taken over by another worker", code="fenced")
        return step

    def take_up(self, current: Release, *, at: datetime) -> int:
        """Raise the fence: from now on only the caller's writes count. Returns the new fence."""
        fence = current.fence + 1
        statement = update(release).where(release.c.id == current.id).values(fence=fence, updated_at=at)
        self._work.execute(statement)
        return fence

    def set_progress(self, release_id: str, *, fence: int, progress: float, stage: str, at: datetime) -> bool:
        """Note how far a worker is; False when the worker was fenced off or the release was cancelled."""
        statement = (
            update(release)
            .where(release.c.id == release_id, release.c.fence == fence)
            .where(release.c.status.in_([Status.GENERATING, Status.EVALUATING]))
            .values(progress=progress, stage=stage, updated_at=at)
        )
        return bool(self._work.execute(statement).rowcount == 1)

    def put(self, release_id: str, **values: Any) -> None:
        """Set columns that are no status: proofs, ticket snapshots."""
        if "status" in values:
            raise ValueError("a status changes through move()")
        self._work.execute(update(release).where(release.c.id == release_id).values(**values))

    def page(
        self, *, before: tuple[datetime, str] | None = None, limit: int = 50, only: Mapping[str, Any] | None = None
    ) -> Sequence[Release]:
        """Newest first, optionally only those with equal columns (principal, ticket, dataset, status)."""
        statement = select(release).order_by(release.c.requested_at.desc(), release.c.id.desc()).limit(limit)
        for column, value in (only or {}).items():
            statement = statement.where(_equals(column, value))
        if before is not None:
            moment, last = before
            statement = statement.where(
                or_(release.c.requested_at < moment, and_(release.c.requested_at == moment, release.c.id < last))
            )
        return [_of(row) for row in self._work.execute(statement)]

    def all_of(self, **only: Any) -> Sequence[Release]:
        """All releases with these column values, oldest first."""
        statement = select(release).order_by(release.c.requested_at, release.c.id)
        for column, value in only.items():
            statement = statement.where(_equals(column, value))
        return [_of(row) for row in self._work.execute(statement)]

    def holdings(self, dataset: str, *, status: Sequence[Status]) -> Sequence[Holding]:
        """Who has which release of a dataset in one of these statuses; long documents are not read."""
        columns = [release.c[field.name] for field in fields(Holding)]
        statement = select(*columns).where(release.c.dataset == dataset, release.c.status.in_(status))
        rows = self._work.execute(statement.order_by(release.c.requested_at, release.c.id)).mappings()
        return [Holding(**{**row, "status": Status(row["status"])}) for row in rows]

    def past(self, datasets: Sequence[str], *, since: datetime | None = None, account: str | None = None) -> Iterator[Past]:
        """Decisions about these datasets with what followed, oldest first; read row by row, because report cards are long."""
        column = release.c
        statement = select(
            column.account_id, column.dataset, column.dataset_version, column.status, column.decision,
            column.decision_facts.label("facts"), column.verdict, column.report_card,
        ).where(column.dataset.in_(datasets)).order_by(column.requested_at, column.id)  # fmt: skip
        if since is not None:
            statement = statement.where(column.requested_at >= since)
        if account is not None:
            statement = statement.where(column.account_id == account)
        for row in self._work.execute(statement.execution_options(yield_per=PAGE)).mappings():
            yield Past(**{**row, "status": Status(row["status"])})

    def count(self, **only: Any) -> int:
        """How many releases have these column values; a sequence means any of them."""
        statement = select(func.count()).select_from(release)
        for column, value in only.items():
            statement = statement.where(_equals(column, value))
        return int(self._work.execute(statement).scalar_one())
