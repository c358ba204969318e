"""What a privacy family is: a name, a pure function of the inputs, and a note of what it costs.

Responsible for the shape that the suite runs. Holds no state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.special import ndtri

from evaluator.inputs import Inputs
from policies.metrics import MetricResult
from policies.types import PrivacySpent

__all__ = ["Family", "PrivacyOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyOptions:
    """How much work the privacy metrics may do.

    Attributes:
        workers: Threads for the neighbour search, at least 1. Results do not depend on it.
        confidence: Two-sided coverage of every interval, in (0, 1).
        half_width: Half of the interval asked for around the difference of the true- and the false-positive rate at 1 %
            false positives, in (0, 1): how many people are searched follows from it.
        max_queries: The most members (and as many non-members) whose neighbours are searched, whatever the interval.
        max_references: The most synthetic rows that are searched; more are sampled.
        spent: What the generator says it spent, for `privacy.dp.*`; None when it is not known.
    """

    workers: int = 1
    confidence: float = 0.95
    half_width: float = 0.0025
    max_queries: int | None = None
    max_references: int = 1_000_000
    spent: PrivacySpent | None = None

    def __post_init__(self) -> None:
        if self.workers < 1 or self.max_references < 1 or (self.max_queries is not None and self.max_queries < 1):
            raise ValueError("workers, max_queries and max_references are at least 1")
        if not 0 < self.confidence < 1 or not 0 < self.half_width < 1:
            raise ValueError("the confidence and the half-width lie strictly between 0 and 1")

    @property
    def people(self) -> int:
        """Members, and as many non-members, whose neighbours are searched: 12,170 as shipped.

        At 1 % false positives a difference of rates has the variance 2 · 0.01 · 0.99 / n where nothing leaks.
        """
        z = float(ndtri(0.5 + self.confidence / 2))
        needed = math.ceil(z * z * 2 * 0.01 * 0.99 / self.half_width**2)
        return needed if self.max_queries is None else min(needed, self.max_queries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of metrics.

    Attributes:
        name: What progress shows, such as `privacy.copies`.
        names: Beginnings of all metric names the family answers for.
        run: The metrics of the family; deterministic in the inputs (whose seed it uses) and the options.
        cost: How its work grows, in words.
    """

    name: str
    names: tuple[str, ...]
    run: Callable[[Inputs, PrivacyOptions], dict[str, MetricResult]]
    cost: str
