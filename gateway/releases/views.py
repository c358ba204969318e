"""What a requester, and what compliance, may see of a release.

Invariants:
    - A requester sees the report card, verdict and row counts at the policy's disclosure level only; compliance sees all.
    - An action is offered only in a status in which the server takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.releases.repository import Release
from gateway.releases.states import Status
from policies.codes import GATE_CODES
from policies.types import GENERATORS

__all__ = ["links_of", "requester_verdict", "summary", "whole"]

UNDECIDED = {"line-in-interval", "not-enough-attacks", "metric-inconclusive"}
"""Codes of a gate that more people in the table would decide."""
NOTICES = {
    Status.WITHDRAWN: (
        "This release was withdrawn: its data was destroyed and its tokens are dead. Delete every copy that you have. Manifest, "
        "signature and log proof stay, so that what was released can still be shown."
    ),
    Status.EXPIRED: "The time of this release is over: it is handed over no more.",
}
"""What everybody who may see a release is told about its end."""
CANCELLABLE = (Status.QUEUED, Status.GENERATING, Status.EVALUATING, Status.IN_REVIEW)


def disclosure_of(release: Release) -> str:
    """`exact`, `banded` or `verdict`; the strictest when no policy was in force."""
    obligations = release.decision.get("obligations") or {}
    return str(obligations.get("disclosure", "verdict"))


def requester_verdict(release: Release) -> dict[str, Any] | None:
    """The verdict at the disclosure level: exact figures are computed on confidential data."""
    if release.verdict is None:
        return None
    rules = [_disclosed(rule, disclosure_of(release)) for rule in release.verdict["rules"]]
    return {"passed": release.verdict["passed"], "rules": rules}


def _disclosed(rule: Mapping[str, Any], level: str) -> dict[str, Any]:
    if level == "exact":
        return dict(rule)
    shown = {name: rule[name] for name in ("rule", "metric", "bound", "status", "severity", "code", "blocks") if name in rule}
    return {**shown, "observed": None}


def links_of(release: Release) -> dict[str, str]:
    """What can be done with it now, and where."""
    base = f"/v1/releases/{release.id}"
    links = {"self": f"/v1/release-requests/{release.id}", "events": f"/v1/release-requests/{release.id}/events"}
    if release.status in CANCELLABLE:
        links["cancel"] = f"/v1/release-requests/{release.id}/cancellation"
    if release.status in (Status.EXPIRED, Status.WITHDRAWN):
        links |= {"release": base, "manifest": f"{base}/manifest"}
    if release.status is Status.RELEASED:
        links |= {
            "release": base,
            "tokens": f"{base}/tokens",
            "artifacts": f"{base}/artifacts",
            "report_card": f"{base}/report-card",
        }
    return links


def summary(release: Release) -> dict[str, Any]:
    """A release as its requester sees it."""
    violations = release.decision.get("violations", []) if release.status is Status.DENIED else _gate_violations(release)
    return {
        "id": release.id,
        "release_id": release.id,
        "status": release.status,
        "stage": release.stage,
        "progress": release.progress,
        "principal": release.principal,
        "ticket": release.ticket,
        "dataset": release.dataset,
        "decision_id": release.decision_id,
        "policy": {"name": release.policy, "version": release.policy_version, "digest": release.policy_digest},
        "request": {
            name: release.request.get(name) for name in ("purpose", "rows", "format", "generator", "epsilon", "delta", "columns")
        },
        "verdict": requester_verdict(release),
        "violations": violations,
        "unlock": _unlock(release),
        "failure": None if release.failure is None else dict(release.failure),
        "requested_at": _text(release.requested_at),
        "updated_at": _text(release.updated_at),
        "released_at": _text(release.released_at),
        "expires_at": _text(release.expires_at),
        "closed_at": _text(release.closed_at),
        "close_reason": release.close_reason,
        "notice": NOTICES.get(release.status),
        "manifest_digest": release.manifest_digest,
        "links": links_of(release),
    }


def _unlock(release: Release) -> list[str]:
    """What the requester could do next."""
    if release.status is Status.DENIED:
        return list(release.decision.get("unlock", []))
    if release.status is not Status.BLOCKED:
        return []
    codes = {rule["code"] for rule in (release.verdict or {}).get("rules", ()) if rule["blocks"]}
    steps = []
    if codes - UNDECIDED:
        name = release.request["generator"]
        is_dp = name in GENERATORS and GENERATORS[name].is_dp
        steps.append("ask for less epsilon" if is_dp else "ask for a differentially private generator")
    if codes & UNDECIDED:
        steps.append("more people in table and holdout would decide what is undecided: ask the steward")
    return [*steps, "compliance sees the exact figures: name this release to them"]


def _gate_violations(release: Release) -> list[dict[str, Any]]:
    """Gate rules that block, as the requester may see them."""
    if release.status is not Status.BLOCKED or release.verdict is None:
        return []
    shown = requester_verdict(release)
    rules = [] if shown is None else shown["rules"]
    return [
        {"rule": rule.get("rule", rule["metric"]), "observed": rule["observed"], "required": rule["bound"],
         "message": f"{rule['metric']}: {GATE_CODES.get(rule['code'], rule['status'])}", "code": rule["code"]}
        for rule in rules
        if rule["blocks"]
    ]  # fmt: skip


def whole(release: Release) -> dict[str, Any]:
    """A release as compliance sees it: everything but the bytes."""
    return {
        **summary(release),
        "account_id": release.account_id,
        "dataset_version": release.dataset_version,
        "request": dict(release.request),
        "request_digest": release.request_digest,
        "ticket_snapshot": release.ticket_snapshot,
        "ticket_checked_at": _text(release.ticket_checked_at),
        "decision": dict(release.decision),
        "verdict": release.verdict,
        "report_card_digest": release.report_card_digest,
        "spent": release.spent,
        "generator_version": release.generator_version,
        "audit_event_id": release.released_event_id,
    }


def _text(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
