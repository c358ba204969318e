"""The review lane: people look before anything leaves.

Invariants:
    - The requester never votes, whatever name or second account is used: account ids are compared.
    - Votes are hidden until all are in; one rejection blocks, enough approvals release.
    - What was rejected can never be opened: the keys of its artifacts are destroyed in the transaction that blocks it.
    - Each vote is a leaf, with its comment. So is what lets a release out, and no token exists before that one is in the tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from gateway.access import Principals
from gateway.audit import Log
from gateway.catalogue import Policies
from gateway.db import Work
from gateway.db.tables.releases import review_vote
from gateway.errors import Conflict, NotAuthorised
from gateway.releases.artifacts import Artifacts, destroy_keys, remove_sealed
from gateway.releases.house import House
from gateway.releases.produce import subjects_of
from gateway.releases.repository import Release, Releases
from gateway.releases.states import Status

__all__ = ["Vote", "pending", "vote", "votes_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One reviewer's vote."""

    reviewer: str
    approve: bool
    comment: str
    at: datetime

    def to_json(self) -> dict[str, Any]:
        """For those who may see it."""
        return {"reviewer": self.reviewer, "approve": self.approve, "comment": self.comment, "at": self.at.isoformat()}


def _needed(release: Release) -> tuple[int, frozenset[str]]:
    duty = (release.decision.get("obligations") or {}).get("review") or {}
    return int(duty.get("approvers", 1)), frozenset(duty.get("roles", ("reviewer",)))


def pending(work: Work) -> Sequence[dict[str, Any]]:
    """Releases that wait for reviewers. Shows how many have voted, never how."""
    waiting = Releases(work).all_of(status=Status.IN_REVIEW)
    return [
        {
            "id": release.id,
            "dataset": release.dataset,
            "ticket": release.ticket,
            "purpose": release.request.get("purpose"),
            "principal": release.principal,
            "requested_at": release.requested_at.isoformat(),
            "approvers": _needed(release)[0],
            "voted": len(votes_of(work, release.id)),
            "warnings": [rule["metric"] for rule in (release.verdict or {}).get("rules", ()) if rule["status"] == "warn"],
        }
        for release in waiting
    ]


def votes_of(work: Work, release_id: str) -> list[Vote]:
    """All votes on a release, oldest first; for compliance, and for reviewers once the review is over."""
    rows = work.execute(select(review_vote).where(review_vote.c.release_id == release_id).order_by(review_vote.c.id)).mappings()
    return [Vote(reviewer=row["reviewer"], approve=bool(row["approve"]), comment=row["comment"], at=row["at"]) for row in rows]


def vote(house: House, release_id: str, *, reviewer: str, approve: bool, comment: str, now: datetime) -> dict[str, Any]:
    """Vote on a release; the last vote that is needed decides it.

    Raises:
        NotAuthorised: the reviewer asked for the release, or has none of the roles that the policy names.
        Conflict: the release is not in review, or this person has voted.
    """
    with house.database.begin() as work:
        releases = Releases(work)
        release = releases.for_update(release_id)
        if release.status is not Status.IN_REVIEW:
            raise Conflict(f"the release is {release.status}, not in review", code="wrong-status")
        person = Principals(work).get(reviewer)
        approvers, roles = _needed(release)
        if person.account_id == release.account_id or person.name == release.principal:
            raise NotAuthorised("nobody reviews an own request", unlock=("ask another reviewer",))
        if not roles & person.roles:
            raise NotAuthorised(f"this review needs the role {' or '.join(sorted(roles))}")
        _write_vote(work, release_id, reviewer, person.account_id, approve=approve, comment=comment, now=now)
        Log(work).append(
            "release.reviewed", at=now, actor=reviewer, **subjects_of(release),
            data={"reviewer": reviewer, "approve": approve, "comment": comment},
        )  # fmt: skip
        votes = votes_of(work, release_id)
        status = _decide(work, releases, release, votes, approvers, now=now)
        rejected = [found.location for found in Artifacts(work).of(release_id)] if status is Status.BLOCKED else []
        work.commit()
    remove_sealed(house, rejected)
    return {"id": release_id, "status": status, "voted": len(votes), "approvers": approvers}


def _write_vote(
    work: Work, release_id: str, reviewer: str, account_id: str, *, approve: bool, comment: str, now: datetime
) -> None:
    row = {
        "release_id": release_id, "reviewer": reviewer, "account_id": account_id, "approve": int(approve), "comment": comment,
        "at": now,
    }  # fmt: skip
    try:
        work.execute(insert(review_vote).values(row))
    except IntegrityError as error:
        raise Conflict("you have voted on this release; a vote is final", code="already-voted") from error


def _decide(work: Work, releases: Releases, release: Release, votes: Sequence[Vote], approvers: int, *, now: datetime) -> Status:
    if len(votes) < approvers:
        return Status.IN_REVIEW
    log = Log(work)
    if not all(found.approve for found in votes):
        move = releases.move(release, Status.BLOCKED, at=now, closed_at=now, close_reason="rejected")
        log.append(move.event, at=now, **subjects_of(release), data={"by": "review"})
        keys = destroy_keys(work, release.id, now=now)
        log.append("artifact.destroyed", at=now, **subjects_of(release), data={"keys": keys})
        return Status.BLOCKED
    policy = Policies(work).get(str(release.policy), version=release.policy_version).policy
    expires = now + policy.spec.access.release_expires
    move = releases.move(release, Status.RELEASED, at=now, released_at=now, expires_at=expires)
    data = {"by": "review", "manifest_digest": release.manifest_digest, "audit_event_id": release.released_event_id}
    event = log.append(move.event, at=now, **subjects_of(release), data=data)
    releases.put(release.id, handover_event_id=event)
    return Status.RELEASED
