"""Run a policy's case file, and say which rules no row has tried.

Responsible for comparing what a row expects with what the policy says, for coverage, and for JUnit XML.

Invariants:
    - A row passes only when decision, verdict and the exact set of reason codes are as expected.
    - A rule is tried when some row keeps it and some row breaks it.
    - Pure: nothing is read but the case file and the policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree as ET

from policies.case_facts import facts_of, metrics_of
from policies.case_schema import Case, Expectation, PolicyCases
from policies.decide import Decision, decide
from policies.gate import Verdict, gate, gate_without_report
from policies.schema import ReleasePolicy

__all__ = ["CaseResult", "Coverage", "coverage", "junit", "run_cases"]

EVERY_FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What a row came to.

    Attributes:
        outcome: pass, fail or skip.
        message: Why it failed or was skipped; empty otherwise.
    """

    name: str
    outcome: Literal["pass", "fail", "skip"]
    message: str
    decision: Decision | None
    verdict: Verdict | None

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form."""
        return {
            "name": self.name,
            "outcome": self.outcome,
            "message": self.message,
            "decision": None if self.decision is None else self.decision.to_json(),
            "verdict": None if self.verdict is None else self.verdict.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Which rules the rows have tried, by path: (kept by some row, broken by some row)."""

    rules: Mapping[str, tuple[bool, bool]]

    @property
    def tried(self) -> int:
        """Rules that some row keeps and some row breaks."""
        return sum(kept and broken for kept, broken in self.rules.values())

    @property
    def untried(self) -> tuple[str, ...]:
        """Rules that no row breaks, or no row keeps."""
        return tuple(path for path, (kept, broken) in self.rules.items() if not (kept and broken))

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form."""
        rules = {path: {"kept": kept, "broken": broken} for path, (kept, broken) in self.rules.items()}
        return {"tried": self.tried, "of": len(self.rules), "untried": list(self.untried), "rules": rules}


def run_cases(cases: PolicyCases, policy: ReleasePolicy) -> tuple[CaseResult, ...]:
    """Run every row.

    Args:
        cases: The rows.
        policy: The policy that they are for, with its preset expanded.
    """
    return tuple(_run(case, policy) for case in cases.spec.cases)


def coverage(policy: ReleasePolicy, results: Sequence[CaseResult]) -> Coverage:
    """Which rules of a policy the rows have tried; warnings of the gate count as broken."""
    found: dict[str, list[bool]] = {f"gate {rule.metric}": [False, False] for rule in policy.spec.gate}
    for result in results:
        for reason in () if result.decision is None else result.decision.reasons:
            entry = found.setdefault(reason.rule, [False, False])
            entry[0 if reason.holds else 1] = True
        for rule in () if result.verdict is None else result.verdict.rules:
            entry = found.setdefault(f"gate {rule.rule}", [False, False])
            entry[1 if rule.blocks or rule.status == "warn" else 0] = True
    one_sided = _one_sided(policy)
    return Coverage(
        rules={
            path: (kept or (broken and path in one_sided), broken or (kept and path in one_sided))
            for path, (kept, broken) in found.items()
        }
    )


def _one_sided(policy: ReleasePolicy) -> frozenset[str]:
    """Rules that every request keeps, or that none can: they are tried when some row meets them."""
    every_format = {"request.formats"} if len(set(policy.spec.request.formats)) == EVERY_FORMAT else set()
    return frozenset({"generation.allow_non_dp", *every_format})


def _run(case: Case, policy: ReleasePolicy) -> CaseResult:
    if case.skip is not None:
        return CaseResult(name=case.name, outcome="skip", message=case.skip, decision=None, verdict=None)
    facts = facts_of(case, policy)
    decision = decide(**facts)
    verdict: Verdict | None = None
    if case.expect.verdict is not None:
        rules = policy.spec.gate
        verdict = gate(metrics_of(case, policy), rules) if case.evaluator == "ok" else gate_without_report(case.evaluator, rules)
    wrong = "; ".join(_differences(case.expect, decision, verdict))
    return CaseResult(name=case.name, outcome="fail" if wrong else "pass", message=wrong, decision=decision, verdict=verdict)


def _differences(expect: Expectation, decision: Decision, verdict: Verdict | None) -> list[str]:
    wrong: list[str] = []
    decided = "deny" if decision.would_deny else "permit"
    if decided != expect.decision:
        wrong.append(f"decision is {decided}, not {expect.decision}")
    if verdict is not None and ("pass" if verdict.passed else "refuse") != expect.verdict:
        wrong.append(f"verdict is {'pass' if verdict.passed else 'refuse'}, not {expect.verdict}")
    codes = {found.code for found in decision.violations}
    codes |= set() if verdict is None else {rule.code for rule in (*verdict.blocking, *verdict.warnings)}
    missing, extra = sorted(set(expect.codes) - codes), sorted(codes - set(expect.codes))
    if missing:
        wrong.append(f"codes not given: {', '.join(missing)}")
    if extra:
        wrong.append(f"codes not expected: {', '.join(extra)}")
    if expect.review is not None:
        duty = decision.obligations
        due = duty is not None and verdict is not None and duty.review.is_due(verdict)
        if due != expect.review:
            wrong.append(f"review is {'due' if due else 'not due'}, not {'due' if expect.review else 'not due'}")
    return wrong


def junit(results: Sequence[CaseResult], *, name: str) -> str:
    """The results as JUnit XML, for a CI server."""
    outcomes = [result.outcome for result in results]
    suite = ET.Element(
        "testsuite",
        name=name,
        tests=str(len(results)),
        failures=str(outcomes.count("fail")),
        skipped=str(outcomes.count("skip")),
        errors="0",
    )
    for result in results:
        row = ET.SubElement(suite, "testcase", classname=name, name=result.name)
        if result.outcome == "fail":
            ET.SubElement(row, "failure", message=result.message)
        elif result.outcome == "skip":
            ET.SubElement(row, "skipped", message=result.message)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
