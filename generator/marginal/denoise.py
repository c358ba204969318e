"""From noisy counts to plausible counts.

Responsible for the total row count and for shrinking noisy counts towards a prediction, as far as the noise itself says
that the prediction is good (empirical Bayes).

Invariants:
    - Only noisy counts are read: everything here is post-processing.
    - Results are not negative and sum to the given total.
Source: Stephens 2017 (adaptive shrinkage).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from generator.marginal.measure import Measured

__all__ = ["nearest_counts", "row_count", "shrink"]

Floats = NDArray[np.float64]
RELATIVE = (0.02, 0.06, 0.2, 0.6, 2.0)
ABSOLUTE = (0.5, 2.0, 8.0, 32.0)
ROUNDS = 25


def row_count(ones: Sequence[Measured]) -> float:
    """The number of rows, from the totals of all one-way counts, each weighed by its noise; at least 1."""
    weights = np.array([1 / (one.sigma**2 * one.counts.size) for one in ones])
    totals = np.array([one.counts.sum() for one in ones])
    return max(1.0, float((weights * totals).sum() / weights.sum()))


def nearest_counts(counts: Floats, total: float) -> Floats:
    """The nearest (least squares) counts that are not negative and sum to `total`."""
    flat = np.sort(counts.ravel())[::-1]
    excess = (np.cumsum(flat) - total) / np.arange(1, flat.size + 1)
    last = int(np.flatnonzero(flat > excess)[-1])
    return np.asarray(np.maximum(counts - excess[last], 0.0))


def shrink(counts: Floats, *, sigma: float | Floats, predicted: Floats, total: float) -> Floats:
    """Posterior mean of true counts given noisy ones.

    A true count is either 0, or the prediction plus a normal deviation; how often and how far it deviates is fitted to the
    noisy counts themselves.

    Args:
        counts: Noisy counts.
        sigma: Standard deviation of their noise, in rows; one number or one a cell.
        predicted: What a simpler model expects, in rows, not negative.
        total: What the result sums to.
    """
    y, m = counts.ravel(), predicted.ravel()
    s = np.broadcast_to(np.asarray(sigma, float), counts.shape).ravel()
    deviations = np.stack([g * m for g in RELATIVE] + [g * s for g in ABSOLUTE])
    spread = deviations**2 + s**2
    density = np.concatenate([_normal(y - m, spread), _normal(y, s[None] ** 2)])
    weight = np.full(len(density), 1 / len(density))
    share = density
    for _ in range(ROUNDS):
        share = density * weight[:, None]
        share /= np.maximum(share.sum(axis=0), 1e-300)
        weight = (share.sum(axis=1) + 0.2) / (y.size + 0.2 * len(density))
    gain = deviations**2 / spread
    means = np.concatenate([m + gain * (y - m), np.zeros((1, y.size))])
    best = np.maximum((share * np.maximum(means, 0.0)).sum(axis=0), 0.0).reshape(counts.shape)
    return np.asarray(best * (total / max(best.sum(), 1e-12)))


def _normal(gap: Floats, variance: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * gap**2 / variance) / np.sqrt(variance))
