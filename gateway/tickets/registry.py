"""The file registry: tickets kept in the gateway's own database, for places without a ticket system and for trying out.

Responsible for the rows of `ticket`. Invariants: an approval is dated when the status becomes an approved one; any later
change of what it rests on moves `changed_at` past it, so that a policy sees it; nothing is ever deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from gateway.db.tables.tickets import ticket as table
from gateway.db.work import Database, Work
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.tickets.port import KEY, Fetched, TicketProblem
from policies.types import TicketFacts

__all__ = ["APPROVED", "FileRegistry", "Tickets"]

APPROVED = frozenset({"approved"})
MAX_COMMENTS = 100


class Tickets:
    """Tickets within one unit of work."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(
        self,
        key: str,
        *,
        status: str,
        now: datetime,
        dataset: str | None = None,
        assignee: str | None = None,
        approver: str | None = None,
        project: str | None = None,
        type: str = "Task",  # noqa: A002 - the word of the ticket system
    ) -> TicketFacts:
        """Open a ticket.

        Args:
            key: As in `DATA-101`.
            status: A status of APPROVED (case ignored) dates the approval `now`.
            now: The present moment.
            dataset: The dataset that it is about.
            assignee: Account id of who works on it.
            approver: Account id of who approved it.
            project: Default: what stands before the dash.
            type: What kind of case it is.

        Raises:
            InvalidRequest: the key is not one.
            Conflict: there is such a ticket already.
        """
        if not KEY.match(key):
            raise InvalidRequest(f"a ticket key is a project and a number, as in DATA-101, not '{key[:40]}'")
        if self._row(key) is not None:
            raise Conflict(f"there is a ticket {key} already; change it with `ticket set`")
        row: dict[str, Any] = {
            "key": key,
            "project": project or key.rsplit("-", 1)[0],
            "type": type,
            "status": status,
            "dataset": dataset,
            "assignee": assignee,
            "approver": approver,
            "approved_at": now if _is_approved(status) else None,
            "changed_at": now,
            "extra": {},
        }
        self._work.execute(insert(table), row)
        return _facts(row, now)

    def set(self, key: str, *, now: datetime, **changes: str | None) -> TicketFacts:
        """Change a ticket.

        Args:
            key: Which.
            now: Dates the change, and the approval when the status becomes an approved one.
            changes: Any of status, dataset, assignee, approver, project, type.

        Raises:
            NotFound: there is no such ticket.
            InvalidRequest: an unknown field.
        """
        unknown = changes.keys() - {"status", "dataset", "assignee", "approver", "project", "type"}
        if unknown:
            raise InvalidRequest(f"a ticket has no field {', '.join(sorted(unknown))}")
        row = self._row(key, for_update=True)
        if row is None:
            raise NotFound(f"there is no ticket {key}")
        moved = {name: value for name, value in changes.items() if row[name] != value}
        status = changes.get("status")
        approves = status is not None and _is_approved(status)
        if moved or approves:
            row = {**row, **moved, "changed_at": now, "approved_at": now if approves else row["approved_at"]}
            self._work.execute(update(table).where(table.c.key == key), {k: v for k, v in row.items() if k != "key"})
        return _facts(row, now)

    def get(self, key: str, *, now: datetime) -> TicketFacts | None:
        """The ticket, or None."""
        row = self._row(key)
        return None if row is None else _facts(row, now)

    def list(self, *, now: datetime, limit: int = 1000) -> tuple[TicketFacts, ...]:
        """Tickets by key."""
        rows = self._work.execute(select(table).order_by(table.c.key).limit(limit)).mappings()
        return tuple(_facts(row, now) for row in rows)

    def comment(self, key: str, text: str, *, now: datetime) -> None:
        """Keep a comment; the newest hundred stay.

        Raises:
            NotFound: there is no such ticket.
        """
        row = self._row(key, for_update=True)
        if row is None:
            raise NotFound(f"there is no ticket {key}")
        comments = [*row["extra"].get("comments", []), {"at": now.isoformat(), "text": text[:4000]}]
        extra = {**row["extra"], "comments": comments[-MAX_COMMENTS:]}
        self._work.execute(update(table).where(table.c.key == key).values(extra=extra))

    def _row(self, key: str, *, for_update: bool = False) -> dict[str, Any] | None:
        query = select(table).where(table.c.key == key)
        if for_update and not self._work.is_sqlite:
            query = query.with_for_update()
        row = self._work.execute(query).mappings().one_or_none()
        return None if row is None else dict(row)


class FileRegistry:
    """The registry as a source of tickets (see `port.TicketSource`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def fetch(self, key: str, *, now: datetime) -> Fetched:
        """The ticket as it is now, or why there is none."""
        with self._database.read() as work:
            found = Tickets(work).get(key, now=now) if KEY.match(key) else None
        if found is None:
            return TicketProblem(key=key, kind="not-found", detail=f"the registry has no ticket {key[:40]}")
        return found

    def comment(self, key: str, text: str, *, now: datetime) -> TicketProblem | None:
        """Keep a comment on the ticket."""
        with self._database.begin() as work:
            try:
                Tickets(work).comment(key, text, now=now)
            except NotFound as error:
                return TicketProblem(key=key, kind="not-found", detail=error.detail)
            work.commit()
        return None


def _is_approved(status: str) -> bool:
    return status.casefold() in APPROVED


def _facts(row: Mapping[str, Any], now: datetime) -> TicketFacts:
    # Comments are what the gateway wrote itself: they are no part of what the ticket says.
    return TicketFacts(
        key=row["key"],
        project=row["project"],
        type=row["type"],
        status=row["status"],
        dataset=row["dataset"],
        assignee=row["assignee"],
        approver=row["approver"],
        approved_at=row["approved_at"],
        changed_at=row["changed_at"],
        fetched_at=now,
        extra={name: value for name, value in row["extra"].items() if name != "comments"},
    )
