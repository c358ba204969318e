"""Hand a release over: issue tokens, open artifacts for reading, record what was sent.

Invariants:
    - No token before the release's event stands in a signed checkpoint; none for a release that is not `released`.
    - The ticket is looked at again whenever a token is issued, and at use when the snapshot is older than the setting.
    - The intent to send is recorded before the first byte, and what was sent after the last; if the intent cannot be
      recorded, nothing is sent.
    - What is sent is decrypted from the artifact that was evaluated; a changed byte ends the transfer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway.access import (
    DownloadFacts,
    Downloads,
    GatewayKeys,
    IssuedToken,
    Lifetime,
    ProofContext,
    ReleaseTokens,
    TokenFacts,
    TokenSubject,
    reason_of,
)
from gateway.audit import Log, event_is_included, signed_covering
from gateway.audit.proof import tlog_proof
from gateway.catalogue import Policies
from gateway.db import Work
from gateway.errors import Conflict, NotFound, RangeNotSatisfiable, TokenRefused
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

__all__ = ["Transfer", "finish_transfer", "issue_token", "open_transfer", "requester_artifacts"]

DATA = ("data.parquet", "data.csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Bytes that may be sent, and under which record.

    Attributes:
        start, length: The range to send, in bytes of the plain artifact.
        chunks: Decrypted bytes; reading them may raise `VerificationFailed`.
    """

    release: Release
    artifact: Artifact
    token: TokenFacts
    download: DownloadFacts
    start: int
    length: int
    chunks: Iterator[bytes]
    started_at: datetime


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
        policy = _policy_of(work, release)
        _check_ticket(work, release, policy, answer.ticket, answer.problem, now=now)
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
    index = event_is_included(work, release.released_event_id or "")
    if index is None or signed_covering(work, index) is None:
        raise Conflict("the release does not stand in a signed checkpoint of the log yet", code="not-included")


def _policy_of(work: Work, release: Release) -> ReleasePolicy:
    return Policies(work).get(str(release.policy), version=release.policy_version).policy


def _check_ticket(
    work: Work, release: Release, policy: ReleasePolicy, ticket: Any, problem: str | None, *, now: datetime
) -> None:
    """The ticket as it is now must still justify the release: everything but the counts of uses and attempts."""
    reasons = [] if ticket is not None else [ticket_problem_reason(release.ticket, problem)]
    if ticket is not None:
        from gateway.access import Principals

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
    proof = None if release.released_event_id is None else tlog_proof(work, release.released_event_id)
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


def open_transfer(
    house: House,
    raw_token: str,
    *,
    release_id: str,
    name: str,
    byte_range: tuple[int | None, int | None] | None,
    proof: ProofContext | None,
    now: datetime,
) -> Transfer:
    """Check the token against the store, count the download, record the intent, and open the artifact.

    Args:
        byte_range: (first, last) as in the Range header, either may be None; None for the whole artifact.

    Raises:
        TokenRefused: the token does not open this artifact now; recorded, and publicly always the same.
        RangeNotSatisfiable: the range lies outside the artifact.
    """
    try:
        _check_then_refresh(house, raw_token, release_id, name, now=now)
        with house.database.begin() as work:
            transfer = _open(house, work, raw_token, release_id, name, byte_range, proof, now)
            work.commit()
    except TokenRefused as refused:
        _note_refused(house, release_id, name, refused, now=now)
        raise
    return transfer


def _open(
    house: House,
    work: Work,
    raw_token: str,
    release_id: str,
    name: str,
    byte_range: tuple[int | None, int | None] | None,
    proof: ProofContext | None,
    now: datetime,
) -> Transfer:
    keys = GatewayKeys(work, house.sealing)
    token = ReleaseTokens(work, issuer=house.issuer).check(
        raw_token, release=release_id, artifact=name, keys=keys, now=now, proof=proof
    )
    release = Releases(work).find(release_id)
    if release is None or release.status is not Status.RELEASED or not _ticket_holds(work, release, now=now):
        raise TokenRefused("invalid_token")
    artifact = next((found for found in requester_artifacts(work, release) if found.name == name), None)
    if artifact is None:
        raise TokenRefused("invalid_token")
    start, length = _resolve(byte_range, artifact.size)
    download = Downloads(work).begin(
        token, artifact=name, counts=name in DATA, has_range=byte_range is not None, length=length, size=artifact.size, now=now
    )
    Log(work).append(
        "download.started", at=now, actor=release.principal, token=token.jti, **subjects_of(release),
        data={"download": download.id, "artifact": name, "sha256": artifact.sha256, "start": start, "length": length,
              "is_new": download.is_new},
    )  # fmt: skip
    chunks = _bytes_of(house, work, release, artifact, start, length)
    return Transfer(
        release=release,
        artifact=artifact,
        token=token,
        download=download,
        start=start,
        length=length,
        chunks=chunks,
        started_at=now,
    )


def _bytes_of(house: House, work: Work, release: Release, artifact: Artifact, start: int, length: int) -> Iterator[bytes]:
    if artifact.location:
        return Artifacts(work).open(house, artifact, start=start, length=length)
    text = tlog_proof(work, release.released_event_id or "") or ""
    return iter((text.encode()[start : start + length],))


def _resolve(byte_range: tuple[int | None, int | None] | None, size: int) -> tuple[int, int]:
    if byte_range is None:
        return 0, size
    first, last = byte_range
    if first is None:  # the last so many bytes
        first, last = max(0, size - (last or 0)), size - 1
    if first >= size or (last is not None and last < first):
        raise RangeNotSatisfiable(f"the artifact has {size} bytes")
    end = size - 1 if last is None else min(last, size - 1)
    return first, end - first + 1


def _check_then_refresh(house: House, raw_token: str, release_id: str, name: str, *, now: datetime) -> None:
    """Fetch the ticket anew when the snapshot is older than the setting; only behind a token that holds.

    What the ticket says then is judged with the token, in the transaction that counts the download.
    """
    oldest = now - timedelta(seconds=house.settings.ticket_snapshot_max_age)
    with house.database.begin() as work:
        token = ReleaseTokens(work, issuer=house.issuer).look_up(raw_token, keys=GatewayKeys(work, house.sealing), now=now)
        if token.subject.release != release_id or name not in token.subject.artifacts:
            raise TokenRefused("invalid_token")
        release = Releases(work).get(release_id)
    if release.ticket_checked_at is not None and release.ticket_checked_at >= oldest:
        return
    answer = fetch_ticket(house, release.ticket, now=now)
    with house.database.begin() as work:
        Releases(work).put(release_id, ticket_snapshot=ticket_json(answer.ticket), ticket_checked_at=now)
        work.commit()


def _ticket_holds(work: Work, release: Release, *, now: datetime) -> bool:
    if release.ticket_snapshot is None:
        return False
    try:
        _check_ticket(work, release, _policy_of(work, release), from_snapshot(release.ticket_snapshot), None, now=now)
    except Conflict:
        return False
    return True


def _note_refused(house: House, release_id: str, name: str, refused: TokenRefused, *, now: datetime) -> None:
    with house.database.begin() as work:
        found = Releases(work).find(release_id)
        about = {"release": release_id[:64]} if found is None else subjects_of(found)
        Log(work).append("download.refused", at=now, **about, data={"artifact": name[:128], "reason": reason_of(refused)})
        work.commit()


def finish_transfer(house: House, transfer: Transfer, *, sent: int, outcome: str, now: datetime) -> None:
    """Record what was really sent, and give back what was promised and not sent."""
    release = transfer.release
    with house.database.begin() as work:
        Downloads(work).finish(transfer.download, length=transfer.length, sent=sent)
        Log(work).append(
            "download.finished", at=now, actor=release.principal, token=transfer.token.jti, **subjects_of(release),
            data={
                "download": transfer.download.id, "artifact": transfer.artifact.name, "start": transfer.start,
                "length": transfer.length, "sent": sent, "outcome": outcome,
                "seconds": (now - transfer.started_at).total_seconds(),
            },
        )  # fmt: skip
        work.commit()
