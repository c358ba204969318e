"""Release requests: ask, watch, take back."""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, current_app, g, jsonify, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from gateway.access import Principals, RegisteredKey, verify_release_request
from gateway.errors import Conflict, InvalidRequest, NotFound, PayloadTooLarge, UnsupportedMediaType
from gateway.releases import FINAL, Release, Releases, cancel, submit
from gateway.releases.request import Submission
from gateway.releases.views import summary
from gateway.telemetry import utc_now
from gateway.web.guard import WITHIN, declares, house
from gateway.web.identity import caller
from gateway.web.limits import count_principal
from gateway.web.paging import page_of
from gateway.web.problems import problem_response
from gateway.web.schemas import PageQuery, ProblemDocument, StatusDocument
from gateway.web.streams import STREAMS, Streams, events_of

api = APIBlueprint("requests", __name__, url_prefix="/v1", abp_tags=[Tag(name="requests")])

MAX_BYTES = 16 * 1024
BUDGET_CODES = frozenset({"budget-exhausted", "budget-window-closed"})
OVERSIGHT = frozenset({"requests:read-any"})


class RequestPath(BaseModel):
    """One request."""

    request_id: str = Field(max_length=64, description="The request's id, which is the release's id.")


@api.post("/release-requests", responses={202: StatusDocument, 403: ProblemDocument, 409: ProblemDocument, 422: ProblemDocument})
@declares("signed-request", audit=WITHIN)
def ask() -> Response:
    """Ask for a release by a signed request (body: a compact JWS, Content-Type: application/jwt)."""
    if request.mimetype != "application/jwt":
        raise UnsupportedMediaType("a release request is sent with Content-Type: application/jwt")
    if request.content_length is None or request.content_length > MAX_BYTES:
        raise PayloadTooLarge("a signed request has at most 16384 bytes, and says how many")
    rooms, now = house(), utc_now()
    raw = request.get_data(cache=False)
    with rooms.database.read() as work:
        principals = Principals(work)

        def find_key(thumbprint: str) -> RegisteredKey | None:
            found = principals.key_of(thumbprint)
            g.signer = found.principal if found is not None else None
            return found

        try:
            verified = verify_release_request(raw, find_key=find_key, audience=rooms.issuer, now=now)
        except InvalidRequest:
            g.principal = g.signer  # the signature holds: the refusal is recorded under its name
            raise
    g.principal = verified.principal
    count_principal("signed-requests")
    return _answer(submit(rooms, verified, now=now))


def _answer(made: Submission) -> Response:
    g.is_recorded = True
    if not made.is_permitted:
        violations = made.decision["violations"]
        codes = {violation["code"] for violation in violations}
        return problem_response(
            HTTPStatus.FORBIDDEN,
            code=codes.pop() if len(codes) == 1 and codes <= BUDGET_CODES else "denied",
            detail="; ".join(violation["message"] for violation in violations)[:2000],
            members={
                "decision_id": made.decision_id, "violations": violations, "unlock": made.decision["unlock"],
                "id": made.release_id,
            },
        )  # fmt: skip
    location = f"/v1/release-requests/{made.release_id}"
    body = {
        "id": made.release_id,
        "status": made.status,
        "decision_id": made.decision_id,
        "links": {"self": location, "events": f"{location}/events", "release": f"/v1/releases/{made.release_id}"},
    }
    response = jsonify(body)
    response.status_code = HTTPStatus.ACCEPTED
    response.headers["Location"] = location
    response.headers["Retry-After"] = "1"
    return response


def visible(release_id: str) -> Release:
    """A release that the caller may see: an own one, or any for roles that oversee.

    Raises:
        NotFound: there is none that this principal may know of.
    """
    with house().database.read() as work:
        release = Releases(work).find(release_id)
    who = caller()
    if release is None or not (release.principal == who.principal.name or OVERSIGHT & who.scopes):
        raise NotFound(f"there is no release '{release_id[:64]}' that you may see")
    return release


@api.get("/release-requests")
@declares("requests:read", audit=None)
def list_requests(query: PageQuery) -> Response:
    """Own requests, newest first; all of them for roles that oversee."""
    who = caller()
    only = {} if OVERSIGHT & who.scopes else {"principal": who.principal.name}
    return page_of("requests", query, only=only)


@api.get("/release-requests/<request_id>", responses={200: StatusDocument})
@declares("requests:read", audit=None)
def status(path: RequestPath) -> Response:
    """Status, progress from 0 to 1, verdict at the disclosure level, and what can be done next."""
    release = visible(path.request_id)
    response = jsonify(summary(release))
    if release.status not in FINAL:
        response.headers["Retry-After"] = "1"
    return response


@api.get("/release-requests/<request_id>/events", responses={429: ProblemDocument})
@declares("requests:read", audit=None)
def events(path: RequestPath) -> Response:
    """The status as server-sent events, until it is final; ends after a minute, and few may be open at once (else 429)."""
    release, who = visible(path.request_id), caller()
    streams: Streams = current_app.extensions[STREAMS]
    close = streams.open(who.principal.account_id)
    response = Response(events_of(house(), release, who=who, scope="requests:read"), mimetype="text/event-stream")
    response.call_on_close(close)
    response.headers["X-Accel-Buffering"] = "no"
    return response


@api.post("/release-requests/<request_id>/cancellation")
@declares("requests:cancel", audit=WITHIN)
def take_back(path: RequestPath) -> Response:
    """Take a request back; a production that has begun stays charged."""
    release = visible(path.request_id)
    if release.status in FINAL:
        raise Conflict(f"the request is {release.status} already", code="wrong-status")
    ended = cancel(house(), path.request_id, principal=caller().principal.name, now=utc_now())
    return jsonify(summary(ended))
