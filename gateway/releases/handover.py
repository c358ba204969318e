"""Hand a release over to its requester: tokens, and the list of what they open.

Invariants:
    - No token before the event that lets the release out stands in a signed checkpoint, which under review is the approval;
      none for a release that is not `released`.
    - The ticket is looked at again whenever a token is issued: it must still justify the release.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.access import GatewayKeys, IssuedToken, Lifetime, Principals, ReleaseTokens, TokenSubject
from gateway.audit import Log, event_is_included, signed_covering
from gateway.audit.proof import tlog_proof
from gateway.catalogue import Policies
from gateway.db import Work
from gateway.errors import Conflict, NotFound
from gateway.releases.artifacts import Artifact, Artifacts
from gateway.releases.bundle import PROOF, sha256_hex
from gateway.releases.house import House
from gateway.releases.produce import subjects_of
from gateway.releases.repository import Release, Releases
from gateway.releases.request import fetch_ticket, ticket_json
from gateway.releases.states import Status
from gateway.tickets import from_snapshot
from policies.schema import ReleasePolicy
from policies.ticket_rules import recheck_ticket, ticket_problem_reason

__all__ = ["check_ticket", "issue_token", "policy_of", "requester_artifacts"]


def issue_token(
    house: House, release_id: str, *, principal: str, key_thumbprint: str, jkt: str | None, now: datetime
) -> IssuedToken:
    """Issue a release token to the requester.

    Raises:
        NotFound: there is no such release of this principal.
        Conflict: the release is not released, not yet in the log's tree, expired or used up, or its ticket no longer holds.
    """
    with house.database.read() as work:
        release = _own(Releases(work).get(release_id), principal)
    answer = fetch_ticket(house, release.ticket, now=now)
    with house.database.begin() as work:
        release = _own(Releases(work).for_update(release_id), principal)
        _check_open(work, release, now)
        policy = policy_of(work, release)
        check_ticket(work, release, policy, answer.ticket, answer.problem, now=now)
        Releases(work).put(release.id, ticket_snapshot=ticket_json(answer.ticket), ticket_checked_at=now)
        issued = _issue(house, work, release, policy, key_thumbprint=key_thumbprint, jkt=jkt, now=now)
        Log(work).append(
            "token.issued", at=now, actor=principal, token=issued.jti, **subjects_of(release),
            data={"expires_at": issued.expires_at, "max_downloads": issued.max_downloads, "bound": jkt is not None},
        )  # fmt: skip
        work.commit()
    return issued


def _own(release: Release, principal: str) -> Release:
    if release.principal != principal:
        raise NotFound(f"there is no release '{release.id}' of yours")
    return release


def _check_open(work: Work, release: Release, now: datetime) -> None:
    if release.status is not Status.RELEASED:
        raise Conflict(f"the release is {release.status}; only a released one is handed over", code="wrong-status")
    if release.expires_at is not None and release.expires_at <= now:
        raise Conflict("the release has expired", code="wrong-status", unlock=("request it anew under a valid ticket",))
    index = event_is_included(work, release.handover_event_id or "")
    if index is None or signed_covering(work, index) is None:
        raise Conflict("the release does not stand in a signed checkpoint of the log yet", code="not-included")


def policy_of(work: Work, release: Release) -> ReleasePolicy:
    """The policy version under which a release was permitted."""
    return Policies(work).get(str(release.policy), version=release.policy_version).policy


def check_ticket(work: Work, release: Release, policy: ReleasePolicy, ticket: Any, problem: str | None, *, now: datetime) -> None:
    """The ticket as it is now must still justify the release: everything but the counts of uses and attempts.

    Raises:
        Conflict: it does not; the detail names the first broken rule.
    """
    reasons = [] if ticket is not None else [ticket_problem_reason(release.ticket, problem)]
    if ticket is not None:
        principal = Principals(work).get(release.principal).facts()
        reasons += recheck_ticket(
            ticket, named=release.ticket, dataset=release.dataset, principal=principal, policy=policy, now=now
        )
    broken = [reason for reason in reasons if not reason.holds]
    if broken:
        steps = tuple(reason.unlock for reason in broken if reason.unlock)
        raise Conflict(f"the ticket no longer justifies the release: {broken[0].message}", code="ticket-invalid", unlock=steps)


def _issue(
    house: House, work: Work, release: Release, policy: ReleasePolicy, *, key_thumbprint: str, jkt: str | None, now: datetime
) -> IssuedToken:
    access = policy.spec.access
    if access.proof_of_possession == "required" and jkt is None:
        raise Conflict(
            "the policy asks for a token that is bound to your key", code="proof-required",
            unlock=("send a DPoP proof (RFC 9449) with this call",),
        )  # fmt: skip
    signer = GatewayKeys(work, house.sealing).signer("token")
    subject = TokenSubject(
        release=release.id,
        principal=release.principal,
        ticket=release.ticket,
        dataset=release.dataset,
        policy_digest=str(release.policy_digest),
        manifest_digest=str(release.manifest_digest),
        artifacts=tuple(artifact.name for artifact in requester_artifacts(work, release)),
        key_thumbprint=key_thumbprint,
        jkt=jkt if access.proof_of_possession != "never" else None,
    )
    approved = None if release.ticket_snapshot is None else from_snapshot(release.ticket_snapshot).approved_at
    lifetime = Lifetime(
        policy_ttl=access.token_ttl,
        release_expires_at=release.expires_at,
        ticket_valid_until=None if approved is None else approved + policy.spec.ticket.approval_max_age,
        key_retires_at=signer.retires_at,
    )
    tokens = ReleaseTokens(work, issuer=house.issuer)
    return tokens.issue(subject, lifetime=lifetime, max_downloads=access.max_downloads, signer=signer, now=now)


def requester_artifacts(work: Work, release: Release) -> list[Artifact]:
    """What the requester receives: the bundle, with the log proof once the release is in the tree."""
    listed = Artifacts(work).of(release.id, audience="requester")
    proof = None if release.handover_event_id is None else tlog_proof(work, release.handover_event_id)
    if proof is not None:
        raw = proof.encode()
        listed.append(
            Artifact(
                release_id=release.id,
                name=PROOF,
                media_type="text/plain; charset=utf-8",
                size=len(raw),
                sha256=sha256_hex(raw),
                location="",
                audience="requester",
            )
        )
    return listed
