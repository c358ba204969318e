"""Releases: look, obtain a token, fetch artifacts, withdraw.

Invariants:
    - Bytes leave only behind a release token that was checked against the store for this very range.
    - The intent to send is recorded before the first byte, what was sent after the last one, whatever ended it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Response, g, json, jsonify, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from gateway.access import ProofContext
from gateway.access.proofs import verify_proof
from gateway.access.replay import ReplayGuard
from gateway.audit import Log
from gateway.errors import NotFound, RangeNotSatisfiable, VerificationFailed
from gateway.releases import Release, Status, Transfer, finish_transfer, issue_token, open_transfer, requester_artifacts, withdraw
from gateway.releases.artifacts import Artifacts
from gateway.releases.end import recipients_of
from gateway.releases.notice import withdrawal_of
from gateway.releases.views import summary, whole
from gateway.telemetry import logger, utc_now
from gateway.web.api_requests import OVERSIGHT, visible
from gateway.web.guard import WITHIN, declares, house
from gateway.web.identity import caller, credential, proof_of_call
from gateway.web.limits import count_principal
from gateway.web.paging import page_of
from gateway.web.schemas import PageQuery, ReleasePath

api = APIBlueprint("releases", __name__, url_prefix="/v1", abp_tags=[Tag(name="releases")])

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")


class ArtifactPath(BaseModel):
    """One artifact of a release."""

    release_id: str = Field(max_length=64)
    name: str = Field(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


class WithdrawalBody(BaseModel):
    """Why a release is withdrawn."""

    reason: str = Field(min_length=3, max_length=500)


@api.get("/releases")
@declares("requests:read", audit="release.read")
def list_releases(query: PageQuery) -> Response:
    """Released, expired and withdrawn releases: own ones, or all for roles that oversee."""
    who = caller()
    only: dict[str, Any] = {} if OVERSIGHT & who.scopes else {"principal": who.principal.name}
    if query.status is None:
        only["status"] = (Status.RELEASED, Status.EXPIRED, Status.WITHDRAWN)
    return page_of("releases", query, only=only)


@api.get("/releases/<release_id>")
@declares("requests:read", audit="release.read")
def show(path: ReleasePath) -> Response:
    """One release; everything but the bytes for compliance."""
    release = visible(path.release_id)
    page = whole(release) if "reports:read-exact" in caller().scopes else summary(release)
    return jsonify(page if release.status is not Status.WITHDRAWN else {**page, "withdrawal": _withdrawal(release)})


def _withdrawal(release: Release) -> dict[str, Any]:
    """When and why a release was withdrawn, and who had received it."""
    with house().database.read() as work:
        event = withdrawal_of(Log(work).of_release(release.id))
        recipients = recipients_of(work, release.id)
    reason = None if event is None else event.data.get("reason")
    at = None if release.closed_at is None else release.closed_at.isoformat().replace("+00:00", "Z")
    return {"at": at, "reason": reason, "recipients": recipients}


@api.get("/releases/<release_id>/report-card")
@declares("requests:read", audit="release.read")
def report_card(path: ReleasePath) -> Response:
    """The report card: whole for compliance, at the policy's disclosure level for the requester."""
    release = visible(path.release_id)
    if "reports:read-exact" in caller().scopes:
        if release.report_card is None:
            raise NotFound("this release has no report card yet")
        return jsonify(release.report_card)
    return _document(release, "report-card.json")


@api.get("/releases/<release_id>/manifest")
@declares("requests:read", audit="release.read")
def manifest(path: ReleasePath) -> Response:
    """The signed list of files; it outlives a withdrawal."""
    return _document(visible(path.release_id), "manifest.json", also=(Status.WITHDRAWN,))


@api.get("/releases/<release_id>/model-card")
@declares("requests:read", audit="release.read")
def model_card(path: ReleasePath) -> Response:
    """What was made, how, what it guarantees and what not (Markdown)."""
    return _document(visible(path.release_id), "model-card.md")


def _document(release: Release, name: str, *, also: tuple[Status, ...] = ()) -> Response:
    if release.status not in (Status.RELEASED, Status.EXPIRED, *also):
        raise NotFound(f"the release is {release.status}: it has no {name} to show")
    with house().database.read() as work:
        artifacts = Artifacts(work)
        found = artifacts.get(release.id, name)
        raw = artifacts.read(house(), found)
    return Response(raw, content_type=found.media_type)


@api.post("/releases/<release_id>/tokens")
@declares("releases:token", audit=WITHIN)
def obtain_token(path: ReleasePath) -> Response:
    """A short-lived token for one's own release; bound to a key when a DPoP proof comes along."""
    count_principal("release-tokens")
    who, now, rooms = caller(), utc_now(), house()
    jkt = who.jkt
    if jkt is None and "DPoP" in request.headers:
        context = proof_of_call()
        with rooms.database.begin() as work:
            jkt = None if context is None else verify_proof(context, token=None, replay=ReplayGuard(work), now=now)
            work.commit()
    issued = issue_token(
        rooms, path.release_id, principal=who.principal.name, key_thumbprint=who.key_thumbprint, jkt=jkt, now=now
    )
    response = jsonify(issued.body())
    response.status_code = HTTPStatus.CREATED
    return response


@api.get("/releases/<release_id>/artifacts")
@declares("requests:read", audit="release.read")
def list_artifacts(path: ReleasePath) -> Response:
    """The files of the bundle with size and SHA-256."""
    release = visible(path.release_id)
    if release.status is not Status.RELEASED:
        raise NotFound(f"the release is {release.status}: it has no artifacts to fetch")
    with house().database.read() as work:
        listed = [artifact.to_json() for artifact in requester_artifacts(work, release)]
    return jsonify({"artifacts": listed})


@api.get("/releases/<release_id>/artifacts/<name>")
@declares("release-token", audit=WITHIN)
def fetch(path: ArtifactPath) -> Response:
    """One artifact, or a byte range of it, behind a release token."""
    now = utc_now()
    context: ProofContext | None = proof_of_call()
    g.is_recorded = True  # a refused download records itself, with its reason
    byte_range = _range_of(path)
    transfer = open_transfer(
        house(), credential(), release_id=path.release_id, name=path.name, byte_range=byte_range, proof=context, now=now
    )
    return _response(transfer, is_part=byte_range is not None)


def _range_of(path: ArtifactPath) -> tuple[int | None, int | None] | None:
    """The range that is asked for; the whole artifact when If-Range names another version (RFC 9110, 13.1.5)."""
    header, version = request.headers.get("Range"), request.headers.get("If-Range")
    if header is None:
        return None
    if version is not None:
        with house().database.read() as work:
            known = {f'"{found.sha256}"' for found in Artifacts(work).of(path.release_id) if found.name == path.name}
        if version not in known:
            return None
    found = RANGE.match(header.strip())
    if found is None or found.groups() == ("", ""):
        raise RangeNotSatisfiable("one range of bytes at a time: Range: bytes=FIRST-LAST")
    first, last = (int(group) if group else None for group in found.groups())
    return first, last


def _etag(transfer: Transfer) -> str:
    return f'"{transfer.artifact.sha256}"'


def _response(transfer: Transfer, *, is_part: bool) -> Response:
    artifact = transfer.artifact
    response = Response(_sending(transfer), status=HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK)
    headers = response.headers
    headers["Content-Type"] = artifact.media_type
    headers["Content-Length"] = str(transfer.length)
    headers["ETag"] = _etag(transfer)
    headers["Accept-Ranges"] = "bytes"
    headers["Repr-Digest"] = f"sha-256=:{_base64(artifact.sha256)}:"
    headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(artifact.name)}"
    headers["Cache-Control"] = "private, no-store"
    if is_part:
        end = transfer.start + transfer.length - 1
        headers["Content-Range"] = f"bytes {transfer.start}-{end}/{artifact.size}"
    return response


def _base64(digest: str) -> str:
    import base64

    return base64.b64encode(bytes.fromhex(digest)).decode()


def _sending(transfer: Transfer) -> Iterator[bytes]:
    """Send the bytes and record what was really sent."""
    rooms, sent, outcome = house(), 0, "broken-off"

    def run() -> Iterator[bytes]:
        nonlocal sent, outcome
        try:
            for chunk in transfer.chunks:
                sent += len(chunk)  # handed to the server; whether the last block arrived nobody here can know
                yield chunk
        except VerificationFailed:
            outcome = "damaged"
            logger("web").error("a stored artifact is damaged", release_id=transfer.release.id, artifact=transfer.artifact.name)
            raise
        finally:
            if sent == transfer.length and outcome == "broken-off":
                outcome = "complete"
            finish_transfer(rooms, transfer, sent=sent, outcome=outcome, now=utc_now())

    return run()


@api.post("/releases/<release_id>/withdrawal")
@declares("releases:withdraw", audit=WITHIN)
def take_away(path: ReleasePath, body: WithdrawalBody) -> Response:
    """Withdraw a release: tokens dead, artifacts unreadable, recipients named."""
    answer = withdraw(house(), path.release_id, by=caller().principal.name, reason=body.reason, now=utc_now())
    return Response(json.dumps(answer), content_type="application/json")
