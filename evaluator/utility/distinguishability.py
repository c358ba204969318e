"""Can a classifier tell synthetic rows from train rows?

Responsible for `utility.distinguishability.auc`. It measures utility: 0.5 means that nothing gives synthetic rows away.
It is no membership inference: a verbatim copy of train scores 0.5, and harmless independent columns score near 1.

Invariants: every row is scored by a model that did not see it, nor any other row of its privacy unit.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from evaluator.statistics import area_under_roc
from evaluator.utility.features import feature_matrix, telling
from evaluator.utility.intervals import CONFIDENCE
from evaluator.utility.learning import boosting, in_parallel, sampled_rows
from evaluator.utility.tables import FloatArray, IntArray, Side, Tables
from policies.metrics import MetricResult

__all__ = ["measure"]

NAME: Final = "utility.distinguishability.auc"
METHOD: Final = "boosting, cross-fitted in 3 folds; DeLong"
FOLDS: Final = 3
MAX_ROWS: Final = 10_000
MIN_ROWS: Final = 100
MIN_UNITS: Final = 20
SIDES: Final[tuple[Side, Side]] = ("train", "synthetic")


def measure(tables: Tables) -> dict[str, MetricResult]:
    """The classifier's area under ROC."""
    rows = {side: sampled_rows(tables, side, np.arange(tables.rows[side]), MAX_ROWS, "distinguish") for side in SIDES}
    fewest = min(len(kept) for kept in rows.values())
    if fewest < MIN_ROWS:
        why = f"{fewest} rows are too few to train a classifier; {MIN_ROWS} are needed"
        return {NAME: MetricResult.inconclusive(direction="lower", method=METHOD, why=why, n=fewest)}
    units = min(len(np.unique(tables.blocks(side)[rows[side]])) for side in SIDES)
    if units < MIN_UNITS:
        why = f"{units} privacy units are too few to score each by a model that did not see it; {MIN_UNITS} are needed"
        return {NAME: MetricResult.inconclusive(direction="lower", method=METHOD, why=why, n=units)}
    matrix = np.vstack([feature_matrix(tables, side, rows[side], without=(), linear=False).plain for side in SIDES])
    label = np.repeat([0.0, 1.0], [len(rows[side]) for side in SIDES])
    fold = np.concatenate([_folds(tables, side, rows[side]) for side in SIDES])
    scores = _cross_fitted(tables, matrix, label, fold)
    area = area_under_roc(scores[label == 1], scores[label == 0], confidence=CONFIDENCE)
    value, (low, high) = area.value, area.interval
    return {
        NAME: MetricResult(
            value=value,
            interval=(min(low, value), max(high, value)),
            confidence=CONFIDENCE,
            n=len(label),
            direction="lower",
            method=METHOD,
            detail={"rows": {side: len(kept) for side, kept in rows.items()}, "folds": FOLDS},
        )
    }


def _folds(tables: Tables, side: Side, rows: IntArray) -> IntArray:
    units = tables.blocks(side)[rows]
    order = tables.inputs.generator("utility.distinguishability", side).permutation(int(units.max()) + 1)
    dense = np.unique(order[units], return_inverse=True)[1]
    return np.asarray(dense % FOLDS, dtype=np.int64)


def _cross_fitted(tables: Tables, matrix: FloatArray, label: FloatArray, fold: IntArray) -> FloatArray:
    seed = int(tables.inputs.generator("utility.distinguishability.models").integers(2**31))

    def fit(held: int) -> FloatArray:
        learn, guess = fold != held, fold == held
        kept = telling(matrix[learn])
        if not kept.any():
            return np.full(int(guess.sum()), 0.5)
        model = boosting(seed).fit(matrix[learn][:, kept], label[learn])
        return np.asarray(model.predict_proba(matrix[guess][:, kept])[:, 1])

    found = in_parallel({held: lambda held=held: fit(held) for held in range(FOLDS)})
    scores = np.empty(len(label))
    for held, part in found.items():
        scores[fold == held] = part
    return scores
