"""Is a model trained on synthetic as good as one trained on train? Both are tested on the holdout.

Responsible for `utility.tstr.<target>.{auc,f1,r2,gap,ranking}` and `utility.tstr.worst.gap`.

`auc`, `f1` and `r2` are those of boosting trained on synthetic; the other models and training on train stand in the detail.
`gap` is train-on-train minus train-on-synthetic (AUC or R²), the worst of three models: what an analyst loses. `ranking` is
Kendall's tau of the models' order over the pairs whose order on train is beyond doubt: does the table pick the same winner?

Invariants: both sides of a difference see the same holdout rows and the same resamples; a target that cannot be learnt (too few
rows, one class) is inconclusive.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from evaluator.utility.intervals import CONFIDENCE
from evaluator.utility.learning import MODELS, Predicted, Trained, predictions
from evaluator.utility.names import segment
from evaluator.utility.scores import Score, auc, interval, macro_f1, r_squared, resampled, spread_of, worst_interval
from evaluator.utility.tables import FloatArray, Tables
from policies.metrics import MetricResult

__all__ = ["measure"]

METHOD: Final = "train on synthetic, test on holdout; paired bootstrap of units"
WORST: Final = f"{METHOD}; worst of three models, Bonferroni"
HEADLINE: Final = "boosting"
SURE: Final = 1.959963984540054
Replicates = Mapping[tuple[str, Trained], FloatArray]


def measure(tables: Tables) -> dict[str, MetricResult]:
    """All train-on-synthetic metrics."""
    results: dict[str, MetricResult] = {}
    gaps: dict[str, MetricResult] = {}
    for target, predicted in predictions(tables).items():
        prefix = f"utility.tstr.{segment(target)}"
        found = _target(tables, predicted)
        gaps[target] = found["gap"]
        results |= {f"{prefix}.{name}": result for name, result in found.items()}
    return results | {"utility.tstr.worst.gap": _worst(gaps)}


def _worst(gaps: Mapping[str, MetricResult]) -> MetricResult:
    if not gaps:
        return MetricResult.not_applicable(direction="lower", method=METHOD, why="the card names no target")
    unclear = [name for name, result in gaps.items() if result.value is None]
    if unclear:
        why = f"{unclear[0]}: {gaps[unclear[0]].detail['why']}"
        return MetricResult.inconclusive(direction="lower", method=METHOD, why=why, target=unclear[0])
    worst = max(gaps, key=lambda name: (gaps[name].value or 0.0, name))
    found = [pair for result in gaps.values() for pair in result.detail["simultaneous"]]
    detail = {"target": worst, "model": gaps[worst].detail["model"]}
    return replace(gaps[worst], interval=worst_interval(found, low=-2.0, high=2.0), method=WORST, detail=detail)


def _target(tables: Tables, predicted: Predicted) -> dict[str, MetricResult]:
    names = ("r2",) if predicted.task.is_regression else ("auc", "f1")
    if predicted.refused is not None:
        why = predicted.refused
        broken = {name: MetricResult.inconclusive(direction="higher", method=METHOD, why=why) for name in names}
        return broken | {"gap": MetricResult.inconclusive(direction="lower", method=METHOD, why=why)}
    functions: dict[str, Score] = {"auc": auc, "f1": macro_f1, "r2": r_squared}
    weights = resampled(tables, predicted.task)
    results: dict[str, MetricResult] = {}
    for name in names:
        replicates = {
            key: functions[name](predicted.task, predicted.task.values["holdout"], scores, weights)
            for key, scores in predicted.scores.items()
        }
        results[name] = _headline(predicted, replicates, name)
        if name != "f1":
            results["gap"] = _gap(predicted, replicates)
            results["ranking"] = _ranking(replicates, len(weights[0]))
    return results


def _headline(predicted: Predicted, replicates: Replicates, score: str) -> MetricResult:
    low = -1.0 if score == "r2" else 0.0
    by_model = {
        model: {
            "synthetic": float(replicates[model, "synthetic"][0]),
            "train": float(replicates[model, "train"][0]),
            "synthetic_interval": interval(replicates[model, "synthetic"], low=low),
            "train_interval": interval(replicates[model, "train"], low=low),
        }
        for model in MODELS
    }
    rows = predicted.task.rows
    detail: dict[str, Any] = {
        "model": HEADLINE,
        "train_on_train": by_model[HEADLINE]["train"],
        "by_model": by_model,
        "trained_rows": {"train": len(rows["train"]), "synthetic": len(rows["synthetic"])},
    }
    if score != "f1":
        detail["plot"] = {"target": predicted.task.target, "score": score, "by_model": by_model}
    return MetricResult(
        value=float(replicates[HEADLINE, "synthetic"][0]),
        interval=interval(replicates[HEADLINE, "synthetic"], low=low),
        confidence=CONFIDENCE,
        n=len(rows["holdout"]),
        direction="higher",
        method=METHOD,
        detail=detail,
    )


def _gap(predicted: Predicted, replicates: Replicates) -> MetricResult:
    gaps = {model: replicates[model, "train"] - replicates[model, "synthetic"] for model in MODELS}
    worst = max(MODELS, key=lambda model: (float(gaps[model][0]), model))
    found = [spread_of(gap) for gap in gaps.values()]
    return MetricResult(
        value=float(gaps[worst][0]),
        interval=worst_interval(found, low=-2.0, high=2.0),
        confidence=CONFIDENCE,
        n=len(predicted.task.rows["holdout"]),
        direction="lower",
        method=WORST,
        detail={
            "model": worst,
            "by_model": {model: float(gap[0]) for model, gap in gaps.items()},
            "simultaneous": [list(pair) for pair in found],
        },
    )


def _ranking(replicates: Replicates, n: int) -> MetricResult:
    """+1 when every pair of models whose order on train is beyond doubt has the same order on synthetic, -1 when none has."""
    signs = []
    for first, second in itertools.combinations(MODELS, 2):
        on_train = replicates[first, "train"] - replicates[second, "train"]
        if abs(float(on_train[0])) > SURE * float(np.std(on_train[1:])):
            on_synthetic = replicates[first, "synthetic"] - replicates[second, "synthetic"]
            signs.append(np.sign(on_train[0]) * np.sign(on_synthetic))
    method = "Kendall's tau over surely ordered pairs of models"
    if not signs:
        return MetricResult.not_applicable(
            direction="higher", method=method, why="on train no model is surely better than another"
        )
    agreed = np.mean(signs, axis=0)
    return MetricResult(
        value=float(agreed[0]),
        interval=interval(agreed, low=-1.0),
        confidence=CONFIDENCE,
        direction="higher",
        method=f"{method}; paired bootstrap of units",
        n=n,
        detail={"pairs": len(signs)},
    )
