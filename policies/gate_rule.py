"""One line of a gate: which metric, which bound, how uncertainty is read.

Responsible for the shape and the defaults of a rule. Invariants: a rule without a bound cannot exist; what the defaults mean
is written out when a rule is made (`use` by family), so that a digest covers it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from policies.columns import Strict

__all__ = ["FAMILIES", "GateRule", "Severity", "Use"]

Use = Literal["interval", "upper", "lower", "value"]
Severity = Literal["block", "warn"]
FAMILIES = ("privacy", "utility", "fairness")
MIN_SEGMENTS = 2


class GateRule(Strict):
    """A line that a metric of the report card must keep."""

    metric: str = Field(
        max_length=300,
        description=(
            "Name of a metric of the report card, as in `privacy.membership_inference.auc`. A `*` stands for one segment "
            "of a name, and at the end for all that follow: every metric that matches must keep the line."
        ),
    )
    max: Decimal | None = Field(default=None, description="The metric may not lie above this.")
    min: Decimal | None = Field(default=None, description="The metric may not lie below this.")
    p_min: Decimal | None = Field(
        default=None, gt=0, lt=1, description="Refuse when the p-value of 'no leak' is below this, whatever the estimate."
    )
    use: Use = Field(
        default="interval",
        description=(
            "How uncertainty is read. `interval`: pass when the unfavourable end keeps the line, fail when the favourable "
            "end breaks it, inconclusive between (which refuses). `upper`, `lower`: that end alone. `value`: the estimate alone. "
            "Default: interval for privacy, value for utility and fairness."
        ),
    )
    severity: Severity = Field(default="block", description="`warn` lets the release through, or to review, and says so.")
    if_not_applicable: Literal["refuse", "pass"] = Field(
        default="refuse", description="What happens when the evaluator says that the question does not arise for this table."
    )

    @model_validator(mode="before")
    @classmethod
    def _default_use(cls, rule: Any) -> Any:
        if isinstance(rule, dict) and isinstance(rule.get("metric"), str) and rule.get("use") is None:
            return {**rule, "use": "interval" if rule["metric"].startswith("privacy.") else "value"}
        return rule

    @field_validator("metric")
    @classmethod
    def _well_formed(cls, metric: str) -> str:
        segments = metric.split(".")
        if segments[0] not in FAMILIES or len(segments) < MIN_SEGMENTS or not all(s and s == s.strip() for s in segments):
            raise ValueError(
                f"a metric is named family.metric[.part] with a family of {', '.join(FAMILIES)}, not '{metric[:80]}'"
            )
        return metric

    @model_validator(mode="after")
    def _has_a_line(self) -> Self:
        if self.max is None and self.min is None and self.p_min is None:
            raise ValueError("a rule needs max, min or p_min: without a line it lets everything through")
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}: nothing can keep both")
        return self

    @property
    def family(self) -> str:
        """privacy, utility or fairness."""
        return self.metric.split(".", 1)[0]

    @property
    def is_pattern(self) -> bool:
        """Whether the name stands for several metrics."""
        return "*" in self.metric.split(".")

    def matches(self, name: str) -> bool:
        """Whether the rule speaks of a metric."""
        return bool(_pattern(self.metric).fullmatch(name))

    def bound(self) -> dict[str, float]:
        """The line as a report shows it: {max, min, p_min} as far as given."""
        lines = {"max": self.max, "min": self.min, "p_min": self.p_min}
        return {name: float(line) for name, line in lines.items() if line is not None}


@cache
def _pattern(metric: str) -> re.Pattern[str]:
    segments = metric.split(".")
    parts = [r"[^.]+" if segment == "*" else re.escape(segment) for segment in segments]
    if segments[-1] == "*":
        parts[-1] = ".+"  # a column's name may hold a dot
    return re.compile(r"\.".join(parts), re.DOTALL)
