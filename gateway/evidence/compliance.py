"""A compliance report: for each indicator of a framework the measured values that serve it, and what a person has to judge.

Invariants:
    - It never says that a law is satisfied: no metric establishes that.
    - Values are those of the stored report card, exact, with interval, line and the rule's outcome; an indicator without a
      value says so, instead of looking fine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.db import Work
from gateway.errors import NotFound
from gateway.evidence.frameworks import FRAMEWORKS, Indicator
from gateway.releases import Release, Releases

__all__ = ["compliance_report", "in_words"]

CAVEAT = "No metric establishes compliance. This report lists evidence for a person who judges."
SHOWN = ("value", "interval", "confidence", "p_value", "n", "status", "method")


def compliance_report(work: Work, release_id: str, *, framework: str) -> dict[str, Any]:
    """The report of a release under a framework.

    Args:
        work: A transaction.
        release_id: The release.
        framework: HIPAA, GDPR or CCPA, in any case.

    Raises:
        NotFound: there is no such release or framework.
    """
    chosen = FRAMEWORKS.get(framework.upper())
    if chosen is None:
        raise NotFound(f"there is no framework '{framework[:40]}'", unlock=(f"known are {', '.join(FRAMEWORKS)}",))
    release = Releases(work).get(release_id)
    metrics: Mapping[str, Mapping[str, Any]] = (release.report_card or {}).get("metrics", {})
    indicators = [_indicator(indicator, metrics, release) for indicator in chosen.indicators]
    return {
        "schema": "ticketgate/compliance-report/v1",
        "framework": chosen.name,
        "title": chosen.title,
        "release_id": release.id,
        "dataset": release.dataset,
        "ticket": release.ticket,
        "status": release.status,
        "report_card_digest": release.report_card_digest,
        "policy": {"name": release.policy, "version": release.policy_version, "digest": release.policy_digest},
        "gate_passed": None if release.verdict is None else release.verdict["passed"],
        "spent": _spent(release),
        "indicators": indicators,
        "not_measured": [item["name"] for item in indicators if not item["is_measured"]],
        "judgement": list(chosen.judgement),
        "caveat": CAVEAT,
    }


def _spent(release: Release) -> dict[str, Any] | None:
    names = ("epsilon", "delta", "unit", "neighbours", "accountant", "noise_source")
    return None if release.spent is None else {name: release.spent.get(name) for name in names}


def _indicator(indicator: Indicator, metrics: Mapping[str, Mapping[str, Any]], release: Release) -> dict[str, Any]:
    rules: dict[str, Mapping[str, Any]] = {}
    for rule in (release.verdict or {}).get("rules", ()):  # of a rule that blocks and one that warns, what did not pass is told
        if rules.get(rule["metric"], {"status": "pass"})["status"] == "pass":
            rules[rule["metric"]] = rule
    found = [_value(name, metrics[name], rules.get(name)) for name in sorted(metrics) if _serves(indicator, name)]
    return {
        "name": indicator.name,
        "source": indicator.source,
        "question": indicator.question,
        "reads_as": indicator.reads_as,
        "is_measured": any(item["status"] == "ok" for item in found),
        "metrics": found,
    }


def _serves(indicator: Indicator, name: str) -> bool:
    return any(name == prefix.rstrip(".") or name.startswith(prefix.rstrip(".") + ".") for prefix in indicator.metrics)


def _value(name: str, metric: Mapping[str, Any], rule: Mapping[str, Any] | None) -> dict[str, Any]:
    gated = None if rule is None else {part: rule.get(part) for part in ("bound", "status", "severity")}
    return {"metric": name, **{part: metric.get(part) for part in SHOWN}, "gate": gated}


def in_words(report: Mapping[str, Any]) -> str:
    """The report for people."""
    passed = {True: "passed", False: "refused", None: "was not reached"}[report["gate_passed"]]
    lines = [
        f"{report['framework']}: {report['title']}",
        f"release {report['release_id']} of {report['dataset']} under {report['ticket']}: {report['status']}; the gate {passed}",
    ]
    for item in report["indicators"]:
        lines += ["", f"{item['name']} ({item['source']})", f"  {item['question']} {item['reads_as']}"]
        lines += [_line(metric) for metric in item["metrics"]] or ["  nothing was measured"]
    lines += ["", "What remains for a person to judge:", *(f"  - {point}" for point in report["judgement"]), "", report["caveat"]]
    return "\n".join(lines)


def _line(metric: Mapping[str, Any]) -> str:
    value = metric["value"]
    shown = "no value" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    interval = metric["interval"]
    if interval:
        shown += f" [{interval[0]:.4g}, {interval[1]:.4g}]"
    gate = metric["gate"]
    line = f"; gate: {gate['status']}" if gate else "; not gated"
    return f"  {metric['metric']}: {shown} ({metric['status']}{line})"
