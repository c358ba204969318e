"""How far a distance between samples can lie from the distance between what they were drawn from.

Responsible for half-widths that hold without a look at the truth: Dvoretzky-Kiefer-Wolfowitz for distribution functions,
a bounded-difference bound for total variation, Fisher's z for correlations, and Bonferroni for the worst of many.

Invariants: every half-width is non-negative, shrinks with the sample, and is for independent rows; callers pass the
effective number of rows (Kish) where rows belong to privacy units.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

__all__ = ["CONFIDENCE", "around", "correlation_change", "dkw", "dkw_pair", "pointwise", "tv_deviation", "tv_margin", "tv_noise"]

CONFIDENCE: Final = 0.95
FISHER_LOSS: Final = 3.0
PAIRS: Final = 16
"""Pairs of samples that the noise of a total variation is averaged over: its standard error is about a hundredth of it."""


def dkw(n: float, *, alpha: float) -> float:
    """Half-width that an empirical distribution function exceeds with probability at most `alpha` (Massart 1990)."""
    return 1.0 if n <= 0 else min(1.0, math.sqrt(math.log(2 / alpha) / (2 * n)))


def dkw_pair(first: float, second: float, *, alpha: float = 1 - CONFIDENCE) -> float:
    """Half-width of a Kolmogorov-Smirnov distance between two samples of these effective sizes."""
    return min(1.0, dkw(first, alpha=alpha / 2) + dkw(second, alpha=alpha / 2))


def tv_margin(shares: npt.NDArray[np.float64], n: float, *, alpha: float) -> float:
    """Half-width of a total variation from one sample: its expected noise plus McDiarmid's deviation.

    Args:
        shares: Share of each value in the sample; they sum to one.
        n: Effective number of rows.
        alpha: Probability of exceeding the half-width.
    """
    if n <= 0:
        return 1.0
    expected = 0.5 * float(np.sqrt(shares * (1 - shares) / n).sum())
    return min(1.0, expected + math.sqrt(math.log(2 / alpha) / (2 * n)))


def tv_deviation(first: float, second: float, *, alpha: float) -> float:
    """How far the total variation of two samples lies from its expectation (McDiarmid 1989).

    The expectation is no less than the true distance (total variation is convex), so this alone bounds the truth from above.
    """
    if min(first, second) <= 0:
        return 1.0
    return min(1.0, math.sqrt(math.log(2 / alpha) / 2 * (1 / first + 1 / second)))


def tv_noise(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], sizes: tuple[float, float]) -> float:
    """Total variation that two samples of one distribution would show, were it the pooled one: the mean of drawn pairs.

    No formula holds for values seen once, for values seen a thousand times and for samples of different size. The draws are
    fixed, so the figure is the same in every run.
    """
    if min(sizes) < 1:
        return 1.0
    pooled = (sizes[0] * first + sizes[1] * second) / sum(sizes)
    rng = np.random.default_rng(PAIRS)
    one, two = (rng.multinomial(round(n), pooled / pooled.sum(), PAIRS) / round(n) for n in sizes)
    return 0.5 * float(np.abs(one - two).sum(axis=1).mean())


def pointwise(shares: npt.NDArray[np.float64], n: float, *, alpha: float) -> npt.NDArray[np.float64]:
    """Normal half-widths of many shares, each taken alone."""
    z = float(-ndtri(alpha / 2))
    return z * np.sqrt(shares * (1 - shares) / max(n, 1.0))


def correlation_change(first: float, second: float, *, sizes: tuple[float, float], alpha: float) -> tuple[float, float]:
    """Interval of |r₁ - r₂| for two independent samples: Fisher's z for each r, combined by Zou (2007)."""
    z = float(-ndtri(alpha / 2))
    ends = []
    for r, n in ((first, sizes[0]), (second, sizes[1])):
        centre, half = math.atanh(max(-0.999999, min(0.999999, r))), z / math.sqrt(max(n - FISHER_LOSS, 1.0))
        ends.append((math.tanh(centre - half), math.tanh(centre + half)))
    difference = first - second
    low = difference - math.hypot(first - ends[0][0], ends[1][1] - second)
    high = difference + math.hypot(ends[0][1] - first, second - ends[1][0])
    if low <= 0 <= high:
        return 0.0, min(2.0, max(-low, high))
    return min(abs(low), abs(high)), min(2.0, max(abs(low), abs(high)))


def around(value: float, margin: float, *, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    """The interval `value ± margin` within a range."""
    return max(low, value - margin), min(high, value + margin)
