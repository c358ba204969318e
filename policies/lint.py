"""What is wrong with a policy that could be read: rules that cannot work, contradict each other, or do nothing.

Responsible for everything that the shape of a document does not say: metrics that no evaluator measures, bounds outside what a
metric can be, rules that no request reaches, duplicates, and cautions. Errors keep a policy from being applied; warnings do not.

Invariants: pure; every finding has a place and, where something was probably meant, a suggestion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from policies.findings import DocumentInvalid, Finding, KeyPath, nearest
from policies.gate_rule import GateRule
from policies.loader import Document, load_parsed, parse
from policies.metric_catalogue import CATALOGUE, lookup, suggest
from policies.metrics import MetricSpec
from policies.presets import expand
from policies.schema import ReleasePolicy
from policies.types import GENERATORS

__all__ = ["lint", "lint_file"]

MANY_DOWNLOADS = 100
LONG_TOKEN_HOURS = 24
WIDE_EPSILON = Decimal(20)


def lint_file(source: Path | str, *, name: str | None = None) -> tuple[Finding, ...]:
    """Every finding about a policy file, in the order of the file; empty when it is sound.

    Dataset cards and case files are read as the gateway reads them, which finds what their shape says.

    Args:
        source: A path, or the text itself.
        name: How the file is called in findings.
    """
    try:
        document = parse(source, name=name)
        accepted = load_parsed(document)
    except DocumentInvalid as error:
        return error.findings
    return lint(accepted, document) if isinstance(accepted, ReleasePolicy) else ()


def lint(policy: ReleasePolicy, document: Document) -> tuple[Finding, ...]:
    """Findings about a policy as it stands in its file (its preset not expanded)."""
    findings = [
        *_gate(policy, document),
        *_generation(policy, document),
        *_ticket(policy, document),
        *_review(policy, document),
        *_lists(policy, document),
        *_cautions(policy, document),
    ]
    return tuple(sorted(findings, key=lambda found: (found.line, found.column)))


def _warn(document: Document, path: KeyPath, code: str, message: str, suggestion: str | None = None) -> Finding:
    return replace(document.finding(path, code, message, suggestion), severity="warning")


def _gate(policy: ReleasePolicy, document: Document) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    rules = policy.spec.gate
    for index, rule in enumerate(rules):
        path: KeyPath = ("spec", "gate", index)
        metrics = _measured_by(rule)
        if not metrics:
            close = next(iter(suggest(rule.metric)), None)
            yield document.finding(
                (*path, "metric"), "unknown-metric", f"no evaluator measures '{rule.metric}'; see the list of metrics", close
            )
        if rule.metric in seen:
            first = document.nearest_place(("spec", "gate", seen[rule.metric]))[0]
            other = rules[seen[rule.metric]]
            yield from _twice(document, path, rule, other, first)
        seen.setdefault(rule.metric, index)
        for spec in metrics:
            yield from _bounds(document, path, rule, spec)
        yield from _covered(document, path, rule, rules[:index])
    if not any(rule.severity == "block" for rule in expand(policy).spec.gate):
        yield document.finding(
            ("spec", "gate"), "gate-refuses-nothing", "every rule only warns: this gate lets everything through"
        )
    if not any(rule.family == "privacy" and rule.severity == "block" for rule in expand(policy).spec.gate):
        yield _warn(
            document, ("spec", "gate"), "no-privacy-rule", "no rule blocks on a privacy metric: a verbatim copy would pass"
        )


def _measured_by(rule: GateRule) -> tuple[MetricSpec, ...]:
    """Catalogue entries that a rule can speak of."""
    if not rule.is_pattern:
        spec = lookup(rule.metric)
        return () if spec is None else (spec,)
    return tuple(spec for name, spec in CATALOGUE.items() if rule.matches(name.replace("<", "").replace(">", "")))


def _twice(document: Document, path: KeyPath, rule: GateRule, other: GateRule, first: int) -> Iterator[Finding]:
    if rule == other:
        yield document.finding(path, "duplicate-rule", f"this rule stands in line {first} already")
        return
    most = min((line for line in (rule.max, other.max) if line is not None), default=None)
    least = max((line for line in (rule.min, other.min) if line is not None), default=None)
    if most is not None and least is not None and least > most:
        yield document.finding(
            path, "contradiction", f"with line {first} the metric would have to be at least {least} and at most {most}"
        )
    elif rule.use == other.use and rule.severity == other.severity:
        yield _warn(
            document, path, "same-metric-twice", f"'{rule.metric}' has a line in line {first} already; write both in one rule"
        )


def _bounds(document: Document, path: KeyPath, rule: GateRule, spec: MetricSpec) -> Iterator[Finding]:
    reach = f"{spec.name} lies between {spec.low:g} and {spec.high:g}"
    for key, line, never in (("max", rule.max, rule.max is not None and float(rule.max) < spec.low),
                             ("min", rule.min, rule.min is not None and float(rule.min) > spec.high)):  # fmt: skip
        if never:
            yield document.finding((*path, key), "impossible-bound", f"nothing can keep {key} {line}: {reach}")
    for key, line, always in (("max", rule.max, rule.max is not None and float(rule.max) >= spec.high),
                              ("min", rule.min, rule.min is not None and float(rule.min) <= spec.low)):  # fmt: skip
        if always and rule.p_min is None:
            code, message = "bound-does-nothing", f"everything keeps {key} {line}: {reach}"
            yield document.finding((*path, key), code, message)
    wrong = "min" if spec.direction == "lower" else "max"
    if rule.bound().keys() & {"max", "min"} == {wrong} and not math.isinf(spec.high) and spec.family != "fairness":
        right = "max" if wrong == "min" else "min"
        better = "smaller" if spec.direction == "lower" else "larger"
        yield _warn(
            document,
            (*path, wrong),
            "wrong-direction",
            f"{better} is better for {spec.name}, but the rule gives only {wrong}",
            right,
        )


def _covered(document: Document, path: KeyPath, rule: GateRule, earlier: tuple[GateRule, ...]) -> Iterator[Finding]:
    """A rule under a pattern that is at least as strict does nothing."""
    for other in earlier:
        if other.is_pattern and not rule.is_pattern and other.matches(rule.metric) and _implies(other, rule):
            yield _warn(
                document, path, "unreachable-rule", f"'{other.metric}' above is at least as strict: this rule changes nothing"
            )


def _implies(one: GateRule, two: GateRule) -> bool:
    same = one.use == two.use and one.severity in ("block", two.severity)
    same = same and one.if_not_applicable in ("refuse", two.if_not_applicable)
    above = two.max is None or (one.max is not None and one.max <= two.max)
    below = two.min is None or (one.min is not None and one.min >= two.min)
    chance = two.p_min is None or (one.p_min is not None and one.p_min >= two.p_min)
    return same and above and below and chance


def _generation(policy: ReleasePolicy, document: Document) -> Iterator[Finding]:
    rules = policy.spec.generation
    where: KeyPath = ("spec", "generation")
    for index, name in enumerate(rules.generators):
        path: KeyPath = (*where, "generators", index)
        if name not in GENERATORS:
            yield document.finding(path, "unknown-generator", f"there is no generator '{name}'", nearest(name, GENERATORS))
        elif not GENERATORS[name].is_dp and not rules.allow_non_dp:
            yield document.finding(
                path, "unreachable-rule", f"{name} gives no privacy guarantee, so it is refused without allow_non_dp: true"
            )
    known = [GENERATORS[name] for name in rules.generators if name in GENERATORS]
    if rules.allow_non_dp and all(info.is_dp for info in known):
        yield _warn(
            document, (*where, "allow_non_dp"), "unreachable-rule", "allow_non_dp is given, but every generator is private"
        )
    if rules.epsilon is not None and known and not any(info.is_dp for info in known):
        yield _warn(document, (*where, "epsilon"), "unreachable-rule", "no generator of the list takes an epsilon")
    budget = policy.spec.budget
    if budget is not None and rules.epsilon is not None and rules.epsilon.max > budget.epsilon:
        yield document.finding(
            (*where, "epsilon", "max"),
            "unreachable-rule",
            f"one release may cost {rules.epsilon.max}, but all together only {budget.epsilon}",
            str(budget.epsilon),
        )
    narrowest = min((window.epsilon for window in (budget.windows if budget else None) or ()), default=None)
    if narrowest is not None and rules.epsilon is not None and rules.epsilon.max > narrowest:
        yield document.finding(
            (*where, "epsilon", "max"),
            "unreachable-rule",
            f"one release may cost {rules.epsilon.max}, but a window of the budget never lets more than {narrowest} through",
            str(narrowest),
        )
    if budget is not None and rules.delta.max > budget.delta:
        yield document.finding(
            (*where, "delta", "max"),
            "unreachable-rule",
            f"one release may have delta {rules.delta.max}, but all together only {budget.delta}",
        )


def _ticket(policy: ReleasePolicy, document: Document) -> Iterator[Finding]:
    rules, where = policy.spec.ticket, ("spec", "ticket")
    if rules.projects is None:
        yield _warn(document, where, "any-project", "projects is not given: a ticket of any project will do")
    for key in ("assignee_is_requester", "approver_is_not_requester", "names_dataset", "unchanged_since_approval"):
        if not getattr(rules, key):
            yield _warn(
                document, (*where, key), "rule-switched-off", f"{key} is off: the ticket no longer binds the request that way"
            )


def _review(policy: ReleasePolicy, document: Document) -> Iterator[Finding]:
    review, where = policy.spec.review, ("spec", "review")
    if review.approvers == 0 and ("spec", "review") in document.values:
        yield _warn(document, where, "unreachable-rule", "a review by nobody: give approvers")
    if "always" in review.when and len(review.when) > 1:
        yield _warn(document, (*where, "when"), "unreachable-rule", "always holds on every occasion: the others do nothing")
    if "warn" in review.when and not any(rule.severity == "warn" for rule in expand(policy).spec.gate):
        yield _warn(document, (*where, "when"), "unreachable-rule", "review on warn, but no rule of the gate warns")


def _lists(policy: ReleasePolicy, document: Document) -> Iterator[Finding]:
    spec = policy.spec
    lists: tuple[tuple[KeyPath, tuple[str, ...]], ...] = (
        (("spec", "datasets"), spec.datasets),
        (("spec", "request", "purposes"), spec.request.purposes),
        (("spec", "request", "roles"), spec.request.roles),
        (("spec", "request", "formats"), spec.request.formats),
        (("spec", "ticket", "projects"), spec.ticket.projects or ()),
        (("spec", "ticket", "statuses"), spec.ticket.statuses),
        (("spec", "generation", "generators"), spec.generation.generators),
        (("spec", "review", "roles"), spec.review.roles),
    )
    for path, words in lists:
        for index, word in enumerate(words):
            if word in words[:index]:
                yield document.finding((*path, index), "duplicate-entry", f"'{word}' stands in this list already")


def _cautions(policy: ReleasePolicy, document: Document) -> Iterator[Finding]:
    access, generation = policy.spec.access, policy.spec.generation
    if policy.spec.disclosure.metrics == "exact":
        path: KeyPath = ("spec", "disclosure", "metrics")
        yield _warn(
            document, path, "exact-metrics", "exact metrics are computed on confidential data: showing them is itself a release"
        )
    if access.token_ttl > access.release_expires:
        yield document.finding(("spec", "access", "token_ttl"), "unreachable-rule", "a token would outlive its release")
    if access.token_ttl.total_seconds() > LONG_TOKEN_HOURS * 3600:
        yield _warn(
            document,
            ("spec", "access", "token_ttl"),
            "long-token",
            f"a token that lives over {LONG_TOKEN_HOURS} h is not short-lived",
        )
    if access.max_downloads > MANY_DOWNLOADS:
        yield _warn(
            document, ("spec", "access", "max_downloads"), "many-downloads", f"over {MANY_DOWNLOADS} downloads is nearly no limit"
        )
    if generation.epsilon is not None and generation.epsilon.max > WIDE_EPSILON:
        path = ("spec", "generation", "epsilon", "max")
        yield _warn(document, path, "wide-epsilon", f"epsilon above {WIDE_EPSILON} promises next to nothing to a person")
    if policy.spec.budget is None and generation.epsilon is not None:
        yield _warn(document, ("spec",), "no-budget", "no budget is given: only the dataset card limits the sum of all releases")
