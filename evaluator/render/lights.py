"""Which metrics get a traffic light, what line they are held against, and which light it is.

Responsible for `Light`: a gate's result for a metric, or, where no gate was applied, the reading of a shipped default line.

Invariants:
    - A light is never green for a metric that is missing or inconclusive.
    - Without a policy the page says that its lines are defaults and nothing was decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from evaluator.report_card import ReportCard
from policies.metric_catalogue import DEFAULT_LINES, DefaultLine, lookup
from policies.metric_catalogue_utility import UTILITY_LINES, UtilityLine
from policies.metrics import MetricResult

__all__ = ["ORDER", "STATUS_WORDS", "Light", "lights", "title"]

LightStatus = Literal["pass", "warn", "fail", "inconclusive", "not_applicable", "none"]
STATUS_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "pass": ("✓", "pass"),
    "warn": ("!", "warning"),
    "fail": ("✕", "beyond the line"),
    "inconclusive": ("?", "undecided"),
    "not_applicable": ("-", "not applicable"),
    "none": ("·", "no line"),
}
FAMILIES: Final = ("privacy", "utility", "fairness")
ORDER: Final[Mapping[str, int]] = {
    status: index for index, status in enumerate(("fail", "inconclusive", "warn", "pass", "none", "not_applicable"))
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """One metric against its line.

    Attributes:
        result: None when the report card lacks the metric.
        low, high: The line: values at least `low` and at most `high` keep it.
        p_min: A p-value below this breaks it.
        message: What the gate said, if there was one.
    """

    metric: str
    result: MetricResult | None
    status: LightStatus
    low: float | None = None
    high: float | None = None
    p_min: float | None = None
    message: str = ""

    @property
    def family(self) -> str:
        """privacy, utility or fairness."""
        return self.metric.split(".", 1)[0]


def title(metric: str) -> str:
    """What a metric measures, from the catalogue."""
    spec = lookup(metric)
    return metric if spec is None else spec.title[:1].upper() + spec.title[1:]


def lights(card: ReportCard, verdict: Mapping[str, Any] | None) -> tuple[Light, ...]:
    """Lights in the order privacy, utility, fairness; the worst first within each."""
    found = (
        _of_defaults(card)
        if verdict is None
        else [*(_of_rule(card, rule) for rule in verdict["rules"]), *_unruled(card, verdict)]
    )
    worst: dict[str, Light] = {}
    for light in found:  # a metric may have a rule that blocks and one that warns: the worse of both is its light
        before = worst.setdefault(light.metric, light)
        if ORDER[light.status] < ORDER[before.status]:
            worst[light.metric] = light
    return tuple(sorted(worst.values(), key=lambda light: (FAMILIES.index(light.family), ORDER[light.status])))


def _unruled(card: ReportCard, verdict: Mapping[str, Any]) -> list[Light]:
    """The headline metrics of utility and fairness that the gate has no rule for: shown, without a line."""
    ruled = {rule["metric"] for rule in verdict["rules"]}
    names = [line.metric for line in UTILITY_LINES if line.metric not in ruled]
    if not any(metric.startswith("privacy.") for metric in ruled):
        names = [*(line.metric for line in DEFAULT_LINES), *names]
    found = {name: card.metrics[name] for name in names if name in card.metrics}
    return [Light(metric=name, result=result, status="none") for name, result in found.items() if result.value is not None]


def _of_rule(card: ReportCard, rule: Mapping[str, Any]) -> Light:
    bound = rule.get("bound") or {}
    return Light(
        metric=rule["metric"],
        result=card.metrics.get(rule["metric"]),
        status=rule["status"],
        low=bound.get("min"),
        high=bound.get("max"),
        p_min=bound.get("p_min"),
        message=str(rule.get("message", "")),
    )


def _of_defaults(card: ReportCard) -> list[Light]:
    lines: tuple[DefaultLine | UtilityLine, ...] = (*DEFAULT_LINES, *UTILITY_LINES)
    return [_judged(name, card.metrics.get(name), line) for line in lines for name in _matching(card, line.metric)]


def _matching(card: ReportCard, metric: str) -> list[str]:
    if not metric.endswith(".*"):
        return [metric]
    return [name for name in card.metrics if name.startswith(metric[:-1])]


def _judged(name: str, result: MetricResult | None, line: DefaultLine | UtilityLine) -> Light:
    low, high, p_min = (None if text is None else float(text) for text in (line.min, line.max, line.p_min))
    light = Light(metric=name, result=result, status=_status(name, result, low, high, p_min), low=low, high=high, p_min=p_min)
    if light.status == "fail" and not line.blocks:
        return replace(light, status="warn")
    if light.status == "pass" and isinstance(line, DefaultLine) and _warns(result, line.warn_p):
        return replace(light, status="warn", p_min=None if line.warn_p is None else float(line.warn_p))
    return light


def _warns(result: MetricResult | None, warn_p: str | None) -> bool:
    return warn_p is not None and result is not None and result.p_value is not None and result.p_value < float(warn_p)


def _status(name: str, result: MetricResult | None, low: float | None, high: float | None, p_min: float | None) -> LightStatus:
    if result is None or result.status == "inconclusive":
        return "inconclusive"
    if result.value is None:
        return "not_applicable"
    if p_min is not None and result.p_value is not None and result.p_value < p_min:
        return "fail"
    ends = result.interval if name.startswith("privacy.") and result.interval is not None else (result.value, result.value)
    if (high is not None and ends[0] > high) or (low is not None and ends[1] < low):
        return "fail"
    if (high is not None and ends[1] > high) or (low is not None and ends[0] < low):
        return "inconclusive"
    return "pass"
