"""A decision or verdict in words: rule by rule, what was seen, what was asked for, and what would change the answer.

Responsible for the text that an analyst, a policy author or an auditor reads. Works on the stored JSON, so that a decision of
the past is explained from what was recorded and not from what is in force today.

Invariants: pure; says every rule, the broken ones first; adds nothing that the JSON does not hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policies.codes import GATE_CODES

__all__ = ["explain", "explain_decision", "explain_verdict"]

MARKS = {"pass": "ok  ", "warn": "warn", "fail": "FAIL", "inconclusive": "open", "not_applicable": "n/a "}
WIDE = 100


def explain(decision: Mapping[str, Any] | None, verdict: Mapping[str, Any] | None = None) -> str:
    """Everything that is known of one request: the decision, then the verdict."""
    parts = [
        *([] if decision is None else [explain_decision(decision)]),
        *([] if verdict is None else [explain_verdict(verdict)]),
    ]
    return "\n\n".join(parts) if parts else "nothing was decided"


def explain_decision(decision: Mapping[str, Any]) -> str:
    """A decision's JSON in words."""
    return "\n".join(_decision_lines(decision))


def explain_verdict(verdict: Mapping[str, Any]) -> str:
    """A verdict's JSON in words."""
    rules = list(verdict["rules"])
    blocking = sum(bool(rule.get("blocks")) for rule in rules)
    head = "gate: passed" if verdict["passed"] else f"gate: refused by {blocking} of {len(rules)} rules"
    ordered = sorted(rules, key=lambda rule: (not rule.get("blocks"), rule["status"] != "warn"))
    return "\n".join([head, *(f"  {MARKS[rule['status']]}  {_said(rule)}  [{rule['code']}]" for rule in ordered)])


def _said(rule: Mapping[str, Any]) -> str:
    """The sentence of a rule; the code's own where figures are not disclosed."""
    return str(rule.get("message") or f"{rule['metric']}: {GATE_CODES.get(rule['code'], rule['status'])}")


def _decision_lines(decision: Mapping[str, Any]) -> Iterator[str]:
    policy = decision.get("policy")
    source = (
        "without a policy"
        if policy is None
        else f"by policy {policy['name']} version {policy['version']} ({policy['digest'][:12]}…)"
    )
    word = "permitted" if decision["permitted"] else "denied"
    if decision.get("mode") == "audit":
        word = f"watched (would have been {'denied' if decision['would_deny'] else 'permitted'})"
    yield f"decision: {word} {source} at {decision['decided_at']}"
    reasons = list(decision["reasons"])
    for found in sorted(reasons, key=lambda entry: bool(entry["holds"])):
        if found["holds"]:
            yield f"  ok    {found['rule']}: {_shown(found['observed'])}"
        else:
            yield f"  FAIL  {found['rule']}: {found['message']}  [{found['code']}]"
            yield f"        seen: {_shown(found['observed'])}; required: {_shown(found['required'])}"
    for number, step in enumerate(decision["unlock"], 1):
        yield f"{'to unlock:' if number == 1 else '          '} {number}. {step}"
    yield from (f"advice: {line}" for line in decision.get("advice", ()))
    yield from _duties(decision.get("obligations"), permitted=bool(decision["permitted"]))


def _duties(duties: Mapping[str, Any] | None, *, permitted: bool) -> Iterator[str]:
    if duties is None or not permitted:
        return
    yield (
        f"then: tokens live {duties['token_ttl']}, {duties['max_downloads']} downloads, release expires after "
        f"{duties['release_expires']}, metrics shown: {duties['disclosure']}{_noisy(duties)}, "
        f"proof of possession {duties['proof_of_possession']}"
    )
    review = duties["review"]
    occasions = [*review["because"], *(["a warning of the gate"] if review["on_warn"] else [])]
    if review["approvers"] and occasions:
        yield f"review: {review['approvers']} of {', '.join(review['roles'])} on {', '.join(occasions)}"


def _noisy(duties: Mapping[str, Any]) -> str:
    epsilon = duties.get("noisy_epsilon")
    return "" if epsilon is None else f" and some with noise for a further epsilon of {epsilon}"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = (", ".join(map(str, value)) or "nothing") if isinstance(value, list) else str(value)
    return text if len(text) <= WIDE else f"{text[:WIDE]}…"
