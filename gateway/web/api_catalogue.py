"""Datasets and policies: what is registered, what is left of a budget, what a policy would have decided.

Invariants: a card is public knowledge; a profile or a scan reads the table, so it is a job of the worker and for stewards only.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from flask import Response, jsonify
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from gateway.budget import Ledgers
from gateway.catalogue import AppliedPolicy, Datasets, Policies, RegisteredDataset
from gateway.releases.documents import limits_of
from gateway.releases.history import Sight, replay_under
from gateway.releases.small_jobs import request_job
from gateway.releases.views import requester_verdict
from gateway.telemetry import utc_now
from gateway.web.api_requests import visible
from gateway.web.guard import WITHIN, declares, house, record
from gateway.web.identity import caller
from gateway.web.problems import problem_response
from gateway.web.reading import moment_of
from gateway.web.schemas import ProblemDocument
from policies.canonical import canonical_json
from policies.explain import explain as in_words
from policies.findings import DocumentInvalid, Finding
from policies.lint import lint_file
from policies.loader import load_policy
from policies.presets import expand

api = APIBlueprint("catalogue", __name__, url_prefix="/v1", abp_tags=[Tag(name="catalogue")])


class NamePath(BaseModel):
    """A dataset or policy."""

    name: str = Field(max_length=64)


class SimulateBody(BaseModel):
    """A candidate policy, to be tried on past requests."""

    model_config = ConfigDict(extra="forbid")

    policy: dict[str, Any] | Annotated[str, Field(max_length=1 << 20)] = Field(
        description="The policy as JSON, or the text of its file: then findings name line and column."
    )
    since: str | None = Field(default=None, max_length=40, description="Only requests not older, as in 2026-01-31T00:00:00Z.")


class ExplainBody(BaseModel):
    """A past decision."""

    model_config = ConfigDict(extra="forbid")

    release_id: str = Field(max_length=64)


def _dataset(found: RegisteredDataset) -> dict[str, Any]:
    return {
        "name": found.name,
        "version": found.version,
        "digest": found.digest,
        "classification": found.card.metadata.classification,
        "frameworks": list(found.card.metadata.frameworks),
        "privacy_unit": found.card.spec.privacy_unit or "row",
        "registered_at": found.registered_at.isoformat(),
    }


@api.get("/datasets")
@declares("datasets:read", audit="dataset.read")
def datasets() -> Response:
    """The newest version of every registered dataset."""
    with house().database.read() as work:
        return jsonify({"datasets": [_dataset(found) for found in Datasets(work).list()]})


@api.get("/datasets/<name>")
@declares("datasets:read", audit="dataset.read")
def dataset(path: NamePath) -> Response:
    """One dataset with its card, less where its table lies."""
    with house().database.read() as work:
        found = Datasets(work).get(path.name)
    card = jsonlib.loads(canonical_json(found.card))
    card["spec"].pop("source", None)
    return jsonify({**_dataset(found), "card": card})


@api.get("/datasets/<name>/budget")
@declares("datasets:read", audit="budget.read")
def budget(path: NamePath) -> Response:
    """Spent, reserved and left; every entry."""
    with house().database.read() as work:
        found = Datasets(work).get(path.name)
        limits = limits_of(work, found.card)
        statement = Ledgers(work).statement(found.card, limits=limits, now=utc_now())
    return jsonify(statement.to_json())


@api.get("/datasets/<name>/profile")
@declares("datasets:inspect", audit=WITHIN)
def profile(path: NamePath) -> Response:
    """A profile of the confidential table: 202 and a job until it is computed."""
    return _job("profile", path.name)


@api.get("/datasets/<name>/pii")
@declares("datasets:inspect", audit=WITHIN)
def pii(path: NamePath) -> Response:
    """A scan of the confidential table for personal data: 202 and a job until it is computed."""
    return _job("pii", path.name)


def _job(kind: str, name: str) -> Response:
    with house().database.read() as work:
        found = Datasets(work).get(name)
    job = request_job(
        house(), kind=kind, subject={"dataset": name, "version": found.version}, by=caller().principal.name, now=utc_now()
    )
    if job.result is not None:
        return jsonify(job.result)
    response = jsonify(job.to_json())
    response.status_code = 202
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    response.headers["Retry-After"] = "1"
    return response


def _policy(applied: AppliedPolicy) -> dict[str, Any]:
    return {
        "name": applied.name,
        "version": applied.version,
        "digest": applied.digest,
        "mode": applied.policy.spec.mode,
        "datasets": list(applied.policy.spec.datasets),
        "applied_at": applied.applied_at.isoformat(),
    }


@api.get("/policies")
@declares("policies:read", audit="policy.read")
def policies() -> Response:
    """The current version of every applied policy."""
    with house().database.read() as work:
        return jsonify({"policies": [_policy(applied) for applied in Policies(work).list()]})


@api.get("/policies/<name>")
@declares("policies:read", audit="policy.read")
def policy(path: NamePath) -> Response:
    """One policy, with its presets written out."""
    with house().database.read() as work:
        applied = Policies(work).get(path.name)
    document = jsonlib.loads(canonical_json(expand(applied.policy)))
    return jsonify({**_policy(applied), "policy": document})


@api.post("/policies/simulate", responses={422: ProblemDocument})
@declares("policies:read", audit=WITHIN)
def simulate(body: SimulateBody) -> Response:
    """What a candidate policy would have done to past requests: newly denied, permitted, blocked, released, by which rules.

    Roles that oversee try it on everybody's past, others on their own requests and on decisions alone: a line of the gate could
    ask for an exact figure that the policy of then does not disclose.
    """
    text = body.policy if isinstance(body.policy, str) else jsonlib.dumps(body.policy)
    findings = lint_file(text, name="policy")
    errors = [finding for finding in findings if finding.severity == "error"]
    try:
        candidate = None if errors else load_policy(text, name="policy")
    except DocumentInvalid as error:  # a sound document of another kind
        candidate, errors = None, list(error.findings)
    if candidate is None:
        record("policy.simulated", refused=True)
        return _refused_by_lint(errors)
    who = caller()
    sight: Sight = "everything" if "reports:read-exact" in who.scopes else "own"
    if sight == "own" and "requests:read-any" in who.scopes:
        sight = "others"
    since = None if body.since is None else moment_of(body.since, name="since")
    answer = replay_under(house(), candidate, since=since, sight=sight, viewer=who.principal.account_id)
    record("policy.simulated", replayed=answer["replayed"], candidate=answer["digest"], sight=sight)
    return jsonify({**answer, "findings": [finding.to_json() for finding in findings]})


def _refused_by_lint(findings: Sequence[Finding]) -> Response:
    first = findings[0]
    return problem_response(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        code="policy-invalid",
        detail=f"{first.path or 'policy'}: {first.message}"[:2000],
        members={"findings": [finding.to_json() for finding in findings]},
    )


@api.post("/policies/explain")
@declares("policies:read", audit=WITHIN)
def explain(body: ExplainBody) -> Response:
    """One past decision and its verdict, rule by rule, in words and as JSON; figures at the level that the caller may see."""
    release = visible(body.release_id)
    exact = "reports:read-exact" in caller().scopes
    verdict = release.verdict if exact else requester_verdict(release)
    decision = dict(release.decision) if exact else {**release.decision, "shadows": []}
    record("policy.explained", release=release.id)
    return jsonify(
        {
            "release_id": release.id,
            "decision": decision,
            "verdict": verdict,
            "text": in_words(decision, None if verdict is None else dict(verdict)),
        }
    )
