"""One consistent set of pairs and triples out of overlapping noisy counts.

Responsible for pooling every noisy view of a pair, shrinking pairs towards independence and triples towards what their
pairs imply.

Invariants:
    - Only noisy counts are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from generator.marginal.denoise import nearest_counts, shrink
from generator.marginal.measure import Group, Measured
from generator.marginal.model import margin, ratio, spread

__all__ = ["pooled", "pooled_ones", "reconciled"]

Floats = NDArray[np.float64]


def reconciled(measured: Sequence[Measured], ones: Sequence[Floats], *, rows: float) -> list[tuple[Group, Floats]]:
    """Probabilities of every measured group, and of the pairs within.

    Args:
        measured: Noisy counts of pairs and larger groups.
        ones: One-way probabilities.
        rows: Estimated number of rows.
    """
    measured = [item for item in measured if len(item.group) > 1]
    pairs = {pair: _pair(views, ones, pair, rows) for pair, views in _views(measured).items()}
    out: dict[Group, Floats] = {}
    for item in measured:
        if len(item.group) == 2:  # noqa: PLR2004 - a pair
            out[item.group] = pairs[item.group]
            continue
        parts = [(pair, pairs[pair]) for pair in combinations(item.group, 2)]
        start = np.ones(item.counts.shape)
        for place, variable in enumerate(item.group):
            start = start * ones[variable].reshape([-1 if axis == place else 1 for axis in range(len(item.group))])
        predicted = rake(start, item.group, parts, rounds=12)
        best = shrink(item.counts, sigma=item.sigma, predicted=predicted * rows, total=rows) / rows
        out[item.group] = rake(best, item.group, parts, rounds=6)
    return list(out.items())


def pooled(measured: Sequence[Measured]) -> list[Measured]:
    """One entry per group: what was measured twice is averaged, each weighed by its noise."""
    by_group: dict[Group, Measured] = {}
    for item in measured:
        other = by_group.get(item.group)
        if other is not None:
            a, b = 1 / item.sigma**2, 1 / other.sigma**2
            by_group[item.group] = Measured(item.group, (a * item.counts + b * other.counts) / (a + b), (a + b) ** -0.5)
        else:
            by_group[item.group] = item
    return list(by_group.values())


def pooled_ones(measured: Sequence[Measured], known: Sequence[tuple[Floats, Floats]], *, rows: float) -> list[Floats]:
    """One-way probabilities from every noisy count that tells of them.

    Args:
        measured: Noisy counts of groups.
        known: Unbiased one-way counts of each variable and their noise variances.
        rows: Estimated number of rows.
    """
    sums = [counts / variance for counts, variance in known]
    weights = [1 / variance for _, variance in known]
    for item in measured:
        for variable in item.group:
            counts = margin(item.counts, item.group, (variable,))
            weight = 1 / (item.sigma**2 * (item.counts.size / counts.size))
            sums[variable] = sums[variable] + counts * weight
            weights[variable] = weights[variable] + weight
    return [nearest_counts(total / weight, rows) / rows for total, weight in zip(sums, weights, strict=True)]


def rake(table: Floats, group: Group, parts: Sequence[tuple[Group, Floats]], *, rounds: int) -> Floats:
    """Scale a table until it has the given marginals."""
    for _ in range(rounds):
        for part, wanted in parts:
            table = table * spread(ratio(wanted, margin(table, group, part)), group, part)
    return np.asarray(table / max(table.sum(), 1e-300))


def _views(measured: Sequence[Measured]) -> dict[Group, list[Measured]]:
    views: dict[Group, list[Measured]] = {}
    for item in measured:
        for pair in combinations(item.group, 2):
            counts = margin(item.counts, item.group, pair)
            others = item.counts.size / counts.size
            views.setdefault(pair, []).append(Measured(pair, counts, item.sigma * others**0.5))
    return views


def _pair(views: Sequence[Measured], ones: Sequence[Floats], pair: Group, rows: float) -> Floats:
    weights = np.array([1 / view.sigma**2 for view in views])
    counts = sum(w * view.counts for w, view in zip(weights, views, strict=True)) / weights.sum()
    sigma = float(weights.sum() ** -0.5)
    a, b = (ones[v] for v in pair)
    best = shrink(np.asarray(counts), sigma=sigma, predicted=rows * np.multiply.outer(a, b), total=rows) / rows
    return rake(best, pair, [((pair[0],), a), ((pair[1],), b)], rounds=8)
