"""How a release ends: cancelled by the requester, withdrawn by compliance, expired by the clock.

Invariants:
    - The end of a release is a leaf; that no transfer can begin any more is a leaf as well, written once (`closing`).
    - Withdrawal destroys the artifacts' keys and revokes every token in the transaction that records it. Nothing that fails
      afterwards makes it answer that it was not done: sealed bytes are swept later, and who could not be told is told later.
    - A cancelled production is not undone: its worker finds out, and the reserve is settled as read data demands.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gateway.access import Revocations
from gateway.audit import Log
from gateway.budget import Ledgers
from gateway.db import Work
from gateway.errors import NotFound, TicketgateError
from gateway.releases.artifacts import Artifacts, destroy_keys
from gateway.releases.closing import close
from gateway.releases.house import House
from gateway.releases.notice import tell_withdrawal
from gateway.releases.produce import subjects_of
from gateway.releases.repository import Release, Releases
from gateway.releases.states import Status
from gateway.telemetry import logger

__all__ = ["cancel", "expire_due", "recipients_of", "withdraw"]


def cancel(house: House, release_id: str, *, principal: str, now: datetime) -> Release:
    """Take a request back.

    Raises:
        NotFound: there is no such request of this principal.
        Conflict: it has ended, or was released.
    """
    with house.database.begin() as work:
        releases = Releases(work)
        release = releases.for_update(release_id)
        if release.principal != principal:
            raise NotFound(f"there is no release '{release_id}' of yours")
        move = releases.move(release, Status.CANCELLED, at=now, closed_at=now, close_reason="cancelled")
        was_read = release.status is not Status.QUEUED
        _settle_open(work, release, data_was_read=was_read, now=now)
        destroy_keys(work, release_id, now=now)
        Log(work).append(move.event, at=now, actor=principal, **subjects_of(release), data={"was": release.status})
        ended = releases.get(release_id)
        work.commit()
    return ended


def _settle_open(work: Work, release: Release, *, data_was_read: bool, now: datetime) -> None:
    ledgers = Ledgers(work)
    for charge in ledgers.charges_of_release(release.id):
        if not charge.is_settled:
            settled = ledgers.settle(charge.reserve.entry_id, spent=None, data_was_read=data_was_read, now=now)
            kind = "budget.settled" if data_was_read else "budget.cancelled"
            Log(work).append(kind, at=now, **subjects_of(release), data={"entry": settled.entry_id, "why": "cancelled"})


def withdraw(house: House, release_id: str, *, by: str, reason: str, now: datetime) -> Mapping[str, Any]:
    """Withdraw a release: tokens dead, artifacts unreadable, recipients named; manifest, envelope and log proof stay.

    A release that has expired can be withdrawn, too: its sealed data is there until then.

    Returns:
        {release_id, status, recipients, tokens_revoked, reason, stored_bytes, notices}.

    Raises:
        NotFound: there is no such release.
        Conflict: it was never released, or is withdrawn.
    """
    with house.database.begin() as work:
        releases = Releases(work)
        release = releases.for_update(release_id)
        move = releases.move(release, Status.WITHDRAWN, at=now, closed_at=now, close_reason="withdrawn")
        revoked = Revocations(work).add("release", release_id, by=by, reason=reason, now=now)
        keys = destroy_keys(work, release_id, now=now)
        recipients = recipients_of(work, release_id)
        log = Log(work)
        about = subjects_of(release)
        log.append(move.event, at=now, actor=by, **about, data={"reason": reason, "recipients": recipients})
        log.append("token.revoked", at=now, actor=by, **about, data={"tokens": list(revoked.token_ids), "by": "release"})
        log.append("artifact.destroyed", at=now, actor=by, **about, data={"keys": keys})
        close(work, release, reason="withdrawn", at=now, actor=by)
        names = [artifact.location for artifact in Artifacts(work).of(release_id) if not artifact.is_proof]
        work.commit()
    stored = _remove(house, names)  # first: telling people may take a while, or fail
    said = tell_withdrawal(house, release_id, recipients=recipients, reason=reason, now=now)
    return {
        "release_id": release_id,
        "status": Status.WITHDRAWN,
        "recipients": recipients,
        "tokens_revoked": len(revoked.token_ids),
        "reason": reason,
        "stored_bytes": stored,
        "notices": said,
    }


def _remove(house: House, names: list[str]) -> str:
    """Remove the sealed bytes, which nobody can open any more; what a store does not take now, the worker's sweep removes."""
    try:
        for name in names:
            house.store.delete(name)
    except TicketgateError as error:
        logger("releases").warning("sealed bytes of a withdrawn release wait for the sweep", detail=error.detail)
        return "unreadable; removed by the next sweep"
    return "removed"


def recipients_of(work: Work, release_id: str) -> list[str]:
    """Principals to whom bytes of the data were sent, from the log's own record of downloads."""
    release = Releases(work).get(release_id)
    has_download = any(entry.kind == "download.started" for entry in Log(work).of_release(release_id))
    return [release.principal] if has_download else []


def expire_due(house: House, *, now: datetime) -> int:
    """Close every released release whose time is over; answers how many."""
    with house.database.read() as work:
        due = [
            release.id
            for release in Releases(work).all_of(status=Status.RELEASED)
            if release.expires_at is not None and release.expires_at <= now
        ]
    for release_id in due:
        with house.database.begin() as work:
            releases = Releases(work)
            release = releases.for_update(release_id)
            if release.status is Status.RELEASED:
                move = releases.move(release, Status.EXPIRED, at=now, closed_at=now, close_reason="expired")
                Revocations(work).add("release", release_id, by="clock", reason="expired", now=now)
                Log(work).append(move.event, at=now, **subjects_of(release), data={})
                close(work, release, reason="expired", at=now)
                work.commit()
    return len(due)
