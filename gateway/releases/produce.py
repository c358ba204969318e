"""What the worker does to a release, as transactions: take it up, note progress, conclude it, fail it.

Generation and evaluation run outside any transaction; here is what becomes of them. Artifacts are written first, under
names with the fence and their digest, and become visible by the transaction that concludes.

Invariants:
    - The reserve is settled exactly once: by what was spent, in full when that is unknown, or given back when nothing was read.
    - An interrupted fit is charged in full; repeating it reserves anew, or the release fails.
    - Only the worker with the newest fence concludes, so a revived one cannot publish; nothing is released twice.
    - No key outlives its attempt: those of a blocked or failed release, and of an attempt that another one replaced, are
      destroyed in the transaction that says so, and a worker makes one only where the release is found to be its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from gateway.audit import Log
from gateway.budget import Ledgers, PrivacyLoss
from gateway.catalogue import Datasets
from gateway.db import Work
from gateway.errors import BudgetExhausted, Conflict
from gateway.releases.data_keys import destroy_keys
from gateway.releases.documents import limits_of
from gateway.releases.house import House
from gateway.releases.repository import Release, Releases
from gateway.releases.states import Status
from policies.decide import ReviewDuty
from policies.gate import Verdict
from policies.types import PrivacySpent

__all__ = [
    "LIVE", "UNREAD", "Concluded", "Conclusion", "Taken", "conclude", "fail", "fail_in", "hold", "note_evaluating",
    "note_reading", "subjects_of", "take_up",
]  # fmt: skip

MAX_FITS = 2
UNREAD = ("", "waiting")
"""Stages in which no worker has opened the confidential table for this release."""
LIVE = (Status.QUEUED, Status.GENERATING, Status.EVALUATING)
"""Statuses out of which a worker brings a release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A release that this worker has taken up.

    Attributes:
        fence: Must accompany every write of this worker.
        reserve: The ledger entry to settle.
    """

    release: Release
    fence: int
    reserve: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What a finished production says, ready to be written.

    Attributes:
        artifacts: Rows of the artifact table, without the release id.
        report_card: The full report card as JSON.
        expires_in: How long the release can be fetched.
        event_id: Identifier of the event that lets it out; stands in the manifest.
    """

    verdict: Verdict
    review: ReviewDuty
    artifacts: tuple[Mapping[str, Any], ...]
    report_card: Mapping[str, Any]
    report_card_digest: str
    manifest_digest: str
    spent: PrivacySpent
    generator_version: str
    expires_in: timedelta
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """Where a release came to stand."""

    status: Status
    event_id: str


def subjects_of(release: Release) -> dict[str, str]:
    """What every event about a release is about."""
    return {"release": release.id, "ticket": release.ticket, "dataset": release.dataset}


def noisy_epsilon_of(release: Release) -> Decimal | None:
    """What noisy metrics cost beside the generator's ε, as decided; None where none are published."""
    stated = (release.decision.get("obligations") or {}).get("noisy_epsilon")
    return None if stated is None else Decimal(stated)


def take_up(house: House, release_id: str, *, now: datetime) -> Taken | None:
    """Take a release up, before any data is read; None when there is nothing left to do.

    A release that was taken up before and not concluded was interrupted: its reserve is charged in full, and it goes on
    only if the ledger affords another fit.
    """
    with house.database.begin() as work:
        releases = Releases(work)
        release = releases.for_update(release_id)
        if release.status not in LIVE:
            return None
        fence = releases.take_up(release, at=now)
        _destroy_keys(work, release, now=now)
        reserve = _reserve_for(work, release, now=now)
        if reserve is None:
            why = {"code": "interrupted", "message": "the production was interrupted and the budget affords no second fit"}
            fail_in(work, release, why, now=now)
            work.commit()
            return None
        event = "release.generating"
        if release.status is not Status.GENERATING:
            event = releases.move(release, Status.GENERATING, at=now, stage="waiting", progress=0.0).event
        else:
            releases.put(release_id, stage="waiting", progress=0.0)
        Log(work).append(event, at=now, **subjects_of(release), data={"fence": fence, "reserve": reserve})
        taken = Taken(release=releases.get(release_id), fence=fence, reserve=reserve)
        work.commit()
    return taken


def _reserve_for(work: Work, release: Release, *, now: datetime) -> str | None:
    """The reserve of this fit: the first one, or a new one after an interruption, or None when none can be had."""
    ledgers = Ledgers(work)
    charges = ledgers.charges_of_release(release.id)
    if not charges:
        raise Conflict(f"release {release.id} has no reserve in the ledger")
    last = charges[-1]
    if release.stage in UNREAD and not last.is_settled:
        return last.reserve.entry_id
    if not last.is_settled:
        settled = ledgers.settle(last.reserve.entry_id, spent=None, now=now)
        data = {"entry": settled.entry_id, "why": "interrupted"}
        Log(work).append("budget.settled", at=now, **subjects_of(release), data=data)
    if len(charges) >= MAX_FITS:
        return None
    card = Datasets(work).get(release.dataset).card  # the newest: what it states about limit and ledger binds this fit too
    try:
        entry = ledgers.reserve(
            card, limits=limits_of(work, card), loss=last.reserve.loss,
            release_id=release.id, principal=release.principal, now=now,
        )  # fmt: skip
    except BudgetExhausted:
        return None
    Log(work).append("budget.reserved", at=now, **subjects_of(release), data={"entry": entry, "why": "second fit"})
    return entry


def hold(work: Work, taken: Taken) -> Release:
    """The release, held against other writers, if this worker may still write about it.

    Raises:
        Conflict: another worker took it over, or it has ended.
    """
    release = Releases(work).for_update(taken.release.id)
    if release.fence != taken.fence or release.status not in (Status.GENERATING, Status.EVALUATING):
        raise Conflict(f"release {release.id} was taken over or ended meanwhile", code="fenced")
    return release


def _destroy_keys(work: Work, release: Release, *, now: datetime) -> None:
    """Nothing that was sealed for this release so far can be opened again."""
    keys = destroy_keys(work, release.id, now=now)
    if keys:
        Log(work).append("artifact.destroyed", at=now, **subjects_of(release), data={"keys": keys})


def note_reading(house: House, taken: Taken, *, now: datetime) -> None:
    """From here on the confidential table counts as read, whatever happens.

    Raises:
        Conflict: another worker took the release over, or it was cancelled.
    """
    with house.database.begin() as work:
        if not Releases(work).set_progress(taken.release.id, fence=taken.fence, progress=0.0, stage="reading", at=now):
            raise Conflict(f"release {taken.release.id} was taken over or ended meanwhile", code="fenced")
        work.commit()


def note_evaluating(house: House, taken: Taken, *, now: datetime) -> None:
    """The synthetic table exists and is being evaluated."""
    with house.database.begin() as work:
        releases = Releases(work)
        release = releases.for_update(taken.release.id)
        if release.status is Status.GENERATING:
            move = releases.move(release, Status.EVALUATING, at=now, fence=taken.fence)
            Log(work).append(move.event, at=now, **subjects_of(release), data={"fence": taken.fence})
            work.commit()


def conclude(house: House, taken: Taken, conclusion: Conclusion, *, now: datetime) -> Concluded:
    """Settle, decide, and let out or block: one transaction.

    Raises:
        Conflict: another worker took the release over, or it was cancelled meanwhile; nothing was written.
    """
    with house.database.begin() as work:
        releases = Releases(work)
        release = releases.for_update(taken.release.id)
        if release.fence != taken.fence or release.status is not Status.EVALUATING:
            raise Conflict(f"release {release.id} was taken over or ended meanwhile", code="fenced")
        log = Log(work)
        noise = noisy_epsilon_of(release)
        settled = Ledgers(work).settle(taken.reserve, spent=PrivacyLoss.of(conclusion.spent).with_pure(noise), now=now)
        spent = conclusion.spent.to_json()
        data = {"entry": settled.entry_id, "spent": _brief(spent), "noisy_epsilon": noise}
        log.append("budget.settled", at=now, **subjects_of(release), data=data)
        log.append("release.evaluated", at=now, **subjects_of(release), data=_evaluated(conclusion))
        target = _target(conclusion, is_overrun=settled.is_overrun)
        values = _columns(conclusion, spent, target, now)
        if target is not Status.BLOCKED:
            _publish(work, release.id, conclusion.artifacts)
        move = releases.move(release, target, at=now, fence=taken.fence, **values)
        event = _append_move(log, move.event, release, conclusion, target, at=now)
        if target is Status.BLOCKED:
            _destroy_keys(work, release, now=now)
        work.commit()
    return Concluded(status=target, event_id=event)


def _target(conclusion: Conclusion, *, is_overrun: bool) -> Status:
    if is_overrun or not conclusion.verdict.passed:
        return Status.BLOCKED
    return Status.IN_REVIEW if conclusion.review.is_due(conclusion.verdict) else Status.RELEASED


def _columns(conclusion: Conclusion, spent: Mapping[str, Any], target: Status, now: datetime) -> dict[str, Any]:
    values: dict[str, Any] = {
        "verdict": conclusion.verdict.to_json(),
        "report_card": conclusion.report_card,
        "report_card_digest": conclusion.report_card_digest,
        "spent": spent,
        "generator_version": conclusion.generator_version,
        "progress": 1.0,
        "stage": "done",
    }
    if target is not Status.BLOCKED:
        values |= {"manifest_digest": conclusion.manifest_digest, "released_event_id": conclusion.event_id}
    if target is Status.RELEASED:
        values |= {"released_at": now, "expires_at": now + conclusion.expires_in, "handover_event_id": conclusion.event_id}
    if target is Status.BLOCKED:
        values |= {"closed_at": now, "close_reason": "blocked"}
    return values


def _evaluated(conclusion: Conclusion) -> dict[str, Any]:
    verdict = conclusion.verdict.to_json()
    return {
        "passed": conclusion.verdict.passed,
        "report_card_digest": conclusion.report_card_digest,
        "failed_rules": [rule["metric"] for rule in verdict["rules"] if rule["blocks"]],
        "warned_rules": [rule["metric"] for rule in verdict["rules"] if rule["status"] == "warn"],
        "spent": _brief(conclusion.spent.to_json()),
    }


def _brief(spent: Mapping[str, Any]) -> dict[str, Any]:
    return {name: spent[name] for name in ("epsilon", "delta", "unit", "neighbours", "accountant", "noise_source")}


def _append_move(log: Log, event: str, release: Release, conclusion: Conclusion, target: Status, *, at: datetime) -> str:
    data: dict[str, Any] = {"status": target}
    if target is not Status.BLOCKED:
        data |= {
            "manifest_digest": conclusion.manifest_digest,
            "artifacts": {row["name"]: row["sha256"] for row in conclusion.artifacts},
        }
    identifier = conclusion.event_id if target is not Status.BLOCKED else None
    return log.append(event, at=at, **subjects_of(release), data=data, identifier=identifier)


def _publish(work: Work, release_id: str, rows: tuple[Mapping[str, Any], ...]) -> None:
    from gateway.releases.artifacts import Artifacts

    Artifacts(work).add_all(release_id, rows)


def fail(house: House, taken: Taken, *, code: str, message: str, data_was_read: bool, now: datetime) -> None:
    """Something broke: settle, write why, and close. Does nothing when another worker has taken over."""
    with house.database.begin() as work:
        release = Releases(work).for_update(taken.release.id)
        if release.fence != taken.fence or release.status not in LIVE:
            return
        settled = Ledgers(work).settle(taken.reserve, spent=None, data_was_read=data_was_read, now=now)
        kind = "budget.settled" if data_was_read else "budget.cancelled"
        Log(work).append(kind, at=now, **subjects_of(release), data={"entry": settled.entry_id, "why": code})
        fail_in(work, release, {"code": code, "message": message}, now=now)
        work.commit()


def fail_in(work: Work, release: Release, why: Mapping[str, str], *, now: datetime) -> None:
    """Close a release that broke, in the caller's transaction; what is open in the ledger is the caller's to settle."""
    move = Releases(work).move(release, Status.FAILED, at=now, failure=dict(why), closed_at=now, close_reason="failed")
    Log(work).append(move.event, at=now, **subjects_of(release), data=dict(why))
    _destroy_keys(work, release, now=now)
