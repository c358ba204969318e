"""Trace: from a ticket, a release, a principal, a dataset, a token or a digest to the whole story of a release.

Invariants:
    - An answer is read from rows and log alone; nothing is recomputed from confidential data.
    - Every question finds releases by an index, so it takes the same time however long the log is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from gateway.audit import Log
from gateway.budget import Ledgers
from gateway.db import Work
from gateway.db.tables.access import release_token
from gateway.db.tables.releases import release as release_table
from gateway.releases.artifacts import Artifacts
from gateway.releases.repository import Release, Releases
from gateway.releases.review import votes_of
from gateway.releases.views import whole

__all__ = ["QUESTIONS", "story", "trace"]

QUESTIONS = ("ticket", "release", "principal", "dataset", "token", "sha256")
COLUMNS = {"ticket": "ticket", "release": "id", "principal": "principal", "dataset": "dataset"}


def trace(work: Work, *, by: str, value: str) -> dict[str, Any]:
    """Every release that a question finds, each with its story.

    Args:
        by: One of `QUESTIONS`.
        value: A ticket key, release id, principal, dataset, token id, or SHA-256 of an artifact, manifest or report card.
    """
    return {"by": by, "value": value, "releases": [story(work, release) for release in _found(work, by, value)]}


def _found(work: Work, by: str, value: str) -> Sequence[Release]:
    releases = Releases(work)
    if by in COLUMNS:
        return releases.all_of(**{COLUMNS[by]: value})
    if by == "token":
        ids = work.execute(select(release_token.c.release_id).where(release_token.c.jti == value)).scalars().all()
    else:
        digest = value.lower()
        ids = [artifact.release_id for artifact in Artifacts(work).by_digest(digest)]
        columns = (release_table.c.manifest_digest, release_table.c.report_card_digest, release_table.c.request_digest)
        for column in columns:
            ids += work.execute(select(release_table.c.id).where(column == digest)).scalars().all()
    return [releases.get(found) for found in dict.fromkeys(ids)]


def story(work: Work, release: Release) -> dict[str, Any]:
    """One release from the signed request to its end."""
    entries = Log(work).of_release(release.id)
    tokens = work.execute(
        select(release_token.c.jti, release_token.c.issued_at, release_token.c.expires_at, release_token.c.max_downloads)
        .where(release_token.c.release_id == release.id)
        .order_by(release_token.c.issued_at)
    ).mappings()
    return {
        "release_id": release.id,
        "request_id": release.id,
        "ticket": release.ticket,
        "principal": release.principal,
        "dataset": release.dataset,
        "status": release.status,
        "details": whole(release),
        "charges": [_charge(charge) for charge in Ledgers(work).charges_of_release(release.id)],
        "artifacts": [{**artifact.to_json(), "audience": artifact.audience} for artifact in Artifacts(work).of(release.id)],
        "tokens": [
            {**token, "issued_at": token["issued_at"].isoformat(), "expires_at": token["expires_at"].isoformat()}
            for token in tokens
        ],
        "downloads": [entry.data for entry in entries if entry.kind in ("download.started", "download.finished")],
        "reviews": [vote.to_json() for vote in votes_of(work, release.id)],
        "events": [entry.to_json() for entry in entries],
    }


def _charge(charge: Any) -> dict[str, Any]:
    settlement = None if charge.settlement is None else charge.settlement.to_json()
    return {"reserve": charge.reserve.to_json(), "settlement": settlement}
