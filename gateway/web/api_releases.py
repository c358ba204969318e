"""Releases: look, obtain a token, withdraw. Artifacts are fetched in `api_download`.

Invariants:
    - A requester sees documents of a release at the policy's disclosure level; compliance sees the exact ones.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Response, json, jsonify, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from gateway.access.proofs import verify_proof
from gateway.access.replay import ReplayGuard
from gateway.audit import Log
from gateway.errors import NotFound
from gateway.releases import Release, Status, issue_token, requester_artifacts, withdraw
from gateway.releases.artifacts import Artifacts
from gateway.releases.end import recipients_of
from gateway.releases.notice import withdrawal_of
from gateway.releases.views import summary, whole
from gateway.telemetry import utc_now
from gateway.web.api_requests import OVERSIGHT, visible
from gateway.web.guard import WITHIN, declares, house
from gateway.web.identity import caller, proof_of_call
from gateway.web.limits import count_principal
from gateway.web.paging import page_of
from gateway.web.schemas import PageQuery, ReleasePath

api = APIBlueprint("releases", __name__, url_prefix="/v1", abp_tags=[Tag(name="releases")])


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


@api.post("/releases/<release_id>/withdrawal")
@declares("releases:withdraw", audit=WITHIN)
def take_away(path: ReleasePath, body: WithdrawalBody) -> Response:
    """Withdraw a release: tokens dead, artifacts unreadable, recipients named."""
    answer = withdraw(house(), path.release_id, by=caller().principal.name, reason=body.reason, now=utc_now())
    return Response(json.dumps(answer), content_type="application/json")
