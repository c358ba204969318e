"""Trace, evidence, reports and narratives for compliance."""

from __future__ import annotations

from flask import Response, jsonify, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from gateway.audit import Log
from gateway.db import Work
from gateway.errors import InvalidRequest, PayloadTooLarge
from gateway.evidence.bundle import export_evidence
from gateway.evidence.compliance import compliance_report
from gateway.evidence.narrative import narrative
from gateway.releases import trace
from gateway.releases.small_jobs import request_job
from gateway.releases.trace import QUESTIONS
from gateway.releases.uploads import keep_upload
from gateway.telemetry import utc_now
from gateway.web.guard import WITHIN, declares, house
from gateway.web.identity import caller
from gateway.web.schemas import ReleasePath

MAX_LEAK = 48 << 20

api = APIBlueprint("compliance", __name__, url_prefix="/v1", abp_tags=[Tag(name="compliance")])


class TraceQuery(BaseModel):
    """Exactly one question."""

    model_config = ConfigDict(extra="forbid")

    ticket: str | None = Field(default=None, max_length=64)
    release: str | None = Field(default=None, max_length=64)
    principal: str | None = Field(default=None, max_length=128)
    dataset: str | None = Field(default=None, max_length=64)
    token: str | None = Field(default=None, max_length=64)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-fA-F]{64}$")
    after: str | None = Field(default=None, max_length=64, description="`next` of the answer before, to go on.")


@api.get("/trace")
@declares("compliance:read", audit=WITHIN)
def ask(query: TraceQuery) -> Response:
    """The whole story of every release that a ticket, release, principal, dataset, token or digest leads to, 50 an answer."""
    asked = [(by, getattr(query, by)) for by in QUESTIONS if getattr(query, by) is not None]
    if len(asked) != 1:
        raise InvalidRequest(f"name exactly one of {', '.join(QUESTIONS)}")
    by, value = asked[0]
    with house().database.begin() as work:
        answer = trace(work, by=by, value=value, after=query.after)
        data = {"by": by, "found": [story["release_id"] for story in answer["releases"]]}
        Log(work).append("trace.read", at=utc_now(), actor=caller().principal.name, data=data)
        work.commit()
    return jsonify(answer)


@api.post("/trace/file")
@declares("leaks:trace", audit=WITHIN)
def ask_file() -> Response:
    """Which release a leaked file comes from (body: the file): 202 and a job."""
    if request.content_length is None or request.content_length > MAX_LEAK:
        raise PayloadTooLarge(f"a leaked file is sent with its length, at most {MAX_LEAK >> 20} MiB")
    raw = request.get_data(cache=False)
    if not raw:
        raise InvalidRequest("the body is empty: send the leaked file")
    rooms, now = house(), utc_now()
    subject = {"upload": keep_upload(rooms, raw, now=now)}
    job = request_job(rooms, kind="trace-file", subject=subject, by=caller().principal.name, now=now)
    response = jsonify(job.to_json())
    response.status_code = 202
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    response.headers["Retry-After"] = "1"
    return response


class FrameworkPath(ReleasePath):
    """One release under one framework."""

    framework: str = Field(max_length=16, description="HIPAA, GDPR or CCPA.")


@api.get("/releases/<release_id>/evidence")
@declares("compliance:read", audit=WITHIN)
def evidence(path: ReleasePath) -> Response:
    """The evidence file of a release or refusal: the same bytes whenever it is asked for."""
    raw = export_evidence(house(), path.release_id, by=caller().principal.name, now=utc_now())
    response = Response(raw, mimetype="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="evidence-{path.release_id}.zip"'
    response.headers["Cache-Control"] = "private, no-store"
    return response


@api.get("/releases/<release_id>/compliance/<framework>")
@declares("compliance:read", audit=WITHIN)
def report(path: FrameworkPath) -> Response:
    """What was measured for each indicator of a framework, and what a person has to judge."""
    with house().database.begin() as work:
        document = compliance_report(work, path.release_id, framework=path.framework)
        _note_read(work, path.release_id, {"what": "compliance-report", "framework": document["framework"]})
        work.commit()
    return jsonify(document)


@api.get("/releases/<release_id>/narrative")
@declares("compliance:read", audit=WITHIN)
def story(path: ReleasePath) -> Response:
    """The story of a release in plain words."""
    with house().database.begin() as work:
        document = narrative(work, path.release_id)
        _note_read(work, path.release_id, {"what": "narrative"})
        work.commit()
    return jsonify(document)


def _note_read(work: Work, release_id: str, data: dict[str, str]) -> None:
    Log(work).append("compliance.read", at=utc_now(), actor=caller().principal.name, release=release_id, data=data)
