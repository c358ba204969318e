"""The gate: thresholds applied to a report card, rule by rule, to a verdict.

Responsible for reading uncertainty as a policy says and for refusing whatever cannot be trusted.

Invariants:
    - Pure: the same metrics and rules give the same verdict.
    - Missing, malformed, NaN, infinite, inconclusive, too few attacks, crash and timeout each have their own code and block a
      blocking rule. Broken numbers and a broken evaluator block whatever the severity: a warning cannot wave them through.
    - A verdict without rules cannot be had; a pattern that matches nothing is a missing metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from policies.gate_rule import GateRule, Severity
from policies.metrics import MetricResult

__all__ = ["BROKEN", "CAUSES", "Cause", "RuleResult", "Verdict", "gate", "gate_without_report", "read_metrics"]

RuleStatus = Literal["pass", "warn", "fail", "inconclusive", "not_applicable"]
Cause = Literal["nan", "infinite", "malformed", "too_few", "crashed", "timeout", "holdout_contaminated"]

CAUSES: Mapping[str, tuple[str, str]] = {
    "nan": ("metric-nan", "the value is not a number"),
    "infinite": ("metric-infinite", "the value is infinite"),
    "malformed": ("metric-malformed", "the result cannot be read"),
    "too_few": ("not-enough-attacks", "there were too few records or attacks to say"),
    "crashed": ("evaluator-crashed", "the evaluator crashed"),
    "timeout": ("evaluator-timeout", "the evaluator ran out of time"),
    "holdout_contaminated": ("holdout-contaminated", "the holdout was not kept apart from what the generator saw"),
}
TOO_MANY = 100
"""Half-widths that would have to shrink by more than this are not worth a number of records."""

BROKEN = frozenset({"nan", "infinite", "malformed", "crashed", "timeout", "holdout_contaminated"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """What one rule says of one metric.

    Attributes:
        observed: The estimate, or None where there is none.
        bound: The line, {max, min, p_min} as far as the rule gives them.
        code: Stable slug: `within-line`, `beyond-line`, `line-in-interval`, `p-below-line`, `metric-missing`, …
        blocks: Whether this result refuses the release.
    """

    metric: str
    observed: float | None
    bound: Mapping[str, float]
    interval: tuple[float, float] | None
    p_value: float | None
    status: RuleStatus
    code: str
    message: str
    severity: Severity
    blocks: bool
    rule: str

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form."""
        return {
            "rule": self.rule,
            "metric": self.metric,
            "observed": self.observed,
            "bound": dict(self.bound),
            "interval": None if self.interval is None else list(self.interval),
            "p_value": self.p_value,
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "severity": self.severity,
            "blocks": self.blocks,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Pass or refuse, with every rule's result. A verdict without a rule cannot exist."""

    rules: tuple[RuleResult, ...]

    def __post_init__(self) -> None:
        if not self.rules:
            raise ValueError("a verdict needs at least one rule's result")

    @property
    def passed(self) -> bool:
        """Whether nothing blocks."""
        return not any(result.blocks for result in self.rules)

    @property
    def blocking(self) -> tuple[RuleResult, ...]:
        """The results that refuse."""
        return tuple(result for result in self.rules if result.blocks)

    @property
    def warnings(self) -> tuple[RuleResult, ...]:
        """The results that warn."""
        return tuple(result for result in self.rules if result.status == "warn")

    def to_json(self) -> dict[str, Any]:
        """JSON-safe form (contract: verdict.json)."""
        return {"passed": self.passed, "rules": [result.to_json() for result in self.rules]}


def gate(metrics: Mapping[str, MetricResult], rules: Sequence[GateRule]) -> Verdict:
    """Apply rules to the metrics of a report card.

    Raises:
        ValueError: no rules; such a gate would let everything through.
    """
    if not rules:
        raise ValueError("a gate needs at least one rule")
    return Verdict(rules=tuple(result for rule in rules for result in _results(rule, metrics)))


def gate_without_report(cause: Literal["crashed", "timeout", "malformed"], rules: Sequence[GateRule]) -> Verdict:
    """The verdict when there is no report card to look at: every rule refuses."""
    code, sentence = CAUSES[cause]
    return Verdict(
        rules=tuple(_result(rule, rule.metric, None, "fail", code, f"{rule.metric}: {sentence}", broken=True) for rule in rules)
    )


def read_metrics(document: Mapping[str, Any]) -> dict[str, MetricResult]:
    """Metrics of a report card's JSON (its `metrics` map, or the map itself).

    What cannot be read becomes an inconclusive metric that names the cause, so that the gate refuses it by its own code.
    """
    inner = document.get("metrics")
    entries = inner if isinstance(inner, Mapping) else document if inner is None and "schema" not in document else {}
    return {str(name): _read(entry) for name, entry in entries.items()}


def _read(entry: object) -> MetricResult:
    if not isinstance(entry, Mapping):
        return _unreadable("malformed")
    numbers = [entry.get("value"), entry.get("p_value"), *_ends(entry.get("interval"))]
    floats = [n for n in numbers if isinstance(n, float)]
    if any(math.isnan(n) for n in floats):
        return _unreadable("nan")
    if any(math.isinf(n) for n in floats):
        return _unreadable("infinite")
    if any(n is not None and (isinstance(n, bool) or not isinstance(n, int | float)) for n in numbers):
        return _unreadable("malformed")
    try:
        return MetricResult.from_json(entry)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError):
        return _unreadable("malformed")


def _ends(interval: object) -> Sequence[Any]:
    return interval if isinstance(interval, list) else [] if interval is None else [interval]


def _unreadable(cause: Cause) -> MetricResult:
    return MetricResult.inconclusive(direction="lower", method="unreadable", why=CAUSES[cause][1], cause=cause)


def _results(rule: GateRule, metrics: Mapping[str, MetricResult]) -> Iterator[RuleResult]:
    names = sorted(name for name in metrics if rule.matches(name)) if rule.is_pattern else [rule.metric]
    if not names:
        names = [rule.metric]
    for name in names:
        yield _judge(rule, name, metrics.get(name))


def _judge(rule: GateRule, name: str, metric: MetricResult | None) -> RuleResult:
    if metric is None:
        message = f"{name} is not in the report card" if not rule.is_pattern else f"no metric of the report card matches {name}"
        return _result(rule, name, None, "fail", "metric-missing", message)
    if metric.status == "not_applicable":
        why = str(metric.detail.get("why", "the question does not arise for this table"))
        return _result(rule, name, metric, "not_applicable", "metric-not-applicable", f"{name}: {why}")
    if metric.status == "inconclusive":
        cause = str(metric.detail.get("cause", ""))
        code, sentence = CAUSES.get(cause, ("metric-inconclusive", "the evaluator could not decide"))
        why = str(metric.detail.get("why", sentence))
        return _result(rule, name, metric, "inconclusive", code, f"{name}: {why}", broken=cause in BROKEN)
    for number in (metric.value, *(metric.interval or ())):
        if number is None or math.isnan(number):
            return _result(rule, name, metric, "fail", "metric-nan", f"{name}: {CAUSES['nan'][1]}", broken=True)
        if math.isinf(number):
            return _result(rule, name, metric, "fail", "metric-infinite", f"{name}: {CAUSES['infinite'][1]}", broken=True)
    return _judge_number(rule, name, metric)


def _judge_number(rule: GateRule, name: str, metric: MetricResult) -> RuleResult:
    """Apply the lines to a metric that has a finite value; the worst of p-value and lines decides."""
    if rule.p_min is not None:
        if metric.p_value is None:
            return _result(rule, name, metric, "inconclusive", "p-missing", f"{name} has no p-value, and the rule asks for one")
        if metric.p_value < rule.p_min:
            message = f"{name}: 'no leak' has the p-value {metric.p_value:.2g}, below {float(rule.p_min):g}"
            return _result(rule, name, metric, "fail", "p-below-line", message)
    worst: RuleResult | None = None
    for side in ("max", "min"):
        line = rule.max if side == "max" else rule.min
        if line is None:
            continue
        found = _judge_line(rule, name, metric, side, float(line))
        if worst is None or _ORDER[found.code] > _ORDER[worst.code]:
            worst = found
    return worst or _result(rule, name, metric, "pass", "within-line", f"{name}: the p-value keeps its line")


_ORDER = {"within-line": 0, "line-in-interval": 1, "beyond-line": 2}


def _judge_line(rule: GateRule, name: str, metric: MetricResult, side: str, line: float) -> RuleResult:
    value = metric.value if metric.value is not None else math.nan
    low, high = metric.interval if metric.interval is not None else (value, value)
    favourable, unfavourable = {
        "interval": (low, high) if side == "max" else (high, low),
        "upper": (high, high),
        "lower": (low, low),
        "value": (value, value),
    }[rule.use]
    words = f"{'at most' if side == 'max' else 'at least'} {line:g}"
    seen = f"{value:.4g}" if rule.use == "value" or metric.interval is None else f"{value:.4g} [{low:.4g}, {high:.4g}]"
    if _keeps(side, unfavourable, line):
        return _result(rule, name, metric, "pass", "within-line", f"{name} is {seen}, {words} is required")
    if not _keeps(side, favourable, line):
        return _result(rule, name, metric, "fail", "beyond-line", f"{name} is {seen}, {words} is required")
    message = f"{name} is {seen}: the interval holds the line, {words} is required{_needed(metric, line, unfavourable)}"
    return _result(rule, name, metric, "inconclusive", "line-in-interval", message)


def _keeps(side: str, number: float, line: float) -> bool:
    return number <= line if side == "max" else number >= line


def _needed(metric: MetricResult, line: float, unfavourable: float) -> str:
    """How many records or attacks would bring the unfavourable end within the line, if the estimate stayed: width ~ 1/sqrt(n)."""
    value = metric.value if metric.value is not None else math.nan
    room, reach = line - value, unfavourable - value
    if metric.n <= 0 or room * reach <= 0 or abs(reach) > TOO_MANY * abs(room):
        return ""
    return f"; about {math.ceil(metric.n * (reach / room) ** 2)} records or attacks would decide it, there were {metric.n}"


def _result(
    rule: GateRule,
    name: str,
    metric: MetricResult | None,
    status: Literal["pass", "fail", "inconclusive", "not_applicable"],
    code: str,
    message: str,
    *,
    broken: bool = False,
) -> RuleResult:
    tolerated = status == "not_applicable" and rule.if_not_applicable == "pass"
    fine = status == "pass" or tolerated
    warns = not fine and not broken and rule.severity == "warn"
    return RuleResult(
        metric=name,
        observed=None if metric is None or metric.value is None or not math.isfinite(metric.value) else metric.value,
        bound=rule.bound(),
        interval=None if metric is None or broken else metric.interval,
        p_value=None if metric is None else metric.p_value,
        status="warn" if warns else status,
        code=code,
        message=message,
        severity=rule.severity,
        blocks=not fine and not warns,
        rule=rule.metric,
    )
