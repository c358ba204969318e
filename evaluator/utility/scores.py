"""Scores of predictions, for the rows themselves and for resamples of their privacy units.

Responsible for area under ROC, macro F1 and R² computed for many weightings of the same rows at once.

Invariants:
    - Column 0 of every result is the score of the rows as they are; the others are bootstrap replicates.
    - The same weights serve both models of a comparison, so that differences are paired.
    - Ties count half. With several classes the area is the mean of one-against-the-rest, weighted by class size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from scipy.special import ndtri

from evaluator.utility.intervals import CONFIDENCE
from evaluator.utility.learning import Task
from evaluator.utility.tables import FloatArray, IntArray, Tables

__all__ = ["Score", "auc", "interval", "macro_f1", "r_squared", "resampled", "spread_of", "worst_interval"]

REPLICATES: Final = 100
Z: Final = 1.959963984540054


def resampled(tables: Tables, task: Task) -> FloatArray:
    """Weights of a task's holdout rows: once each, then Poisson(1) for each privacy unit (the bootstrap of many units).

    Returns:
        Replicates by rows, the first all ones; the same for all who ask.
    """
    return tables.inputs.once(f"utility.resampled.{task.target}", lambda: _weights(tables, task.rows["holdout"]))


def _weights(tables: Tables, rows: IntArray) -> FloatArray:
    units = np.unique(tables.blocks("holdout")[rows], return_inverse=True)[1]
    rng = tables.inputs.generator("utility.resampled")
    drawn = rng.poisson(1.0, size=(REPLICATES, int(units.max()) + 1 if len(units) else 0)).astype(np.float64)
    return np.vstack([np.ones((1, len(rows))), drawn[:, units]])


def interval(replicates: FloatArray, *, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    """Normal interval around the first value with the spread of the others."""
    half = Z * float(np.std(replicates[1:]))
    value = float(replicates[0])
    return min(value, max(low, value - half)), max(value, min(high, value + half))


def spread_of(replicates: FloatArray) -> tuple[float, float]:
    """A score and its standard error: what `worst_interval` needs of it."""
    return float(replicates[0]), float(np.std(replicates[1:]))


def worst_interval(found: Sequence[tuple[float, float]], *, low: float, high: float) -> tuple[float, float]:
    """Interval of the largest of several quantities: from the largest lower to the largest upper end (Bonferroni).

    The largest estimate is chosen for being large; its own interval would hold the largest quantity less often than it says.

    Args:
        found: Estimates with their standard errors, at least one.
        low, high: The range of the quantities.
    """
    z = float(ndtri(1 - (1 - CONFIDENCE) / (2 * len(found))))
    worst = max(value for value, _ in found)
    ends = max(value - z * error for value, error in found), max(value + z * error for value, error in found)
    return min(worst, max(low, ends[0])), max(worst, min(high, ends[1]))


def _binary_auc(scores: FloatArray, positive: FloatArray, weights: FloatArray) -> FloatArray:
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    wins = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    losses = np.add.reduceat(weights[:, order] * (1 - positive[order]), starts, axis=1)
    below = np.cumsum(losses, axis=1) - losses / 2
    total = wins.sum(axis=1) * losses.sum(axis=1)
    return np.asarray(np.where(total > 0, (wins * below).sum(axis=1) / np.maximum(total, 1e-12), 0.5))


def auc(task: Task, values: FloatArray, scores: FloatArray, weights: FloatArray) -> FloatArray:
    """Area under ROC for each weighting."""
    kinds = [kind for kind in range(len(task.classes)) if 0 < int((values == kind).sum()) < len(values)]
    if len(task.classes) == 2 and kinds:  # noqa: PLR2004 - two classes share one area
        kinds = kinds[-1:]
    if not kinds:
        return np.full(len(weights), 0.5)
    sizes = np.array([float((values == kind).sum()) for kind in kinds])
    areas = np.stack([_binary_auc(scores[:, kind], (values == kind).astype(np.float64), weights) for kind in kinds])
    return np.asarray((areas * (sizes / sizes.sum())[:, None]).sum(axis=0))


def macro_f1(task: Task, values: FloatArray, scores: FloatArray, weights: FloatArray) -> FloatArray:
    """Mean over classes of F1 of the likeliest class, for each weighting."""
    guessed, found = np.argmax(scores, axis=1), []
    for kind in range(len(task.classes)):
        true, said = (values == kind).astype(np.float64), (guessed == kind).astype(np.float64)
        if true.any():
            hits = weights @ (true * said)
            found.append(2 * hits / np.maximum(weights @ true + weights @ said, 1e-12))
    return np.asarray(np.mean(found, axis=0))


def r_squared(_: Task, values: FloatArray, scores: FloatArray, weights: FloatArray) -> FloatArray:
    """Share of variance explained, for each weighting; at least -1."""
    total = weights.sum(axis=1)
    mean = (weights @ values) / np.maximum(total, 1e-12)
    around = weights @ np.square(values) - total * np.square(mean)
    left = weights @ np.square(values - scores[:, 0])
    return np.asarray(np.maximum(1 - left / np.maximum(around, 1e-12), -1.0))


Score = Callable[[Task, FloatArray, FloatArray, FloatArray], FloatArray]
