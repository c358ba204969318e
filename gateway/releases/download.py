"""Download: open an artifact of a release for one byte range, and record what was sent.

Invariants:
    - The ticket is looked at again when its snapshot is older than the setting, at every range.
    - The intent to send is recorded before the first byte, and what was sent after the last; if the intent cannot be
      recorded, nothing is sent.
    - What is sent is decrypted from the artifact that was evaluated; a changed byte ends the transfer.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.access import DownloadFacts, Downloads, GatewayKeys, ProofContext, ReleaseTokens, TokenFacts, reason_of
from gateway.audit import Log
from gateway.audit.proof import tlog_proof
from gateway.db import Work
from gateway.errors import Conflict, RangeNotSatisfiable, TokenRefused
from gateway.releases.artifacts import Artifact, Artifacts
from gateway.releases.handover import check_ticket, policy_of, requester_artifacts
from gateway.releases.house import House
from gateway.releases.produce import subjects_of
from gateway.releases.ranges import WHOLE, RangeAsked, etag_of, part_of
from gateway.releases.repository import Release, Releases
from gateway.releases.request import fetch_ticket, ticket_json
from gateway.releases.states import Status
from gateway.tickets import from_snapshot

__all__ = ["Transfer", "finish_transfer", "open_transfer", "still_stands"]

DATA = ("data.parquet", "data.csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Bytes that may be sent, and under which record.

    Attributes:
        start, length: The range to send, in bytes of the plain artifact.
        is_part: Whether a range was asked for, be it the whole.
        reader: The whole plain artifact as a seekable file; reading it may raise `VerificationFailed`.
    """

    release: Release
    artifact: Artifact
    token: TokenFacts
    download: DownloadFacts
    start: int
    length: int
    is_part: bool
    reader: io.RawIOBase | io.BytesIO
    started_at: datetime


def open_transfer(
    house: House,
    raw_token: str,
    *,
    release_id: str,
    name: str,
    asked: RangeAsked = WHOLE,
    proof: ProofContext | None,
    now: datetime,
) -> Transfer:
    """Check the token against the store, count the download, record the intent, and open the artifact.

    Args:
        asked: Which bytes; looked at behind the token.

    Raises:
        TokenRefused: the token does not open this artifact now; recorded, and publicly always the same.
        RangeNotSatisfiable: the range lies outside the artifact; recorded, too.
    """
    try:
        _check_then_refresh(house, raw_token, release_id, name, now=now)
        with house.database.begin() as work:
            transfer = _open(house, work, raw_token, release_id, name, asked, proof, now)
            work.commit()
    except TokenRefused as refused:
        _note_refused(house, release_id, name, reason_of(refused), now=now)
        raise
    except RangeNotSatisfiable as refused:
        _note_refused(house, release_id, name, refused.slug, now=now)
        raise
    return transfer


def _open(
    house: House,
    work: Work,
    raw_token: str,
    release_id: str,
    name: str,
    asked: RangeAsked,
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
    part = part_of(asked, size=artifact.size, etag=etag_of(artifact.sha256))
    start, length = (0, artifact.size) if part is None else part
    download = Downloads(work).begin(
        token, artifact=name, counts=name in DATA, has_range=part is not None, length=length, size=artifact.size, now=now
    )
    Log(work).append(
        "download.started", at=now, actor=release.principal, token=token.jti, **subjects_of(release),
        data={"download": download.id, "artifact": name, "sha256": artifact.sha256, "start": start, "length": length,
              "is_new": download.is_new},
    )  # fmt: skip
    reader = _reader_of(house, work, release, artifact)
    return Transfer(
        release=release,
        artifact=artifact,
        token=token,
        download=download,
        start=start,
        length=length,
        is_part=part is not None,
        reader=reader,
        started_at=now,
    )


def _reader_of(house: House, work: Work, release: Release, artifact: Artifact) -> io.RawIOBase | io.BytesIO:
    if artifact.location:
        return Artifacts(work).reader(house, artifact)
    return io.BytesIO((tlog_proof(work, release.handover_event_id or "") or "").encode())


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
        check_ticket(work, release, policy_of(work, release), from_snapshot(release.ticket_snapshot), None, now=now)
    except Conflict:
        return False
    return True


def _note_refused(house: House, release_id: str, name: str, reason: str, *, now: datetime) -> None:
    with house.database.begin() as work:
        found = Releases(work).find(release_id)
        about = {"release": release_id[:64]} if found is None else subjects_of(found)
        Log(work).append("download.refused", at=now, **about, data={"artifact": name[:128], "reason": reason})
        work.commit()


def still_stands(house: House, transfer: Transfer, *, now: datetime) -> bool:
    """Whether a transfer that is under way may go on: nothing that its token depends on was revoked, withdrawn or disabled."""
    with house.database.read() as work:
        release = Releases(work).find(transfer.release.id)
        is_open = release is not None and release.status is Status.RELEASED
        return is_open and ReleaseTokens(work, issuer=house.issuer).still_stands(transfer.token, now=now)


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
