"""Errors as RFC 9457 problem documents, and the page behind each problem type.

Invariants:
    - Every error that leaves the web is `application/problem+json` with a stable `code` and the id of the call.
    - `CODES` names every code with a title, what happened and what to do; a page exists for each, and a test says so.
    - An unforeseen error says nothing of its cause to the caller; the cause is in the logs under the same id.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from flask import Response, g, json, request

from gateway.errors import RangeNotSatisfiable, TicketgateError, status_of

__all__ = ["CODES", "Problem", "problem_of", "problem_response"]

MEDIA_TYPE = "application/problem+json"


class Problem(NamedTuple):
    """What a problem's page says."""

    title: str
    meaning: str
    remedy: str


CODES: Mapping[str, Problem] = {
    "internal-error": Problem(
        "Something went wrong",
        "The gateway met an error that nobody foresaw. Nothing was changed.",
        "Try again; if it happens again, give the request id to the operator.",
    ),
    "invalid-request": Problem(
        "The request cannot be processed",
        "The message was understood, but a member is missing, unknown or out of its range. The detail names it.",
        "Correct the member that the detail names and send the request again with a new jti.",
    ),
    "not-authenticated": Problem(
        "The signature or token was not accepted",
        "The signature, assertion or access token did not prove who is speaking. For security nothing more is said.",
        "Check the key, the audience (the gateway's issuer URL), the clock, and that the key is registered and not disabled.",
    ),
    "invalid-token": Problem(
        "The token was not accepted",
        "The release token is unknown, expired, revoked or used up, or it is for another artifact.",
        "Ask for a new token for the release; if that is refused, the release itself says why.",
    ),
    "not-authorised": Problem(
        "Your roles do not allow this",
        "The principal is known, but none of its roles allows this call.",
        "Ask an administrator for the role that the detail names.",
    ),
    "denied": Problem(
        "The policy denies the request",
        "At least one rule of the policy is not met. Each violation has its rule, what was observed and what is required.",
        "See `unlock`: what can be changed, or whom to ask. Then sign and send a new request.",
    ),
    "budget-exhausted": Problem(
        "The privacy budget does not afford this",
        "With this release the sum of all releases of the dataset would pass its privacy budget.",
        "Ask for a smaller epsilon, or ask the steward; a raise needs two principals and a reason.",
    ),
    "budget-window-closed": Problem(
        "The dataset's releases follow each other too fast",
        "The privacy budget would afford this, but within a window of time less may be spent than the request would.",
        "Ask again after the time in `unlock`, or ask for less epsilon. A window slows spending and gives nothing back.",
    ),
    "not-found": Problem(
        "There is nothing under this name",
        "Nothing is registered under this name, or it is not yours to see.",
        "Check the spelling; list what you can see.",
    ),
    "conflict": Problem(
        "The current state does not allow this",
        "The thing exists, but not in a state that allows this.",
        "Read its status; the detail says which state it is in.",
    ),
    "wrong-status": Problem(
        "The release is not in a status that allows this",
        "For example: a token for a blocked release, or the cancellation of a finished one.",
        "Read the release's status and what it allows.",
    ),
    "not-included": Problem(
        "The release is not in the log's tree yet",
        "A token is issued once the release stands in a signed checkpoint, normally within a second.",
        "Try again after the time in Retry-After.",
    ),
    "replayed": Problem(
        "The one-time identifier was used before",
        "A request with this jti and other content was received before.",
        "Sign again with a fresh jti.",
    ),
    "payload-too-large": Problem(
        "The request is too large", "The body is larger than this path accepts.", "A signed request is at most 16 KiB."
    ),
    "unsupported-media-type": Problem(
        "This content type is not accepted here",
        "A release request is a compact JWS.",
        "Send it with Content-Type: application/jwt.",
    ),
    "range-not-satisfiable": Problem(
        "This byte range cannot be served",
        "The range lies outside the artifact, or several ranges were asked for at once.",
        "Ask for one range within the size that Content-Range names.",
    ),
    "too-many-requests": Problem(
        "Too many requests", "The limit of calls of this principal or address is reached.", "Wait for the seconds in Retry-After."
    ),
    "unavailable": Problem(
        "Temporarily unavailable",
        "Something the gateway depends on (the ticket system, the database, the store) does not answer. Nothing was changed.",
        "Try again later.",
    ),
    "not-recorded": Problem(
        "The act could not be recorded and was not done",
        "The gateway does nothing that it cannot write into its log. The log could not be written.",
        "Try again later; the operator sees the cause.",
    ),
    "verification-failed": Problem(
        "Verification failed",
        "A stored artifact or the log does not have the digest or signature that it should have. Nothing was handed over.",
        "Tell security: this should never happen.",
    ),
    "method-not-allowed": Problem(
        "The method is not allowed here", "The path exists, but not for this method.", "See /openapi.json."
    ),
    "ticket-invalid": Problem(
        "The ticket no longer justifies the release",
        "The ticket was fetched again and breaks a rule of the policy now: it moved, was reopened, or its approval is too old.",
        "Have the ticket approved again, then ask for a token again.",
    ),
    "proof-required": Problem(
        "The policy asks for a token bound to your key",
        "Tokens of this release are issued only with proof of possession.",
        "Send a DPoP proof (RFC 9449) with the call; `ticketgate download --bound` does.",
    ),
    "expired": Problem("The time has run out", "The release or the approval of its ticket has expired.", "Request it anew."),
    "used-up": Problem(
        "All downloads are used up", "The policy's number of downloads of this release is reached.", "Request a new release."
    ),
    "already-voted": Problem("You have voted already", "A vote on a release is final.", "Nothing to do."),
    "bad-configuration": Problem(
        "The generator's configuration is not valid", "The detail names what is wrong with it.", "See `ticketgate dp validate`."
    ),
    "infeasible-configuration": Problem(
        "The configuration cannot keep its target",
        "No noise lets this generator keep the ε and δ asked for with these parameters.",
        "`ticketgate dp recommend` names a configuration that fits.",
    ),
    "already-settled": Problem("The reserve is settled", "A settlement in the ledger is final.", "Nothing to do."),
    "budget-contradiction": Problem(
        "The settlement contradicts itself", "A release that read no data has spent nothing.", "Tell the operator."
    ),
    "digest-mismatch": Problem("The digest is another one", "The document does not have the stated digest.", "Send it again."),
    "policy-invalid": Problem(
        "The policy is not sound",
        "Lint refuses the policy. Each finding says where, what is wrong and what was probably meant.",
        "Correct what `findings` names; `ticketgate policy lint FILE` says the same with line and column.",
    ),
    "version-conflict": Problem(
        "The version has another content", "Versions are immutable.", "Apply the document under the next version."
    ),
    "fenced": Problem("Another worker took over", "A worker that was thought dead tried to write.", "Nothing to do."),
}


def problem_response(
    status: HTTPStatus, *, code: str, detail: str, title: str | None = None, members: Mapping[str, Any] | None = None
) -> Response:
    """A problem document as an answer."""
    page = CODES.get(code)
    document: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": title or (page.title if page else status.phrase),
        "status": int(status),
        "detail": detail,
        "code": code,
        "request_id": g.get("call_id", ""),
        **(members or {}),
    }
    response = Response(json.dumps(document) + "\n", status=int(status), content_type=MEDIA_TYPE)
    response.headers["Cache-Control"] = "no-store"
    if status == HTTPStatus.UNAUTHORIZED:
        scheme = "DPoP" if request.headers.get("Authorization", "").lower().startswith("dpop") else "Bearer"
        response.headers["WWW-Authenticate"] = f'{scheme} error="invalid_token"'
    if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS} or code == "not-included":
        response.headers.setdefault("Retry-After", "2")
    return response


def problem_of(error: TicketgateError) -> Response:
    """The problem document of an error."""
    members: dict[str, Any] = {"unlock": list(error.unlock)} if error.unlock else {}
    response = problem_response(status_of(error), code=error.slug, detail=error.detail, members=members)
    if isinstance(error, RangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.size}"
    return response
