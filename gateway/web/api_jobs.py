"""Small jobs: where one stands."""

from __future__ import annotations

from flask import Response, jsonify
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from gateway.errors import NotFound
from gateway.releases.small_jobs import find_job
from gateway.web.guard import declares, house
from gateway.web.identity import caller

api = APIBlueprint("jobs", __name__, url_prefix="/v1", abp_tags=[Tag(name="jobs")])


class JobPath(BaseModel):
    """One job."""

    job_id: str = Field(max_length=64)


@api.get("/jobs/<job_id>")
@declares("principal", audit=None)
def job(path: JobPath) -> Response:
    """One's own job, with its result when it is done."""
    with house().database.read() as work:
        found = find_job(work, path.job_id)
    if found.requested_by != caller().principal.name:
        raise NotFound(f"there is no job '{path.job_id}'")
    response = jsonify(found.to_json())
    if found.status == "queued":
        response.headers["Retry-After"] = "1"
    return response
