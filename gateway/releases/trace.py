"""Trace: from a ticket, a release, a principal, a dataset, a token or a digest to the whole story of a release.

Invariants:
    - An answer is read from rows and log alone; nothing is recomputed from confidential data.
    - Every question finds releases by an index, and every part of all their stories is read by one query, so an answer takes
      the same time however long the log is.
    - An answer that leaves releases out says so, and how to go on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Table, and_, func, or_, select

from gateway.audit import Log
from gateway.audit.event import Entry
from gateway.budget.entries import Entry as LedgerEntry
from gateway.budget.entries import charges_of
from gateway.db import Work
from gateway.db.tables.access import release_token
from gateway.db.tables.budget import budget_entry
from gateway.db.tables.releases import release as release_table
from gateway.db.tables.releases import review_vote
from gateway.db.tables.storage import artifact
from gateway.releases.artifacts import Artifact
from gateway.releases.repository import Release, Releases
from gateway.releases.review import Vote
from gateway.releases.states import Status
from gateway.releases.views import whole

__all__ = ["LIMIT", "QUESTIONS", "story", "trace"]

QUESTIONS = ("ticket", "release", "principal", "dataset", "token", "sha256")
LIMIT = 25
"""Stories in one answer."""
COLUMNS = {"ticket": "ticket", "release": "id", "principal": "principal", "dataset": "dataset"}
DIGESTS = ("manifest_digest", "report_card_digest", "request_digest")
# A report card is large, and no story shows more of it than its digest.
SHOWN = [column for column in release_table.columns if column.name != "report_card"]
Found = TypeVar("Found")


def trace(work: Work, *, by: str, value: str, after: str | None = None, limit: int = LIMIT) -> dict[str, Any]:
    """Every release that a question finds, oldest first, each with its story.

    Args:
        work: A transaction.
        by: One of `QUESTIONS`.
        value: A ticket key, release id, principal, dataset, token id, or SHA-256 of an artifact, manifest, card or request.
        after: `next` of the answer before.
        limit: Stories in this answer, at least 1.

    Returns:
        {by, value, total, releases, next}; `next` is the id of the last story here when more follow, else None.

    Raises:
        NotFound: `after` is no release.
    """
    condition = _condition(work, by, value)
    total = work.execute(select(func.count()).select_from(release_table).where(condition)).scalar_one()
    if after is not None:
        last = Releases(work).get(after)
        moment, key = release_table.c.requested_at, release_table.c.id
        condition = and_(condition, or_(moment > last.requested_at, and_(moment == last.requested_at, key > last.id)))
    query = select(*SHOWN).where(condition).order_by(release_table.c.requested_at, release_table.c.id).limit(limit + 1)
    found = [Release(**{**row, "report_card": None, "status": Status(row["status"])}) for row in work.execute(query).mappings()]
    stories = _stories(work, found[:limit])
    following = found[limit - 1].id if len(found) > limit else None
    return {"by": by, "value": value, "total": total, "releases": stories, "next": following}


def story(work: Work, release: Release) -> dict[str, Any]:
    """One release from the signed request to its end."""
    return _stories(work, [release])[0]


def _condition(work: Work, by: str, value: str) -> ColumnElement[bool]:
    """Which releases a question is about."""
    if by in COLUMNS:
        return release_table.c[COLUMNS[by]] == value
    if by == "token":
        ids = work.execute(select(release_token.c.release_id).where(release_token.c.jti == value)).scalars().all()
        return release_table.c.id.in_(ids)
    digest = value.lower()
    ids = work.execute(select(artifact.c.release_id).where(artifact.c.sha256 == digest)).scalars().all()
    for name in DIGESTS:
        ids += work.execute(select(release_table.c.id).where(release_table.c[name] == digest)).scalars().all()
    return release_table.c.id.in_(set(ids))


def _stories(work: Work, releases: Sequence[Release]) -> list[dict[str, Any]]:
    ids = [release.id for release in releases]
    if not ids:
        return []
    events = Log(work).of_releases(ids)
    charges = _rows(work, budget_entry, ids, order=budget_entry.c.id, make=LedgerEntry.from_row)
    artifacts = _rows(work, artifact, ids, order=artifact.c.name, make=_artifact)
    tokens = _rows(work, release_token, ids, order=release_token.c.issued_at, make=_token)
    votes = _rows(work, review_vote, ids, order=review_vote.c.id, make=_vote)
    return [
        {
            "release_id": release.id,
            "request_id": release.id,
            "ticket": release.ticket,
            "principal": release.principal,
            "dataset": release.dataset,
            "status": release.status,
            "details": whole(release),
            "charges": [_charge(charge) for charge in charges_of(tuple(charges[release.id]))],
            "artifacts": artifacts[release.id],
            "tokens": tokens[release.id],
            "downloads": _downloads(events.get(release.id, ())),
            "reviews": votes[release.id],
            "events": [entry.to_json() for entry in events.get(release.id, ())],
        }
        for release in releases
    ]


def _rows(
    work: Work, table: Table, ids: Sequence[str], *, order: ColumnElement[Any], make: Callable[[Mapping[str, Any]], Found]
) -> dict[str, list[Found]]:
    """What a table holds about each of these releases."""
    found: dict[str, list[Found]] = defaultdict(list)
    for row in work.execute(select(table).where(table.c.release_id.in_(ids)).order_by(order)).mappings():
        found[row["release_id"]].append(make(row))
    return found


def _artifact(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("release_id", "name", "media_type", "size", "sha256", "location", "audience")
    found = Artifact(**{name: row[name] for name in names})
    return {**found.to_json(), "audience": found.audience}


def _token(row: Mapping[str, Any]) -> dict[str, Any]:
    moments = {name: row[name].isoformat() for name in ("issued_at", "expires_at")}
    return {"jti": row["jti"], "max_downloads": row["max_downloads"], **moments}


def _vote(row: Mapping[str, Any]) -> dict[str, Any]:
    return Vote(reviewer=row["reviewer"], approve=bool(row["approve"]), comment=row["comment"], at=row["at"]).to_json()


def _downloads(entries: Iterable[Entry]) -> list[Mapping[str, Any]]:
    return [entry.data for entry in entries if entry.kind in ("download.started", "download.finished")]


def _charge(charge: Any) -> dict[str, Any]:
    settlement = None if charge.settlement is None else charge.settlement.to_json()
    return {"reserve": charge.reserve.to_json(), "settlement": settlement}
