"""What one measured number is: value, interval, test, and whether it can be trusted.

Responsible for `MetricResult`, the unit of a report card, and for looking a metric's name up in the catalogue.

Invariants:
    - A result with status `ok` has a finite value; its interval, when given, is ordered and holds no NaN.
    - `inconclusive` and `not_applicable` carry no value that a gate could mistake for a good one.
    - A metric that the catalogue does not know cannot be gated on (`policy lint` refuses the name).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Direction", "MetricResult", "MetricSpec", "Status"]

Direction = Literal["lower", "higher"]
Status = Literal["ok", "inconclusive", "not_applicable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricResult:
    """One metric of a report card.

    Attributes:
        value: The estimate; None unless `status` is ok (an inconclusive result may keep its estimate in `detail`).
        interval: Confidence interval (lo, hi) at `confidence`, or None where the value is exact.
        confidence: Two-sided coverage of the interval, in (0, 1).
        p_value: Exact or stated-level p-value of "no leak" (privacy), or None.
        n: How many records, pairs or attacks the value rests on.
        direction: Which direction is better.
        status: ok, inconclusive (not enough to say) or not_applicable (the question does not arise).
        method: Short name of the estimator and its interval.
        detail: JSON-safe particulars: control and baseline figures, detection limit, subgroup names. No raw rows.
    """

    value: float | None
    direction: Direction
    method: str
    n: int = 0
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    p_value: float | None = None
    status: Status = "ok"
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status == "ok" and (self.value is None or not math.isfinite(self.value)):
            raise ValueError(f"a metric with status ok needs a finite value, not {self.value}")
        if self.status != "ok" and self.value is not None:
            raise ValueError(f"a metric with status {self.status} carries no value")
        if self.interval is not None:
            low, high = self.interval
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ValueError(f"an interval is two finite numbers in order, not {self.interval}")
        if self.p_value is not None and not 0 <= self.p_value <= 1:
            raise ValueError(f"a p-value lies in [0, 1], not {self.p_value}")

    @classmethod
    def inconclusive(cls, *, direction: Direction, method: str, why: str, n: int = 0, **detail: object) -> Self:
        """A metric that could not be decided: it blocks where it is gated on, and says what would be needed."""
        return cls(value=None, direction=direction, method=method, n=n, status="inconclusive", detail={"why": why, **detail})

    @classmethod
    def not_applicable(cls, *, direction: Direction, method: str, why: str, **detail: object) -> Self:
        """A metric whose question does not arise for this table."""
        return cls(value=None, direction=direction, method=method, status="not_applicable", detail={"why": why, **detail})

    def to_json(self) -> dict[str, Any]:
        """The metric as it stands in a report card (contract: report card JSON)."""
        return {
            "value": self.value,
            "interval": None if self.interval is None else list(self.interval),
            "confidence": self.confidence,
            "p_value": self.p_value,
            "n": self.n,
            "direction": self.direction,
            "status": self.status,
            "method": self.method,
            "detail": dict(self.detail),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild a metric from report card JSON.

        Raises:
            ValueError: a NaN, an infinite value or an impossible combination; such a card is not to be trusted.
        """
        interval = document.get("interval")
        return cls(
            value=document["value"],
            interval=None if interval is None else (float(interval[0]), float(interval[1])),
            confidence=document.get("confidence"),
            p_value=document.get("p_value"),
            n=int(document.get("n", 0)),
            direction=document["direction"],
            status=document["status"],
            method=document["method"],
            detail=document.get("detail", {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """What the catalogue knows of a metric.

    Attributes:
        name: Flat name; `<column>`, `<target>`, `<part>` stand for one name segment chosen at run time.
        direction: Which direction is better.
        low, high: The range in which values can lie (a bound outside it is impossible and refused by lint).
        title: What it measures, in one plain sentence.
        source: The paper, standard or design page that defines it.
        dp_exact: Whether the number is a declared fact (ε, δ) and not an estimate from confidential data.
    """

    name: str
    direction: Direction
    low: float
    high: float
    title: str
    source: str
    dp_exact: bool = False

    @property
    def family(self) -> str:
        """privacy, utility or fairness."""
        return self.name.split(".", 1)[0]
