"""What the ticket system pushes: a signed hint that a ticket changed.

Invariants:
    - The body is bounded before it is read, its signature is checked in constant time before it is parsed, and one thing is read
      from it: which ticket changed. The ticket itself is fetched.
    - Without a configured secret there is no receiver.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from flask import Response, g, jsonify, request
from flask_openapi3 import APIBlueprint, Tag

from gateway.access.refusal import refusal
from gateway.errors import NotFound, PayloadTooLarge, Unavailable
from gateway.releases.ticket_changes import look_again
from gateway.telemetry import logger, utc_now
from gateway.tickets import MAX_BODY, changed_tickets, is_authentic
from gateway.web.guard import WITHIN, declares, house, record
from gateway.web.schemas import ProblemDocument

api = APIBlueprint("tickets", __name__, url_prefix="/v1/tickets", abp_tags=[Tag(name="tickets")])

OTHERS = 0o077


@api.post("/webhook", responses={401: ProblemDocument, 404: ProblemDocument, 413: ProblemDocument})
@declares("public", audit=WITHIN)
def webhook() -> Response:
    """A ticket changed, says the ticket system (`X-Hub-Signature: sha256=…` over the body): it is fetched again.

    Snapshots of the ticket count no more from this moment, and tokens under a ticket that is no longer valid are revoked.
    """
    path = house().settings.jira_webhook_secret_file
    if path is None:
        raise NotFound("no receiver of webhooks is configured here")
    if request.content_length is None or request.content_length > MAX_BODY:
        raise PayloadTooLarge(f"a webhook has at most {MAX_BODY} bytes, and says how many")
    body = request.get_data(cache=False)
    try:
        holds = is_authentic(body, signature=request.headers.get("X-Hub-Signature"), secret=_secret(path))
    except ValueError as error:
        logger("web").error("the webhook's secret is no secret", detail=str(error))
        raise Unavailable("the receiver of webhooks is not configured") from error
    if not holds:
        raise refusal("webhook-signature")
    keys = changed_tickets(body)
    if not keys:
        record("webhook.received", ticket=None)
    changes = [look_again(house(), key, now=utc_now()).to_json() for key in keys]
    g.is_recorded = True
    response = jsonify({"tickets": changes})
    response.status_code = HTTPStatus.ACCEPTED
    return response


def _secret(path: Path) -> bytes:
    """Read anew for every call, so that it can be rotated without a restart."""
    try:
        if path.stat().st_mode & OTHERS:
            logger("web").error("the webhook's secret may be read by others: set its mode to 0600")
            raise Unavailable("the receiver of webhooks is not configured")
        return path.read_bytes().strip()
    except OSError as error:
        logger("web").error("the webhook's secret cannot be read", reason=error.strerror)
        raise Unavailable("the receiver of webhooks is not configured") from error
