"""Intervals and tests that the privacy metrics rest on.

Responsible for proportions and their differences, ROC areas and the true-positive rate at a fixed false-positive rate; the exact
test over strata is in `strata`.

Invariants:
    - Tests are exact or conservative: under random labels a p-value of at most a has probability at most a.
    - They condition on everything that does not depend on the labels, so scores may be computed from all real rows.
    - Intervals are two-sided at the stated confidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri
from scipy.stats import beta, betabinom, hypergeom, rankdata

__all__ = [
    "Area", "Rate", "RateAtFalsePositives", "area_under_roc", "clopper_pearson", "difference_interval",
    "fisher_upper", "largest_share", "rate_at_false_positives", "risk_over_control", "weighted_difference",
    "wilson",
]  # fmt: skip

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]


def largest_share(values: Floats, share: float, rng: np.random.Generator) -> Flags:
    """Which values are among the largest `share` of all, in (0, 1]; equal values go in by lot.

    On a table of few columns most values are equal: a threshold would take all of them, or none.
    """
    lot = rng.permutation(len(values))
    order = lot[np.argsort(-values[lot], kind="stable")]
    chosen = np.zeros(len(values), dtype=np.bool_)
    chosen[order[: max(1, round(share * len(values)))]] = True
    return chosen


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of successes out of so many trials."""

    successes: int
    trials: int

    @property
    def share(self) -> float:
        """Successes per trial; 0 without trials."""
        return self.successes / self.trials if self.trials else 0.0


def wilson(rate: Rate, confidence: float) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927). Without trials: (0, 1)."""
    n = rate.trials
    if n == 0:
        return 0.0, 1.0
    z = float(ndtri(0.5 + confidence / 2))
    centre = (rate.share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate.share * (1 - rate.share) / n + z * z / (4.0 * n * n))
    low = 0.0 if rate.successes == 0 else max(0.0, centre - half)
    high = 1.0 if rate.successes == n else min(1.0, centre + half)
    return low, high


def clopper_pearson(rate: Rate, confidence: float) -> Interval:
    """Exact interval of a proportion (Clopper and Pearson 1934). Without trials: (0, 1)."""
    tail, k, n = (1 - confidence) / 2, rate.successes, rate.trials
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - tail, k + 1, n - k))
    return low, high


def difference_interval(first: Rate, second: Rate, confidence: float) -> Interval:
    """Interval of first.share - second.share by Newcombe's method 10 (Newcombe 1998, from two Wilson intervals)."""
    return weighted_difference([1.0], [first], [second], confidence)


def weighted_difference(weights: list[float], first: list[Rate], second: list[Rate], confidence: float) -> Interval:
    """Interval of Σ w (first - second) by the same recovery of variances (MOVER; Zou and Donner 2008)."""
    value = below = above = 0.0
    for weight, one, two in zip(weights, first, second, strict=True):
        (low1, high1), (low2, high2) = wilson(one, confidence), wilson(two, confidence)
        value += weight * (one.share - two.share)
        below += weight**2 * ((one.share - low1) ** 2 + (high2 - two.share) ** 2)
        above += weight**2 * ((high1 - one.share) ** 2 + (two.share - low2) ** 2)
    return max(-1.0, value - math.sqrt(below)), min(1.0, value + math.sqrt(above))


def risk_over_control(attack: Rate, control: Rate, confidence: float) -> tuple[float, Interval]:
    """Residual risk (attack - control) / (1 - control) with its interval.

    Giomi et al. 2023 (anonymeter): success beyond what the same attack achieves on people who were never seen. The
    interval divides the interval of the difference by what the control leaves over.
    """
    left = max(1e-9, 1.0 - control.share)
    low, high = difference_interval(attack, control, confidence)
    return (attack.share - control.share) / left, (max(-1.0, low / left), min(1.0, high / left))


def fisher_upper(tables: Sequence[tuple[Rate, Rate]]) -> Floats:
    """One-sided exact p-values of "the first is found no more often than the second", one per pair of rates."""
    one = np.array([(first.successes, first.trials) for first, _ in tables], dtype=np.int64).reshape(-1, 2)
    two = np.array([(second.successes, second.trials) for _, second in tables], dtype=np.int64).reshape(-1, 2)
    tail = hypergeom.sf(one[:, 0] - 1, one[:, 1] + two[:, 1], one[:, 0] + two[:, 0], one[:, 1])
    clipped: Floats = np.clip(tail, 0.0, 1.0)
    return clipped


@dataclass(frozen=True, slots=True)
class Area:
    """Area under the ROC curve: value, interval, and the one-sided p-value of "not above one half"."""

    value: float
    interval: Interval
    p_value: float


def area_under_roc(members: Floats, others: Floats, *, confidence: float) -> Area:
    """AUC of scores with DeLong's interval (DeLong et al. 1988; ranks as in Sun and Xu 2014) and a rank-sum p-value."""
    m, n = len(members), len(others)
    ranks = rankdata(np.concatenate([members, others]))
    inside_m, inside_n = rankdata(members), rankdata(others)
    placement_m = (ranks[:m] - inside_m) / n
    placement_n = 1.0 - (ranks[m:] - inside_n) / m
    value = float(placement_m.mean())
    variance = _variance(placement_m) / m + _variance(placement_n) / n
    half = float(ndtri(0.5 + confidence / 2)) * math.sqrt(variance)
    _, ties = np.unique(ranks, return_counts=True)
    size = m + n
    untied = 1.0 - float(((ties.astype(np.float64) ** 3 - ties).sum()) / (float(size) ** 3 - size))
    null = math.sqrt(max(untied, 1e-12) * (size + 1) / (12.0 * m * n))
    return Area(value, (max(0.0, value - half), min(1.0, value + half)), float(ndtr(-(value - 0.5) / null)))


def _variance(values: Floats) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.25


@dataclass(frozen=True, slots=True)
class RateAtFalsePositives:
    """True-positive rate at a threshold set on non-members.

    Attributes:
        rate: Members strictly above the threshold, out of all members.
        interval: Clopper-Pearson at the stated confidence, given the threshold.
        p_value: Chance of so many members above it, were members and non-members exchangeable (beta-binomial, exact;
            conservative with ties, because only scores strictly above count).
        false_positives: The rate aimed at.
        achieved: Share of non-members strictly above the threshold.
    """

    rate: Rate
    interval: Interval
    p_value: float
    false_positives: float
    achieved: float


def rate_at_false_positives(members: Floats, others: Floats, *, at: float, confidence: float) -> RateAtFalsePositives:
    """Members above the (1 - `at`) quantile of non-members.

    The threshold is the r-th largest score of the n non-members, r = max(1, ⌊at (n + 1)⌋). Under exchangeability the
    number of members above the r-th largest of n others is beta-binomial with parameters r and n - r + 1.
    """
    n = len(others)
    r = max(1, math.floor(at * (n + 1)))
    threshold = np.partition(others, n - r)[n - r]
    above = Rate(int((members > threshold).sum()), len(members))
    p_value = 1.0 if above.successes == 0 else float(betabinom.sf(above.successes - 1, len(members), r, n - r + 1))
    interval = clopper_pearson(above, confidence)
    return RateAtFalsePositives(above, interval, min(1.0, p_value), at, float((others > threshold).mean()))
