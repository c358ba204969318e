"""The review lane over HTTP."""

from __future__ import annotations

from flask import Response, jsonify
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from gateway.releases.review import pending, vote
from gateway.telemetry import utc_now
from gateway.web.guard import WITHIN, declares, house
from gateway.web.identity import caller
from gateway.web.schemas import ReleasePath

api = APIBlueprint("reviews", __name__, url_prefix="/v1", abp_tags=[Tag(name="reviews")])


class VoteBody(BaseModel):
    """A vote, with its reason."""

    model_config = ConfigDict(extra="forbid")

    approve: bool
    comment: str = Field(min_length=3, max_length=4000)


@api.get("/reviews")
@declares("reviews:decide", audit="review.read")
def list_reviews() -> Response:
    """Releases that wait for reviewers; shows how many have voted, never how."""
    with house().database.read() as work:
        return jsonify({"reviews": pending(work)})


@api.post("/reviews/<release_id>/decision")
@declares("reviews:decide", audit=WITHIN)
def decide(path: ReleasePath, body: VoteBody) -> Response:
    """Approve or reject; nobody votes on an own request."""
    answer = vote(
        house(), path.release_id, reviewer=caller().principal.name, approve=body.approve, comment=body.comment, now=utc_now()
    )
    return jsonify(answer)
